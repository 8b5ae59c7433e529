"""What the coordinator asks of a peer in a round, and what it reads of the answer."""

from dataclasses import dataclass

from peers.exchange.sums import Shares


@dataclass(frozen=True)
class Assignment:
    """One peer's part in one round: from whom it learns, and who listens to it.

    With `shares` it learns from everybody who teaches in the round, by their sum, and `teachers` is left empty.
    `summed`: its message goes into that sum; `abroad`: into another host.
    """

    round_index: int
    teachers: tuple[int, ...]
    weights: tuple[float, ...]
    teaches: bool
    shares: Shares | None = None
    summed: bool = False
    abroad: bool = False

    @property
    def studies(self) -> bool:
        return bool(self.teachers) or self.shares is not None


@dataclass(frozen=True)
class Stats:
    """What the coordinator reads of one call: small numbers only.

    `loss` and `gradient_norm` are None when the peer did not study; `sent_bytes` is the size of the message that the
    call published; `failure` says why and in which round the peer dropped out, and is empty otherwise.
    """

    loss: float | None = None
    gradient_norm: float | None = None
    sent_bytes: int = 0
    seconds: float = 0.0
    failure: str = ""
    failure_round: int = -1


class StaleRound(RuntimeError):
    """A call for another round than the one this peer stands at."""
