"""Runs many peers of one kind together: the vectorised form of `Peer.publish` and `Peer.advance`.

The numbers agree with the loop's to float tolerance. All state stays in the peers, whose tensors are views of rows of
the stacked tensors.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.exchange.assignment import Assignment
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message
from peers.exchange.sums import Sum
from peers.learning.averaging import Received, average_of_sum, pad_teachers, received_outputs
from peers.learning.lessons import Lesson, Read, lessons_of, shares_of
from peers.learning.listening import Listened, listen
from peers.learning.vectorised.network_stack import Forward
from peers.learning.vectorised.stack_learner import PendingRows, RowsTask
from peers.learning.vectorised.stack_publisher import Answer as Answer
from peers.learning.vectorised.stack_publisher import StackPublisher

WIDTH = 32  # peers per forward pass: more are hardly faster, and their activations do not fit into the cache

Taught = tuple[
    Float[Tensor, "rows teachers batch dim"],
    Float[Tensor, "rows teachers"],
    Bool[Tensor, " rows"],
    Bool[Tensor, "rows batch"] | None,
]
"""Of some rows: their teachers' outputs (or the average), weights, who has any; samples that are labelled, or all."""


class PeerStack(StackPublisher):
    """Up to `WIDTH` peers of one kind that are run together."""

    # ---- rounds ----

    def advance(
        self, dues: Mapping[int, Assignment], following: Mapping[int, Assignment | None], mailbox: Mailbox
    ) -> dict[int, Answer]:
        """Learn the current round from the mailbox's messages, then publish for the next assignments.

        dues: the current assignment of each peer in `following`, all of one round. Raises: ValueError if a message is
        missing.
        """
        start = time.perf_counter()
        messages = {peer: mailbox.collect(dues[peer]) for peer in following}
        rounds = {dues[peer].round_index for peer in following}  # a single round
        due = [pending for pending in self.pending if pending.round_index in rounds]
        self.pending = [pending for pending in self.pending if pending.round_index not in rounds]
        learned: dict[int, tuple[float, float]] = {}
        for pending in due:
            self.settle(pending.rows, pending.forward)
            if pending.studies:
                tasks = self._tasks(pending, self._teachers(pending, dues, messages, mailbox))
                if tasks:
                    learned |= self.study(pending.rows, tasks, pending.round_index, pending.wanted_norms)
        for peer in following:
            self.peers[self.row_of[peer]].due = None
        coming = {peer: assignment for peer, assignment in following.items() if assignment is not None}
        sent = self._publish_all(coming, mailbox)
        seconds = (time.perf_counter() - start) / len(following)
        return {
            peer: (sent.get(peer), self._stats(peer, sent.get(peer), seconds, *learned.get(peer, (None, None))))
            for peer in following
        }

    def _tasks(self, pending: PendingRows, heard: Taught | None) -> list[RowsTask]:
        """What rows learn in a step: from the messages that they have heard, if they do, and their own terms."""
        rows, own = pending.rows, self.terms.own and not self.terms.private
        everybody = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        tasks: list[RowsTask] = []
        if heard is not None and self.terms.from_messages:
            teachers, weights, taught, kept = heard
            learns, known = (everybody, taught) if own and not bool(taught.all()) else (taught, None)
            tasks.append(RowsTask(self._graph(pending), pending.labels, teachers, weights, learns, known, kept=kept))
        elif own:
            tasks.append(RowsTask(self._graph(pending), pending.labels, None, None, everybody))
        return self.with_private(tasks, rows, pending.batch_index, everybody)

    def step(
        self,
        steps: Mapping[int, Assignment],
        following: Mapping[int, Assignment | None],
        read: Read,
        mailbox: Mailbox,
    ) -> dict[int, Answer]:
        """`Peer.step` of some peers: those whose message is of one round and about one batch step together."""
        start = time.perf_counter()
        groups: dict[tuple[int, int, int], list[int]] = {}
        for peer, step in steps.items():
            row = self.row_of[peer]
            groups.setdefault((step.round_index, step.batch_index, step.run_round), []).append(row)
        learned: dict[int, tuple[float, float]] = {}
        for rows in groups.values():
            sound = sorted(row for row in rows if not self.peers[row].failure)
            if sound:
                learned |= self._step_together(sound, steps, read)
        for peer in steps:
            self.peers[self.row_of[peer]].due = None
        coming = {peer: each for peer in steps if (each := following.get(peer)) is not None}
        sent = self._publish_all(coming, mailbox)
        seconds = (time.perf_counter() - start) / len(steps)
        return {
            peer: (sent.get(peer), self._stats(peer, sent.get(peer), seconds, *learned.get(peer, (None, None))))
            for peer in steps
        }

    def _step_together(
        self, rows: list[int], steps: Mapping[int, Assignment], read: Read
    ) -> dict[int, tuple[float, float]]:
        """The step of some rows; losses and gradient norms by peer.

        The forward pass of their messages serves if it was made for just these rows. Else they get a new one, so that
        no number depends on who else has published with them.
        """
        parts = [steps[self.peers[row].index] for row in rows]
        own, number = parts[0].batch_index, parts[0].round_index
        found = next((each for each in self.pending if each.round_index == number and each.rows == rows), None)
        self._forget(rows)
        heard = [lessons_of(part, self.peers[row].index, read) for part, row in zip(parts, rows, strict=True)]
        if not self.terms.from_messages:
            heard = [[] for _ in rows]
        silent = self._silent(heard, parts)
        of_own = bool(silent.any()) or any(lesson.batch == own for lessons in heard for lesson in lessons)
        forward = self._look_at(rows, own, of_own) if found is None else found.forward
        self.settle(rows, forward)
        if of_own and not forward.outputs.requires_grad:
            forward = self._look_at(rows, own, True)
        several = any(lesson.batch != own for lessons in heard for lesson in lessons)
        tasks = [self._rows_task(rows, forward, own, heard, several, silent)] if of_own else []
        for batch in sorted({lesson.batch for lessons in heard for lesson in lessons} - {own}):
            places = [place for place, lessons in enumerate(heard) if batch in [lesson.batch for lesson in lessons]]
            chosen = [rows[place] for place in places]
            forward = self._look_at(chosen, batch, True)
            self.settle(chosen, forward)
            task = self._rows_task(chosen, forward, batch, [heard[place] for place in places], several)
            tasks.append(task and replace(task, places=torch.tensor(places, dtype=torch.int64, device=self.device)))
        studying = torch.tensor([part.studies for part in parts], device=self.device)
        taught = self.with_private([task for task in tasks if task is not None], rows, own, studying)
        wanted = [part.gradient_norm for part in parts]
        return self.study(rows, taught, parts[0].run_round, wanted) if taught else {}

    def _look_at(self, rows: list[int], batch: int, studies: bool) -> Forward:
        """A new forward pass of some rows."""
        with torch.set_grad_enabled(studies):
            return self.forward(self.networks, rows, self.sight.together(batch, self._peers(rows))[0])

    def _silent(self, heard: Sequence[list[Lesson]], parts: Sequence[Assignment]) -> Bool[Tensor, " rows"]:
        """The rows that have heard nothing and learn their own terms on their own batch."""
        learn = self.terms.own and not self.terms.private
        found = [learn and part.studies and not lessons for lessons, part in zip(heard, parts, strict=True)]
        return torch.tensor(found, device=self.device)

    def _rows_task(
        self,
        rows: list[int],
        forward: Forward,
        batch: int,
        heard: Sequence[list[Lesson]],
        several: bool,
        silent: Bool[Tensor, " rows"] | None = None,
    ) -> RowsTask | None:
        """What some rows have heard about a batch, with their forward pass on it.

        several: or about others, too. silent: rows that learn their own terms on it, as they have heard nothing.
        """
        labels = self.sight.labels(batch)
        lessons = [next((lesson for lesson in each if lesson.batch == batch), None) for each in heard]
        own: Sequence[Tensor | None] = [None] * len(rows)
        if self.listens or any(lesson is not None and lesson.needs_own for lesson in lessons):
            own = list(self._own_outputs(rows, forward, self.sight.together(batch, self._peers(rows))[0]))
        received = [
            [] if lesson is None else lesson.received(itself) for lesson, itself in zip(lessons, own, strict=True)
        ]
        padded = self._padded(rows, received, own)
        if padded is None:
            return None if silent is None or not bool(silent.any()) else RowsTask(forward, labels, None, None, silent)
        shares = None
        if several:
            by_batch = [dict(zip([one.batch for one in each], shares_of(each), strict=True)) for each in heard]
            shares = torch.tensor([each.get(batch, 0.0) for each in by_batch], device=self.device)
            shares = shares if silent is None else torch.where(silent, 1.0, shares)
        teachers, weights, taught, kept = padded
        if silent is None or not bool(silent.any()):
            return RowsTask(forward, labels, teachers, weights, taught, shares=shares, kept=kept)
        return RowsTask(forward, labels, teachers, weights, taught | silent, taught, shares=shares, kept=kept)

    def _padded(
        self, rows: list[int], received: Sequence[Sequence[Received]], own: Sequence[Tensor | None]
    ) -> Taught | None:
        """What these rows make of what they have received: see `pad_teachers`, and the samples that are labelled.

        own: what each of them takes of itself. None if nobody has received anything.
        """
        listened = [
            listen(of_row, itself, self.peers[row].ear) for row, of_row, itself in zip(rows, received, own, strict=True)
        ]
        for row, each in zip(rows, listened, strict=True):
            if each.heard is not None:
                self._heard.setdefault(self.peers[row].index, []).append(each.heard)
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

    def _graph(self, pending: PendingRows) -> Forward:
        """The forward pass with its graph, made anew if that was not kept."""
        return self.forward(self.networks, pending.rows, pending.images) if self.settings.recompute else pending.forward

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
            return self._padded(pending.rows, received, list(pending.own))
        own = pending.received if first.teaches else None
        average = average_of_sum(first, messages[peers[0]], own, self.device, pending.own)
        if average is None:
            return None
        ones = torch.ones(len(peers), device=self.device)
        return average.expand(len(peers), *average.shape[-2:])[:, None], ones[:, None], ones > 0, None

    def _reader(self, pending: PendingRows, place: int, mailbox: Mailbox) -> Callable[[Message], Tensor]:
        """Reads the messages to one row; where messages are not what they were, its own outputs in place of its own."""
        peer = self.peers[pending.rows[place]]
        if peer.replacement is None and peer.liar is None:
            return mailbox.outputs
        return lambda message: pending.own[place] if message.sender == peer.index else mailbox.outputs(message)


def _kept(listened: Sequence[Listened], num_samples: int, device: torch.device) -> Bool[Tensor, "rows samples"] | None:
    """The samples that some teacher of each row labels; None: all, for all rows."""
    if all(each.kept is None for each in listened):
        return None
    everything = torch.ones(num_samples, dtype=torch.bool, device=device)
    return torch.stack([everything if each.kept is None else each.kept for each in listened])
