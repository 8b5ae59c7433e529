"""What many peers make together of the messages that they have received: the vectorised form of listening."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.exchange.assignment import Assignment
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message
from peers.exchange.sums import Sum
from peers.learning.averaging import Received, average_of_sum, pad_teachers, received_outputs, sum_in
from peers.learning.lessons import Lesson
from peers.learning.listening import Listened, heard_in_sum, listen
from peers.learning.vectorised.network_stack import Forward
from peers.learning.vectorised.stack_learner import PendingRows
from peers.learning.vectorised.stack_publisher import StackPublisher

Taught = tuple[
    Float[Tensor, "rows teachers batch dim"],
    Float[Tensor, "rows teachers"],
    Bool[Tensor, " rows"],
    Bool[Tensor, "rows batch"] | None,
]
"""Of some rows: their teachers' outputs (or the average), weights, who has any; samples that are labelled, or all."""


@dataclass(frozen=True)
class Pass:
    """What some rows have made of what they were told about a batch, with their forward pass on it.

    places: of these rows among those that step; None: all of them.
    """

    batch: int
    places: list[int] | None
    forward: Forward
    listened: list[Listened]


class StackListener(StackPublisher):
    """Networks of peers of one kind that read their messages row by row, each with its own ear."""

    def _listening(
        self, rows: list[int], places: list[int] | None, forward: Forward, batch: int, told: Sequence[list[Lesson]]
    ) -> Pass:
        """What some rows make of what each of them is told about a batch. forward: theirs on it."""
        lessons = [next((lesson for lesson in each if lesson.batch == batch), None) for each in told]
        own: Sequence[Tensor | None] = [None] * len(rows)
        if any(lesson is not None and (self.listens or lesson.needs_own) for lesson in lessons):
            own = list(self._own_outputs(rows, forward, self.sight.together(batch, self._peers(rows))[0]))
        received = [
            [] if lesson is None else lesson.received(itself) for lesson, itself in zip(lessons, own, strict=True)
        ]
        return Pass(batch, places, forward, self._listened(rows, received, own))

    def _listened(
        self, rows: Sequence[int], received: Sequence[Sequence[Received]], own: Sequence[Tensor | None]
    ) -> list[Listened]:
        """What these rows make of what they have received. own: what each of them takes of itself."""
        found = [
            listen(of_row, itself, self.peers[row].ear) for row, of_row, itself in zip(rows, received, own, strict=True)
        ]
        for row, each in zip(rows, found, strict=True):
            if each.heard is not None:
                self._heard.setdefault(self.peers[row].index, []).append(each.heard)
        return found

    def _padded(self, listened: Sequence[Listened]) -> Taught | None:
        """What rows have heard: see `pad_teachers`, and the samples that are labelled; None if that is nothing."""
        filler = next((outputs for each in listened for _, outputs in each.teachers), None)
        if filler is None:
            return None
        teachers = [each.teachers for each in listened]
        padded = pad_teachers(teachers, torch.zeros_like(filler), self.exchange.average == "outputs")
        assert padded is not None, "some row has heard something"
        return *padded, _kept(listened, len(filler), self.device)

    def _own_outputs(self, rows: list[int], forward: Forward, images: Tensor) -> Float[Tensor, "rows batch dim"]:
        """What each row takes of itself: what a reader would get of its outputs, or of those that it teaches with."""
        features, outputs = forward.features.detach(), forward.outputs.detach()
        if self.teachers is not None:
            with torch.no_grad():
                taught = self.forward(self.teachers, rows, images)
            features, outputs = taught.features, taught.outputs
        return self.packed(features, outputs).received

    def _teachers(
        self,
        pending: PendingRows,
        dues: Mapping[int, Assignment],
        messages: Mapping[int, Sequence[Message | Sum]],
        mailbox: Mailbox,
    ) -> Taught | None:
        """What every row has heard in its round; None if that is nothing."""
        peers = [self.peers[row].index for row in pending.rows]
        first = dues[peers[0]]
        if first.sum_weights is None:
            received = [
                received_outputs(dues[peer], messages[peer], self._reader(pending, place, mailbox))
                for place, peer in enumerate(peers)
            ]
            return self._padded(self._listened(pending.rows, received, list(pending.own)))
        total = sum_in(messages[peers[0]])
        own = pending.received if first.teaches else None
        if total.unusable:
            return self._padded(self._listened_to_sum(pending, first, total, own))
        average = average_of_sum(first, messages[peers[0]], own, self.device, pending.own)
        if average is None:
            return None
        ones = torch.ones(len(peers), device=self.device)
        return average.expand(len(peers), *average.shape[-2:])[:, None], ones[:, None], ones > 0, None

    def _listened_to_sum(
        self, pending: PendingRows, first: Assignment, total: Sum, own: Float[Tensor, "rows batch dim"] | None
    ) -> list[Listened]:
        """The same of a sum that some messages are not in: row by row, as those of the rows may be among them."""
        found = []
        for place, row in enumerate(pending.rows):
            peer = self.peers[row]
            sent = None if own is None else own[place]
            average = average_of_sum(first, [total], sent, self.device, pending.own[place])
            heard = heard_in_sum(total, peer.settings)
            self._heard.setdefault(peer.index, []).extend([heard] if heard else [])
            found.append(Listened([] if average is None else [(1.0, average)], 1.0, heard=heard))
        return found

    def _reader(self, pending: PendingRows, place: int, mailbox: Mailbox) -> Callable[[Message], Tensor]:
        """Reads the messages to one row; where messages are not what they were, its own outputs in place of its own."""
        peer = self.peers[pending.rows[place]]
        if peer.replacement is None and peer.liar is None:
            return mailbox.outputs
        return lambda message: pending.own[place] if message.sender == peer.index else mailbox.outputs(message)


def weights_of_batches(passes: Sequence[Pass], num_rows: int) -> list[dict[int, float]]:
    """By row and batch, the weight of the messages that could be used; without those batches where none could."""
    found: list[dict[int, float]] = [{} for _ in range(num_rows)]
    for each in passes:
        for place, listened in zip(each.places or range(num_rows), each.listened, strict=True):
            if listened.teachers:
                found[place][each.batch] = listened.weight
    return found


def _kept(listened: Sequence[Listened], num_samples: int, device: torch.device) -> Bool[Tensor, "rows samples"] | None:
    """The samples that some teacher of each row labels; None: all, for all rows."""
    if all(each.kept is None for each in listened):
        return None
    everything = torch.ones(num_samples, dtype=torch.bool, device=device)
    return torch.stack([everything if each.kept is None else each.kept for each in listened])
