"""Runs many peers of one kind together: the vectorised form of `Peer.publish` and `Peer.advance`.

The numbers agree with the loop's to float tolerance. All state stays in the peers, whose tensors are views of rows of
the stacked tensors.
"""

import time
from collections.abc import Mapping, Sequence, Sized

import torch
from jaxtyping import Bool
from torch import Tensor

from peers.exchange.assignment import Assignment
from peers.exchange.mailbox import Mailbox
from peers.learning.lessons import Read, lessons_of, shares_of
from peers.learning.vectorised.network_stack import Forward
from peers.learning.vectorised.stack_learner import PendingRows, RowsTask
from peers.learning.vectorised.stack_listener import Pass, StackListener, Taught, weights_of_batches
from peers.learning.vectorised.stack_publisher import Answer as Answer

WIDTH = 32  # peers per forward pass: more are hardly faster, and their activations do not fit into the cache


class PeerStack(StackListener):
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
        told = [lessons_of(part, self.peers[row].index, read) for part, row in zip(parts, rows, strict=True)]
        if not self.terms.from_messages:
            told = [[] for _ in rows]
        of_own = bool(self._silent(told, parts).any()) or any(each.batch == own for lessons in told for each in lessons)
        forward = self._look_at(rows, own, of_own) if found is None else found.forward
        self.settle(rows, forward)
        if of_own and not forward.outputs.requires_grad:
            forward = self._look_at(rows, own, True)
        passes = [self._listening(rows, None, forward, own, told)] if of_own else []
        for batch in sorted({lesson.batch for lessons in told for lesson in lessons} - {own}):
            places = [place for place, lessons in enumerate(told) if batch in [lesson.batch for lesson in lessons]]
            chosen = [rows[place] for place in places]
            forward = self._look_at(chosen, batch, True)
            self.settle(chosen, forward)
            passes.append(self._listening(chosen, places, forward, batch, [told[place] for place in places]))
        heard = weights_of_batches(passes, len(rows))
        silent = self._silent(heard, parts)
        if not of_own and bool(silent.any()):  # as all that they were told was of no use
            passes.insert(0, self._listening(rows, None, self._look_at(rows, own, True), own, [[] for _ in rows]))
        several = any(lesson.batch != own for lessons in told for lesson in lessons)
        tasks = [self._rows_task(each, heard, several, silent) for each in passes]
        studying = torch.tensor([part.studies for part in parts], device=self.device)
        taught = self.with_private([task for task in tasks if task is not None], rows, own, studying)
        wanted = [part.gradient_norm for part in parts]
        return self.study(rows, taught, parts[0].run_round, wanted) if taught else {}

    def _look_at(self, rows: list[int], batch: int, studies: bool) -> Forward:
        """A new forward pass of some rows."""
        with torch.set_grad_enabled(studies):
            return self.forward(self.networks, rows, self.sight.together(batch, self._peers(rows))[0])

    def _silent(self, heard: Sequence[Sized], parts: Sequence[Assignment]) -> Bool[Tensor, " rows"]:
        """The rows that have heard nothing and learn their own terms on their own batch."""
        learn = self.terms.own and not self.terms.private
        found = [learn and part.studies and not len(each) for each, part in zip(heard, parts, strict=True)]
        return torch.tensor(found, device=self.device)

    def _rows_task(
        self, seen: Pass, heard: Sequence[Mapping[int, float]], several: bool, silent: Bool[Tensor, " rows"]
    ) -> RowsTask | None:
        """What rows learn from what they have heard about a batch; of their own one (of all rows), `silent` rows do so
        from their own terms.

        heard: by row and batch, the weight of what was heard. several: or it may be of more batches than one.
        """
        labels, padded = self.sight.labels(seen.batch), self._padded(seen.listened)
        alone = silent if seen.places is None and bool(silent.any()) else None
        if padded is None:
            return None if alone is None else RowsTask(seen.forward, labels, None, None, alone)
        shares, places = None, None
        if several:
            rows = range(len(heard)) if seen.places is None else seen.places
            by_batch = [dict(zip(heard[row], shares_of([*heard[row].values()]), strict=True)) for row in rows]
            shares = torch.tensor([each.get(seen.batch, 0.0) for each in by_batch], device=self.device)
            shares = shares if alone is None else torch.where(alone, 1.0, shares)
        if seen.places is not None:
            places = torch.tensor(seen.places, dtype=torch.int64, device=self.device)
        teachers, weights, taught, kept = padded
        learns, known = (taught, None) if alone is None else (taught | alone, taught)
        return RowsTask(seen.forward, labels, teachers, weights, learns, known, places, shares, kept)

    def _graph(self, pending: PendingRows) -> Forward:
        """The forward pass with its graph, made anew if that was not kept."""
        return self.forward(self.networks, pending.rows, pending.images) if self.settings.recompute else pending.forward
