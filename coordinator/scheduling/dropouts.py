"""Peers whose numbers are not finite any more, and what ends the rounds because of them."""

from dataclasses import dataclass
from enum import Enum, auto

from coordinator.scheduling.scheduler import RoundRecord


@dataclass(frozen=True)
class Dropout:
    """A peer that failed, after how many completed rounds, and why."""

    peer: int
    completed: int
    reason: str

    def __str__(self) -> str:
        return f"round {self.completed}, peer {self.peer}: {self.reason}"


class StopReason(Enum):
    """Why the rounds end before the last one."""

    NOT_FINITE = auto()
    NO_PEER_LEFT = auto()


@dataclass(frozen=True)
class Stop:
    """The rounds end here; dropout: the peer that failed, where one does not drop out but ends the run."""

    reason: StopReason
    dropout: Dropout | None = None


def dropouts_of(record: RoundRecord) -> list[Dropout]:
    """The peers that failed in a round, or whose outputs on the probe batch did, in peer order."""
    failures = {peer: (each.failure_round + 1, each.failure) for peer, each in record.stats.items() if each.failure}
    for peer, seen in (record.observations.peers if record.observations else {}).items():
        if seen.failed:
            failures.setdefault(peer, (record.completed, "outputs on the probe batch are not finite"))
    return [Dropout(peer, completed, reason) for peer, (completed, reason) in sorted(failures.items())]
