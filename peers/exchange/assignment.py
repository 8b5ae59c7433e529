"""A peer's assignment in a round, sent by the coordinator, and the statistics that it reads back."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Literal, NamedTuple

from peers.exchange.sums import SumWeights

MessageKey = tuple[int, int]
"""Identifies a message: (sender, its number), where the number is the round in which it was published, as a rule."""


class Link(NamedTuple):
    """One teacher of a student in a round: the weight of its outputs, and their age in rounds."""

    teacher: int
    weight: float
    age: int = 0


@dataclass(frozen=True)
class Links:
    """A student's links in a round, as columns: small to send, and no object for each link of a dense graph.

    ages: None if all of them are 0. batches: the batch that each message is about; None: the assignment's own.
    """

    teachers: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    ages: tuple[int, ...] | None = None
    batches: tuple[int, ...] | None = None

    @classmethod
    def of(cls, *links: tuple[int, float, int]) -> "Links":
        """The columns of (teacher, weight, age) rows."""
        if not links:
            return cls()
        teachers, weights, ages = zip(*links, strict=True)
        return cls(teachers, weights, ages if any(ages) else None)

    def __len__(self) -> int:
        return len(self.teachers)

    def __iter__(self) -> Iterator[Link]:
        return map(Link, self.teachers, self.weights, repeat(0) if self.ages is None else self.ages)

    def batches_or(self, own: int) -> tuple[int, ...]:
        """The batch that each message is about; `own`: that of the assignment."""
        return (own,) * len(self.teachers) if self.batches is None else self.batches


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
        gradient_norm: the norm that the gradient of its step is scaled to; None: it is not scaled.
        step_round: the run's round of its step, for the learning rate and as the round of a failure; None: round_index.
        kept: whether its message is held until it is released, rather than until the sender's step on it.
        links_follow: whether its links are told only with its step (see `Study`).
    """

    round_index: int
    batch_index: int
    links: Links
    teaches: bool
    sum_weights: SumWeights | None = None
    summed: bool = False
    remote: bool = False
    kept_for: int = 0
    gradient_norm: float | None = None
    step_round: int | None = None
    kept: bool = False
    links_follow: bool = False

    @property
    def studies(self) -> bool:
        return self.links_follow or bool(self.links) or self.sum_weights is not None

    @property
    def run_round(self) -> int:
        """The run's round in which it is carried out."""
        return self.round_index if self.step_round is None else self.step_round

    @property
    def held(self) -> bool:
        """Whether its message is held for as long as nobody says otherwise, whatever rounds pass."""
        return self.kept or self.links_follow or self.step_round is not None

    def own_weight(self, peer: int) -> float:
        """The weight of the peer's own outputs in its target."""
        if self.sum_weights is not None:
            return self.sum_weights.own if self.sum_weights.included else 0.0
        return sum((link.weight for link in self.links if link.teacher == peer), 0.0)

    @property
    def message_keys(self) -> tuple[MessageKey, ...]:
        """The keys of the messages that its student step needs, in the order of its teachers."""
        if self.links.ages is None:
            return tuple(zip(self.links.teachers, repeat(self.round_index)))
        return tuple((link.teacher, self.round_index - link.age) for link in self.links)

    def senders_by_round(self) -> Iterator[tuple[int, Iterable[int]]]:
        """The same as (round, senders) pairs, in no particular order; a round may come more than once."""
        if self.links.ages is None:
            yield self.round_index, self.links.teachers
        else:
            yield from ((round_index, (sender,)) for sender, round_index in self.message_keys)


@dataclass(frozen=True)
class Study:
    """A step on a message that was published before its links were known: the simulated network tells them only now.

    version: the round index of the assignment by which it was published. released: versions of the peer's own messages
    that nobody uses after this step. step_round: as in `Assignment`.
    """

    version: int
    links: Links
    released: tuple[int, ...] = ()
    step_round: int | None = None

    def of(self, due: Assignment) -> Assignment:
        """The whole assignment of the step."""
        return replace(due, links=self.links, step_round=self.step_round)


@dataclass(frozen=True)
class Rejoin:
    """How a peer comes back online: with its own weights, fresh random ones, or a copy of a neighbour's.

    count: how many times it has come back, from 1; fresh weights depend on it. source: the neighbour.
    """

    weights: Literal["own", "fresh", "neighbour"]
    count: int = 1
    source: int = -1


@dataclass(frozen=True)
class Heard:
    """What a student's pooling did with the messages of one step; counts of messages, its own not among them.

    dropped: those of which it used less than a hundredth of their weight; None: a rule of the user's own, which does
    not say what it used. auc: probability that a lie is farther from the other messages than an honest one, by the
    median distance to them; None where it heard no lie or no honest one. unusable: lies that are not finite, which it
    left out before it pooled; they are not among `lies`.
    """

    honest: int = 0
    honest_dropped: int | None = 0
    lies: int = 0
    lies_dropped: int | None = 0
    auc: float | None = None
    unusable: int = 0

    @classmethod
    def together(cls, several: "Iterable[Heard | None]") -> "Heard | None":
        """Several as one, such as those of a step's batches or of a round's steps: sums, and the mean AUC."""
        found = [each for each in several if each is not None]
        if len(found) <= 1:
            return found[0] if found else None
        told = [each.auc for each in found if each.auc is not None]
        return cls(
            sum(each.honest for each in found),
            _sum_of_known([each.honest_dropped for each in found]),
            sum(each.lies for each in found),
            _sum_of_known([each.lies_dropped for each in found]),
            sum(told) / len(told) if told else None,
            sum(each.unusable for each in found),
        )


def _sum_of_known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class Stats:
    """Statistics of one call that the coordinator reads: small numbers only.

    loss, gradient_norm: None if the peer did not study. sent_bytes: size of the message that the call published.
    heard: what became of the messages it heard; None where all are honest and the pool is the mean.
    failure, failure_round: why and in which round the peer dropped out; empty and -1 if it has not.
    """

    loss: float | None = None
    gradient_norm: float | None = None
    sent_bytes: int = 0
    seconds: float = 0.0
    failure: str = ""
    failure_round: int = -1
    heard: Heard | None = None


class StaleRound(RuntimeError):
    """A call for a round other than the one that the peer has published for."""
