"""Runs many peers of one kind together: the vectorised form of `Peer.publish` and `Peer.advance`.

The numbers agree with the loop's to float tolerance. All state stays in the peers, whose tensors are views of rows of
the stacked tensors.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.func import vmap

from peers.base.precision import autocast, backward
from peers.exchange.assignment import Assignment, Stats
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message, Packed, pack_checked
from peers.exchange.sums import Sum, SumWeights
from peers.learning.averaging import average_of_sum, pad_teachers, received_outputs
from peers.learning.control import shuffled_order
from peers.learning.peer import Peer
from peers.learning.vectorised.network_stack import Forward, Rows, Stack
from peers.learning.vectorised.rowwise import match_norms, norms_of, scale_rows, take
from peers.learning.vectorised.stack_optimizer import StackOptimizer

WIDTH = 32  # peers per forward pass: more are hardly faster, and their activations do not fit into the cache

Answer = tuple[Message | None, Stats]


@dataclass
class PendingRows:
    """The forward pass of some rows, kept from publishing until their step; received: outputs as students read them.

    own: what each row takes of itself as a student; it differs from `received` where messages are replaced.
    wanted_norms: those that assignments ask for; see `Assignment.gradient_norm`.

    Below, a *place* is an index into `rows`, and a *row* is an index into the stack.
    """

    round_index: int
    rows: list[int]
    images: Float[Tensor, "batch *shape"]
    labels: Int64[Tensor, " batch"]
    forward: Forward
    received: Float[Tensor, "rows batch dim"]
    own: Float[Tensor, "rows batch dim"]
    studies: bool
    wanted_norms: list[float | None]


@dataclass(frozen=True)
class Group:
    """The properties shared by the peers of one forward pass."""

    round_index: int
    batch_index: int
    studies: bool
    sum_weights: SumWeights | None


class PeerStack:
    """Up to `WIDTH` peers of one kind that are run together."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.peers = list(peers)
        first = peers[0]
        self.settings, self.kind, self.device = first.settings, first.kind, first.device
        self.exchange = first.settings.exchange
        self.row_of = {peer.index: row for row, peer in enumerate(peers)}
        self.networks = Stack([peer.network for peer in peers])
        teachers = [peer.teacher.network for peer in peers if peer.teacher is not None]
        self.teachers = Stack(teachers) if teachers else None
        strangers = [peer.replacement.stranger for peer in peers if peer.replacement is not None]
        networks = [stranger.network for stranger in strangers if stranger is not None]
        self.strangers = Stack(networks) if networks else None
        self.optimizer = StackOptimizer([peer.optimizer for peer in peers], list(self.networks.parameters.values()))
        self.pending: list[PendingRows] = []

    # ---- rounds ----

    def publish(self, assignments: Mapping[int, Assignment], mailbox: Mailbox) -> dict[int, Answer]:
        """Run the forward passes of upcoming rounds; `mailbox` memoises the outputs as students read them."""
        start = time.perf_counter()
        messages = self._publish_all(assignments, mailbox)
        seconds = (time.perf_counter() - start) / max(len(messages), 1)
        return {peer: (message, self._stats(peer, message, seconds)) for peer, message in messages.items()}

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
            self._settle(pending)
            teachers = self._teachers(pending, dues, messages, mailbox) if pending.studies else None
            if teachers is not None:
                learned |= self._study(pending, *teachers)
        for peer in following:
            self.peers[self.row_of[peer]].due = None
        coming = {peer: assignment for peer, assignment in following.items() if assignment is not None}
        sent = self._publish_all(coming, mailbox)
        seconds = (time.perf_counter() - start) / len(following)
        return {
            peer: (sent.get(peer), self._stats(peer, sent.get(peer), seconds, *learned.get(peer, (None, None))))
            for peer in following
        }

    def _settle(self, pending: PendingRows) -> None:
        """Copy the buffers of a forward pass into the networks, except for peers that diverged in it."""
        sound = [place for place, row in enumerate(pending.rows) if not self.peers[row].failure]
        buffers = pending.forward.buffers
        if len(sound) < len(pending.rows):
            buffers = {name: buffer[sound] for name, buffer in buffers.items()}
        self.networks.settle(self._index([pending.rows[place] for place in sound]), buffers)

    def _publish_all(self, assignments: Mapping[int, Assignment], mailbox: Mailbox) -> dict[int, Message | None]:
        groups: dict[Group, list[int]] = {}
        messages: dict[int, Message | None] = {}
        for index, assignment in assignments.items():
            row = self.row_of[index]
            notice = messages[index] = self.peers[row].assign(assignment)  # None reserves its position in the order
            if notice is None:
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
        images, labels = self.peers[0].batches(group.batch_index)
        with torch.set_grad_enabled(group.studies and not self.settings.recompute):
            forward = self._forward(self.networks, rows, images)
        features, outputs = forward.features.detach(), forward.outputs.detach()
        if self.teachers is not None:
            for row in rows:
                self.peers[row].renew_teacher(group.round_index)
            with torch.no_grad():
                taught = self._forward(self.teachers, rows, images)
            features, outputs = taught.features, taught.outputs
        own = packed = self._packed(features, outputs)
        if self.peers[0].replacement is not None:
            packed = self._replaced(group, rows, images, features, outputs)
        wanted = [assignments[self.peers[row].index].gradient_norm for row in rows]
        held = (packed.received, own.received, group.studies, wanted)
        self.pending.append(PendingRows(group.round_index, rows, images, labels, forward, *held))
        messages: dict[int, Message | None] = {}
        for place, (row, finite) in enumerate(zip(rows, packed.finite.tolist(), strict=True)):
            peer = self.peers[row]
            payload = tuple(part[place] for part in packed.payload)
            message = messages[peer.index] = peer.outgoing(assignments[peer.index], payload, finite)
            if message is not None and not message.is_dropout_notice:
                mailbox.remember(message.key, packed.received[place])
        return messages

    def _packed(self, features: Tensor, outputs: Tensor, order: Int64[Tensor, " samples"] | None = None) -> Packed:
        sent = vmap(self.exchange.sent)(vmap(self.exchange.exchanged)(features, outputs))
        return pack_checked(sent if order is None else sent.index_select(1, order), self.exchange.wire, self.device)

    def _replaced(self, group: Group, rows: list[int], images: Tensor, features: Tensor, outputs: Tensor) -> Packed:
        """What the rows send in a control run that replaces their outputs."""
        if self.strangers is None:
            order = shuffled_order(self.settings.seed, group.round_index, outputs.shape[1])
            return self._packed(features, outputs, order.to(self.device))
        with torch.no_grad():
            forward = self._forward(self.strangers, rows, images)
        return self._packed(forward.features, forward.outputs)

    def _forward(self, stack: Stack, rows: list[int], images: Tensor) -> Forward:
        with autocast(self.device, self.settings.precision):
            forward = stack.forward(self._index(rows), images)
        return replace(forward, features=forward.features.float(), outputs=forward.outputs.float())

    def _stats(
        self, peer: int, message: Message | None, seconds: float, loss: float | None = None, norm: float | None = None
    ) -> Stats:
        return self.peers[self.row_of[peer]].stats(seconds, message, loss, norm)

    def _index(self, rows: list[int]) -> Rows:
        return None if len(rows) == len(self.peers) else torch.tensor(rows, dtype=torch.int64, device=self.device)

    def _places(self, pending: PendingRows, places: list[int]) -> Rows:
        everything = len(places) == len(pending.rows)
        return None if everything else torch.tensor(places, dtype=torch.int64, device=self.device)

    # ---- one step ----

    def _study(
        self,
        pending: PendingRows,
        teachers: Float[Tensor, "rows teachers batch dim"],
        weights: Float[Tensor, "rows teachers"],
        has_teachers: Bool[Tensor, " rows"],
    ) -> dict[int, tuple[float, float]]:
        """One step of every row that has teachers and has not dropped out; losses and gradient norms by peer."""
        forward = pending.forward
        if self.settings.recompute:
            forward = self._forward(self.networks, pending.rows, pending.images)
        active = torch.tensor([not self.peers[row].failure for row in pending.rows], device=self.device)
        active = has_teachers & active
        centres = torch.stack([self.peers[row].centre for row in pending.rows])
        losses, gradients = self._gradients(pending, forward, teachers, weights, centres, active)
        norms = norms_of(gradients)
        active = self._drop_unless_finite(pending, active, "the loss", losses)
        active = self._drop_unless_finite(pending, active, "the gradient's norm", norms)
        if self.kind.optimizer.clip_norm:
            factor = (self.kind.optimizer.clip_norm / (norms + 1e-6)).clamp(max=1.0)
            gradients = [gradient if gradient is None else scale_rows(gradient, factor) for gradient in gradients]
        gradients = match_norms(gradients, norms, pending.wanted_norms, self.kind.optimizer.clip_norm or math.inf)
        stepped = self._step(pending, active.nonzero().flatten().tolist(), gradients)
        if self.exchange.keeps_centre:
            centres = vmap(self.exchange.updated_centre)(centres, teachers, weights)
            for place in stepped:
                self.peers[pending.rows[place]].centre = centres[place]
        losses_, norms_ = losses.tolist(), norms.tolist()
        return {self.peers[pending.rows[place]].index: (losses_[place], norms_[place]) for place in stepped}

    def _gradients(
        self, pending: PendingRows, forward: Forward, teachers: Tensor, weights: Tensor, centres: Tensor, active: Tensor
    ) -> tuple[Float[Tensor, " rows"], list[Tensor | None]]:
        """Every row's loss and gradients; those of inactive rows are meaningless."""
        losses = vmap(self.settings.loss_of, in_dims=(0, 0, 0, 0, 0, None))(
            forward.features, forward.outputs, teachers, weights, centres, pending.labels
        )
        leaves = list(forward.parameters.values())
        with backward(self.device, self.settings.precision):
            gradients = torch.autograd.grad(torch.where(active, losses, 0.0).sum(), leaves, allow_unused=True)
        # one copy here saves several: backward may return transposes, and fused optimisers need contiguous memory
        return losses, [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _step(self, pending: PendingRows, places: list[int], gradients: list[Tensor | None]) -> list[int]:
        """Step the rows at these places; returns the places whose weights stay finite."""
        lr = self.kind.optimizer.lr_at(pending.round_index, self.settings.num_rounds)
        index = self._places(pending, places)
        chosen = [gradient if gradient is None else take(gradient, index) for gradient in gradients]
        self.optimizer.step([pending.rows[place] for place in places], chosen, lr)
        finite = self.optimizer.finite().tolist()
        return [
            place
            for place in places
            if self.peers[pending.rows[place]].end_step(pending.round_index, finite[pending.rows[place]])
        ]

    def _teachers(
        self,
        pending: PendingRows,
        dues: Mapping[int, Assignment],
        messages: Mapping[int, Sequence[Message | Sum]],
        mailbox: Mailbox,
    ) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
        """For every row the outputs of its teachers (or their average), the weights, and whether it has any teacher."""
        peers = [self.peers[row].index for row in pending.rows]
        first = dues[peers[0]]
        if first.sum_weights is None:
            received = [
                received_outputs(dues[peer], messages[peer], self._reader(pending, place, mailbox))
                for place, peer in enumerate(peers)
            ]
            return pad_teachers(received, torch.zeros_like(pending.received[0]), self.exchange.average == "outputs")
        own = pending.received if first.teaches else None
        average = average_of_sum(first, messages[peers[0]], own, self.device, pending.own)
        if average is None:
            return None
        ones = torch.ones(len(peers), device=self.device)
        return average.expand(len(peers), *average.shape[-2:])[:, None], ones[:, None], ones > 0

    def _reader(self, pending: PendingRows, place: int, mailbox: Mailbox) -> Callable[[Message], Tensor]:
        """Reads the messages to one row; where messages are replaced, its own outputs in place of its own message."""
        peer = self.peers[pending.rows[place]]
        if peer.replacement is None:
            return mailbox.outputs
        return lambda message: pending.own[place] if message.sender == peer.index else mailbox.outputs(message)

    def _drop_unless_finite(
        self, pending: PendingRows, active: Bool[Tensor, " rows"], name: str, values: Float[Tensor, " rows"]
    ) -> Bool[Tensor, " rows"]:
        """The active rows whose value is finite; the other active peers drop out."""
        finite = torch.isfinite(values)
        for place in (active & ~finite).nonzero().flatten().tolist():
            self.peers[pending.rows[place]].drop_unless_finite(name, values[place].item(), pending.round_index)
        return active & finite
