"""Pools the messages of a round for students: the teachers' decoded outputs, and weights that sum to 1."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.exchange.assignment import Assignment
from peers.exchange.messages import Message, decode
from peers.exchange.sums import Sum

WeightedOutputs = tuple[float, Float[Tensor, "batch dim"]]


class Received(NamedTuple):
    """A message as a student reads it: who sent it, its number (round), its weight, and the outputs."""

    sender: int
    number: int
    weight: float
    outputs: Float[Tensor, "batch dim"]


def received_outputs(
    assignment: Assignment, messages: Sequence[Message | Sum], read: Callable[[Message], Float[Tensor, "batch dim"]]
) -> list[Received]:
    """The messages of all teachers that have not dropped out; `read` decodes one."""
    return [
        Received(message.sender, message.round_index, weight, read(message))
        for weight, message in zip(assignment.links.weights, messages, strict=True)
        if isinstance(message, Message) and message.payload is not None
    ]


def received_of(
    assignment: Assignment,
    messages: Sequence[Message | Sum],
    student: int,
    own_share: Float[Tensor, "batch dim"] | None,
    device: torch.device,
) -> list[Received]:
    """The messages that one student has received. own_share: what it takes of itself, where that is not its message."""

    def read(message: Message) -> Float[Tensor, "batch dim"]:
        return own_share if own_share is not None and message.sender == student else decode(message, device)

    return received_outputs(assignment, messages, read)


def target_of_sum(
    assignment: Assignment,
    messages: Sequence[Message | Sum],
    sent: Message | None,
    own_share: Float[Tensor, "batch dim"] | None,
    device: torch.device,
) -> tuple[Float[Tensor, "teachers batch dim"], Float[Tensor, " teachers"]] | None:
    """What one student learns from in the round's sum, and its weight; None if all of its teachers have dropped out.

    sent: its own message of the round. own_share: what it takes of itself, where that is not its message.
    """
    own = decode(sent, device) if sent is not None and not sent.is_dropout_notice else None
    average = average_of_sum(assignment, messages, own, device, own_share)
    return None if average is None else (average[None], torch.ones(1, device=device))


def average_of_sum(
    assignment: Assignment,
    messages: Sequence[Message | Sum],
    own: Float[Tensor, "*peers batch dim"] | None,
    device: torch.device,
    own_share: Float[Tensor, "*peers batch dim"] | None = None,
) -> Float[Tensor, "*peers batch dim"] | None:
    """The target of a student (or of several with equal weights) that learns from the round's sum; see `Sum.average`.

    own: its message as others read it; None if it has dropped out or does not teach.
    """
    assert assignment.sum_weights is not None
    total = sum_in(messages)
    is_in_sum = own is None or total.unusable == 0 or bool(torch.isfinite(own).all())
    return total.average(own, assignment.sum_weights, device, own_share, is_in_sum)


def sum_in(messages: Sequence[Message | Sum]) -> Sum:
    """The round's sum, which is all that a student has received."""
    (total,) = (message for message in messages if isinstance(message, Sum))
    return total


def stack_teachers(
    received: Sequence[WeightedOutputs], device: torch.device
) -> tuple[Float[Tensor, "teachers batch dim"], Float[Tensor, " teachers"]] | None:
    """One student's teachers: their outputs, and their weights scaled to sum to 1; None if there are none."""
    if not received:
        return None
    weights = torch.tensor([weight for weight, _ in received], device=device)
    return torch.stack([outputs for _, outputs in received]), weights / weights.sum()


def pad_teachers(
    rows: Sequence[Sequence[WeightedOutputs]], empty: Float[Tensor, "batch dim"], average: bool
) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
    """The teachers of many students, stacked: outputs, weights that sum to 1, and which rows have any teacher.

    Rows with fewer teachers are padded with weight 0; `empty` is the filler for rows without teachers. average: replace
    the teachers of a row by their mean, which saves memory if the loss uses only that. None if no row has a teacher.
    """
    num_slots = max(len(row) for row in rows)
    if num_slots == 0:
        return None
    padding = [row[0][1] if row else empty for row in rows]
    weights = torch.tensor(
        [[weight for weight, _ in row] + [0.0] * (num_slots - len(row)) for row in rows], device=empty.device
    )
    has_teachers = weights.sum(dim=1) > 0
    weights = weights / torch.where(has_teachers, weights.sum(dim=1), 1.0)[:, None]
    slots = (
        torch.stack([row[slot][1] if slot < len(row) else filler for row, filler in zip(rows, padding, strict=True)])
        for slot in range(num_slots)
    )
    if not average:
        return torch.stack(list(slots), dim=1), weights, has_teachers
    averages = torch.zeros(len(rows), *empty.shape, device=empty.device)
    for slot, outputs in enumerate(slots):
        averages.add_(weights[:, slot, None, None] * outputs)
    return averages[:, None], torch.ones(len(rows), 1, device=empty.device), has_teachers
