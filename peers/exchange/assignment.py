"""What the coordinator asks of a peer in a round, and what it reads of the answer."""

from dataclasses import dataclass
from functools import cached_property

from peers.exchange.sums import SumWeights

MessageKey = tuple[int, int]
"""Which message: (sender, the sender's round)."""


@dataclass(frozen=True)
class Link:
    """One teacher of a student in a round: the weight of its outputs, and how many rounds ago it published them."""

    teacher: int
    weight: float
    age: int = 0


@dataclass(frozen=True)
class Assignment:
    """One peer's part in one round: on which batch, from whom it learns, and who needs its message.

    The peer runs one forward pass, on batch `batch_index`: its outputs are published as the message of `round_index`,
    and its step moves them towards its teachers'. A scheduler that sets an age also sees to it that the messages are
    about that batch.

    Args:
        round_index: the round; names the message, and sets the learning rate.
        batch_index: the batch that the peer looks at.
        links: its teachers; empty where it does not study, or studies by the sum.
        teaches: whether anybody learns from its message.
        sum_weights: given where it learns from all who teach in the round, by the sum of their messages.
        summed: its message goes into the round's sum.
        remote: its message goes to other hosts.
        kept_for: rounds after this one in which students of its own host may still need its message.
    """

    round_index: int
    batch_index: int
    links: tuple[Link, ...]
    teaches: bool
    sum_weights: SumWeights | None = None
    summed: bool = False
    remote: bool = False
    kept_for: int = 0

    @property
    def studies(self) -> bool:
        return bool(self.links) or self.sum_weights is not None

    @cached_property
    def message_keys(self) -> tuple[MessageKey, ...]:
        """The messages that its student step needs, in its teachers' order."""
        return tuple((link.teacher, self.round_index - link.age) for link in self.links)


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
