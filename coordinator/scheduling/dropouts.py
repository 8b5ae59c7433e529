"""Peers whose numbers are not finite any more."""

from dataclasses import dataclass

from coordinator.scheduling.synchronous import RoundRecord


@dataclass(frozen=True)
class Dropout:
    """A peer that failed in a round; known: whether it had dropped out before."""

    peer: int
    completed: int
    reason: str
    known: bool

    def __str__(self) -> str:
        return f"round {self.completed}, peer {self.peer}: {self.reason}"


def note(record: RoundRecord, dropped: dict[int, tuple[int, str]]) -> list[Dropout]:
    """The peers that failed in a round, or whose outputs on the probe batch did; `dropped` remembers each once."""
    failures = {peer: (each.failure_round + 1, each.failure) for peer, each in record.stats.items() if each.failure}
    for peer, seen in (record.observations.peers if record.observations else {}).items():
        if seen.failed:
            failures.setdefault(peer, (record.completed, "outputs on the probe batch are not finite"))
    found = [Dropout(peer, at, reason, peer in dropped) for peer, (at, reason) in sorted(failures.items())]
    for each in found:
        dropped.setdefault(each.peer, (each.completed, each.reason))
    return found
