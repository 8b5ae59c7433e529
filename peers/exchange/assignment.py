"""A peer's assignment in a round, sent by the coordinator, and the statistics that it reads back."""

from dataclasses import dataclass
from functools import cached_property

from peers.exchange.sums import SumWeights

MessageKey = tuple[int, int]
"""Identifies a message: (sender, round in which it was published)."""


@dataclass(frozen=True)
class Link:
    """One teacher of a student in a round: the weight of its outputs, and their age in rounds."""

    teacher: int
    weight: float
    age: int = 0


@dataclass(frozen=True)
class Assignment:
    """One peer's part in one round: its batch, its teachers, and the recipients of its message.

    The peer runs one forward pass on batch `batch_index`. Its outputs are published as the message of `round_index`,
    and its optimiser step moves them towards its teachers' outputs. A scheduler that sets an age has to ensure that the
    messages are about the same batch.

    Args:
        round_index: the round; it identifies the message and determines the learning rate.
        batch_index: the batch of the forward pass.
        links: its teachers; empty if it does not study, or learns from the round's sum.
        teaches: whether any peer learns from its message.
        sum_weights: set if it learns from the sum of all messages of the round.
        summed: whether its message is part of the round's sum.
        remote: whether its message is sent to other hosts.
        kept_for: number of later rounds in which students on its own host may need its message.
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
        """The keys of the messages that its student step needs, in the order of its teachers."""
        return tuple((link.teacher, self.round_index - link.age) for link in self.links)


@dataclass(frozen=True)
class Stats:
    """Statistics of one call that the coordinator reads: small numbers only.

    loss, gradient_norm: None if the peer did not study. sent_bytes: size of the message that the call published.
    failure, failure_round: why and in which round the peer dropped out; empty and -1 if it has not.
    """

    loss: float | None = None
    gradient_norm: float | None = None
    sent_bytes: int = 0
    seconds: float = 0.0
    failure: str = ""
    failure_round: int = -1


class StaleRound(RuntimeError):
    """A call for a round other than the one that the peer has published for."""
