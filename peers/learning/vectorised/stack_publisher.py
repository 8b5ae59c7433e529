"""What many peers publish together: the vectorised form of `Peer.publish`."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from peers.exchange.assignment import Assignment, Heard, Stats
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message, pack_checked
from peers.exchange.sums import SumWeights
from peers.learning.control import shuffled_order
from peers.learning.vectorised.stack_learner import PendingRows, StackLearner

Answer = tuple[Message | None, Stats]


@dataclass(frozen=True)
class Group:
    """The properties shared by the peers of one forward pass."""

    round_index: int
    batch_index: int
    studies: bool
    sum_weights: SumWeights | None


class StackPublisher(StackLearner):
    """Networks of peers of one kind whose forward passes and messages are made together."""

    def publish(self, assignments: Mapping[int, Assignment], mailbox: Mailbox) -> dict[int, Answer]:
        """Run the forward passes of upcoming rounds; `mailbox` memoises the outputs as students read them."""
        start = time.perf_counter()
        messages = self._publish_all(assignments, mailbox)
        seconds = (time.perf_counter() - start) / max(len(messages), 1)
        return {peer: (message, self._stats(peer, message, seconds)) for peer, message in messages.items()}

    def _publish_all(self, assignments: Mapping[int, Assignment], mailbox: Mailbox) -> dict[int, Message | None]:
        self._forget([self.row_of[index] for index, assignment in assignments.items() if assignment.held])
        groups: dict[Group, list[int]] = {}
        messages: dict[int, Message | None] = {}
        for index, assignment in assignments.items():
            row = self.row_of[index]
            notice = messages[index] = self.peers[row].assign(assignment)  # None reserves its position in the order
            again = mailbox.find((index, assignment.round_index))
            if again is not None and notice is None:  # kept in a checkpoint: whose bits do not depend on the others
                messages[index] = again if assignment.teaches else None
            elif notice is None:
                group = Group(
                    assignment.round_index, assignment.batch_index, assignment.studies, assignment.sum_weights
                )
                groups.setdefault(group, []).append(row)
        for group, rows in groups.items():
            messages |= self._publish(group, sorted(rows), assignments, mailbox)
        return messages

    def _publish(
        self, group: Group, rows: list[int], assignments: Mapping[int, Assignment], mailbox: Mailbox
    ) -> dict[int, Message | None]:
        images, labels = self.sight.together(group.batch_index, self._peers(rows))
        with torch.set_grad_enabled(group.studies and not self.settings.recompute):
            forward = self.forward(self.networks, rows, images)
        features, outputs = forward.features.detach(), forward.outputs.detach()
        if self.teachers is not None:
            for row in rows:
                self.peers[row].renew_teacher(group.round_index)
            with torch.no_grad():
                taught = self.forward(self.teachers, rows, images)
            features, outputs = taught.features, taught.outputs
        own = truthful = packed = self.packed(features, outputs)
        liars = [place for place, row in enumerate(rows) if self._lies(row, assignments)]
        replaced = self.peers[0].replacement is not None
        if (replaced or liars) and not self.peers[0].brings_weights:
            values = self.sent(features, outputs)
            if replaced:
                values = self._replaced(group, rows, images, values)
                truthful = packed = pack_checked(values, self.exchange.wire, self.device)
            if liars:
                packed = pack_checked(self._lied(group, rows, liars, values), self.exchange.wire, self.device)
        wanted = [assignments[self.peers[row].index].gradient_norm for row in rows]
        kept = (images, labels, forward, packed.received, own.received, group.studies, wanted)
        self.pending.append(PendingRows(group.round_index, group.batch_index, rows, *kept))
        messages: dict[int, Message | None] = {}
        for place, (row, finite) in enumerate(zip(rows, truthful.finite.tolist(), strict=True)):
            peer = self.peers[row]
            payload = tuple(part[place] for part in packed.payload)
            message = messages[peer.index] = peer.outgoing(assignments[peer.index], payload, finite)
            if message is not None and not message.is_dropout_notice and not message.checkpoint:
                held = assignments[peer.index].held
                mailbox.remember(message.key, packed.received[place], held)
        return messages

    def _replaced(self, group: Group, rows: list[int], images: Tensor, values: Tensor) -> Tensor:
        """What the rows send in place of these values in a control run that replaces them, not packed yet."""
        if self.strangers is None:
            order = shuffled_order(self.settings.seed, group.batch_index, values.shape[1], self.exchange.num_views)
            return values.index_select(1, order.to(self.device))
        with torch.no_grad():
            forward = self.forward(self.strangers, rows, images)
        return self.sent(forward.features, forward.outputs)

    def _lies(self, row: int, assignments: Mapping[int, Assignment]) -> bool:
        """Whether a peer that may lie where it publishes does publish."""
        peer = self.peers[row]
        return peer.liar is not None and assignments[peer.index].teaches

    def _lied(self, group: Group, rows: list[int], liars: Sequence[int], values: Tensor) -> Tensor:
        """What the rows send, with the lies of those at some places."""
        told = values.clone()
        for place in liars:
            liar = self.peers[rows[place]].liar
            assert liar is not None
            told[place] = liar.outputs(values[place], group.round_index)
        return told

    def forget(self, peers: Iterable[int]) -> None:
        """Drop the forward passes that any of these peers has a part in, before its weights are changed."""
        self._forget([self.row_of[peer] for peer in peers])

    def _forget(self, rows: Sequence[int]) -> None:
        self.pending = [each for each in self.pending if not set(each.rows) & set(rows)]

    def _peers(self, rows: Sequence[int]) -> list[int]:
        return [self.peers[row].index for row in rows]

    def _stats(
        self, peer: int, message: Message | None, seconds: float, loss: float | None = None, norm: float | None = None
    ) -> Stats:
        heard = Heard.together(self._heard.pop(peer, ()))
        return self.peers[self.row_of[peer]].stats(seconds, message, loss, norm, heard)
