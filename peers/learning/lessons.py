"""What a student has heard, batch by batch: in a simulated network its teachers' messages may be about several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.assignment import Assignment, MessageKey
from peers.learning.averaging import Received

Read = Callable[[MessageKey, int, int], Float[Tensor, "batch dim"] | None]
"""The outputs that a message brings of a batch to a student: called with key, batch and student.

They are not to be modified; None if the sender has dropped out.
"""


@dataclass(frozen=True)
class Lesson:
    """What a student has heard about one batch.

    heard: key, weight and outputs of each message; None in place of outputs: what it takes of itself.
    """

    batch: int
    heard: tuple[tuple[MessageKey, float, Float[Tensor, "batch dim"] | None], ...]

    @property
    def needs_own(self) -> bool:
        return any(outputs is None for _, _, outputs in self.heard)

    def received(self, own: Float[Tensor, "batch dim"] | None) -> list[Received]:
        """The messages, with the student's `own` outputs where it hears itself."""
        found: list[Received] = []
        for (sender, number), weight, outputs in self.heard:
            taken = own if outputs is None else outputs
            assert taken is not None, "its own outputs are computed where it hears itself"
            found.append(Received(sender, number, weight, taken))
        return found


def lessons_of(assignment: Assignment, student: int, read: Read) -> list[Lesson]:
    """A student's lessons in ascending order of their batches, without what teachers say that have dropped out."""
    by_batch: dict[int, list[tuple[MessageKey, float, Tensor | None]]] = {}
    links = assignment.links
    rows = zip(assignment.message_keys, links.weights, links.batches_or(assignment.batch_index), strict=True)
    for key, weight, batch in rows:
        outputs = None if key[0] == student else read(key, batch, student)
        if outputs is not None or key[0] == student:
            by_batch.setdefault(batch, []).append((key, weight, outputs))
    return [Lesson(batch, tuple(heard)) for batch, heard in sorted(by_batch.items())]


def shares_of(weights: Sequence[float]) -> list[float]:
    """The share of each lesson in the student's loss, by the weight of the messages that it took: they sum to 1."""
    total = sum(weights)
    return [weight / total for weight in weights]


def weighted_sum(terms: Sequence[tuple[float, Float[Tensor, "*axes"]]]) -> Float[Tensor, "*axes"]:
    """The sum of (share, value) terms; of a single one, whose share is 1, the value itself."""
    if len(terms) == 1:
        return terms[0][1]
    return torch.stack([share * value for share, value in terms]).sum(dim=0)
