"""Many peers of one kind that publish and study together: the vectorised form of what `Peer` does one by one.

The numbers are those of the loop to float tolerance. The state stays in the peers: their tensors are rows of stacks.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.func import vmap

from peers.base.precision import autocast
from peers.exchange.assignment import Assignment, Stats
from peers.exchange.mailbox import Letters
from peers.exchange.messages import Message
from peers.exchange.sums import Shares, Sum
from peers.learning.peer import Peer, check_senders
from peers.learning.vectorised.network_stack import Forward, Rows, Stack
from peers.learning.vectorised.rowwise import along, finite_rows, norms_of, padded, take
from peers.learning.vectorised.stack_optimizer import StackOptimizer

WIDTH = 32  # peers that go through one forward pass: more gain little, and their activations leave the cache

Answer = tuple[Message | None, Stats]


@dataclass
class Flight:
    """The forward pass of some rows for one round; `sent` is what their students hear."""

    round_index: int
    rows: list[int]
    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"]
    forward: Forward
    sent: Float[Tensor, "rows batch dim"]
    studies: bool


class PeerStack:
    """Up to `WIDTH` peers of one kind."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.peers = list(peers)
        first = peers[0]
        self.settings, self.kind, self.device = first.settings, first.kind, first.device
        self.exchange = first.settings.exchange
        self.row_of = {peer.index: row for row, peer in enumerate(peers)}
        self.networks = Stack([peer.network for peer in peers])
        teachers = [peer.teacher.network for peer in peers if peer.teacher is not None]
        self.teachers = Stack(teachers) if teachers else None
        self.optimizer = StackOptimizer([peer.optimizer for peer in peers], list(self.networks.parameters.values()))
        self.flights: list[Flight] = []

    # ---- rounds ----

    def publish(self, assignments: Mapping[int, Assignment], letters: Letters) -> dict[int, Answer]:
        """The forward passes of coming rounds; `letters` keeps what was sent as students read it."""
        start = time.perf_counter()
        messages = self._publish_all(assignments, letters)
        seconds = (time.perf_counter() - start) / max(len(messages), 1)
        return {peer: (message, self._stats(peer, message, seconds)) for peer, message in messages.items()}

    def advance(
        self,
        dues: Mapping[int, Assignment],
        following: Mapping[int, Assignment | None],
        letters: Letters,
        outbox: Letters,
    ) -> dict[int, Answer]:
        """Learn the round that is due from `letters`, then publish into `outbox`.

        Raises: ValueError when a message does not come from one of the round's teachers.
        """
        start = time.perf_counter()
        heard = {peer: letters.of(dues[peer]) for peer in following}
        for peer in following:
            check_senders(peer, dues[peer], heard[peer])
        now = {dues[peer].round_index for peer in following}  # one round
        flights = [each for each in self.flights if each.round_index in now]
        self.flights = [each for each in self.flights if each.round_index not in now]
        learned: dict[int, tuple[float, float]] = {}
        for flight in flights:
            self._settle(flight)
            pooled = self._pooled(flight, dues, heard, letters) if flight.studies else None
            if pooled is not None:
                learned |= self._study(flight, *pooled)
        for peer in following:
            self.peers[self.row_of[peer]].due = None
        messages = self._publish_all({peer: each for peer, each in following.items() if each is not None}, outbox)
        seconds = (time.perf_counter() - start) / len(following)
        return {
            peer: (messages.get(peer), self._stats(peer, messages.get(peer), seconds, *learned.get(peer, (None, None))))
            for peer in following
        }

    def _settle(self, flight: Flight) -> None:
        """Make the buffers of a forward pass the networks' own, but for peers that it has shown to have diverged."""
        sound = [place for place, row in enumerate(flight.rows) if not self.peers[row].failure]
        buffers = flight.forward.buffers
        if len(sound) < len(flight.rows):
            buffers = {name: each[sound] for name, each in buffers.items()}
        self.networks.settle(self._index([flight.rows[place] for place in sound]), buffers)

    def _publish_all(self, assignments: Mapping[int, Assignment], letters: Letters) -> dict[int, Message | None]:
        groups: dict[tuple[int, bool, Shares | None], list[int]] = {}
        messages: dict[int, Message | None] = {}
        for index, assignment in assignments.items():
            row = self.row_of[index]
            peer = self.peers[row]
            peer.due = assignment
            messages[index] = None  # keeps the order
            if peer.failure:
                messages[index] = peer.tombstone(assignment.round_index)
            else:
                key = (assignment.round_index, assignment.studies, assignment.shares)
                groups.setdefault(key, []).append(row)
        for (round_index, studies, _), rows in groups.items():
            messages |= self._publish(round_index, studies, sorted(rows), letters)
        return messages

    def _publish(self, round_index: int, studies: bool, rows: list[int], letters: Letters) -> dict[int, Message | None]:
        images, labels = self.peers[0].batches(round_index)
        with torch.set_grad_enabled(studies and not self.settings.recompute):
            forward = self._forward(self.networks, rows, images)
        features, outputs = forward.features.detach(), forward.outputs.detach()
        if self.teachers is not None:
            for row in rows:
                self.peers[row].renew_teacher(round_index)
            with torch.no_grad():
                taught = self._forward(self.teachers, rows, images)
            features, outputs = taught.features, taught.outputs
        compared = vmap(self.exchange.compared)(features, outputs)
        payload = self.exchange.wire.pack(vmap(self.exchange.sent)(compared))
        sent = self.exchange.wire.unpack(payload, compared.shape[-1], self.device)
        self.flights.append(Flight(round_index, rows, images, labels, forward, sent, studies))
        messages: dict[int, Message | None] = {}
        for place, (row, finite) in enumerate(zip(rows, finite_rows(sent).tolist(), strict=True)):
            peer = self.peers[row]
            message: Message | None = Message(
                peer.index, round_index, self.exchange.wire, compared.shape[-1], tuple(part[place] for part in payload)
            )
            if not finite:
                peer.drop(f"outputs are not finite in {self.exchange.dtype}", round_index)
                message = peer.tombstone(round_index)
            elif peer.due is not None and peer.due.teaches:
                letters.outputs[peer.index] = sent[place]
            else:
                message = None
            messages[peer.index] = message
        return messages

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

    def _places(self, flight: Flight, places: list[int]) -> Rows:
        return None if len(places) == len(flight.rows) else torch.tensor(places, dtype=torch.int64, device=self.device)

    # ---- one step ----

    def _study(
        self,
        flight: Flight,
        teachers: Float[Tensor, "rows teachers batch dim"],
        weights: Float[Tensor, "rows teachers"],
        hears: Bool[Tensor, " rows"],
    ) -> dict[int, tuple[float, float]]:
        """One step of every row that heard somebody and has not dropped out; losses and gradient norms by peer."""
        forward = flight.forward
        if self.settings.recompute:
            forward = self._forward(self.networks, flight.rows, flight.images)
        hears = hears & torch.tensor([not self.peers[row].failure for row in flight.rows], device=self.device)
        centres = torch.stack([self.peers[row].centre for row in flight.rows])
        losses, gradients = self._gradients(flight, forward, teachers, weights, centres, hears)
        norms = norms_of(gradients)
        steps = hears & self._drop_unless(flight, hears, losses, "the loss is {}")
        steps = steps & self._drop_unless(flight, steps, norms, "the gradient's norm is {}")
        if self.kind.optimizer.clip_norm:
            factor = (self.kind.optimizer.clip_norm / (norms + 1e-6)).clamp(max=1.0)
            gradients = [each if each is None else each * along(factor, each) for each in gradients]
        sound = self._step(flight, steps.nonzero().flatten().tolist(), gradients)
        self._follow(flight, sound, centres, teachers, weights)
        losses_, norms_ = losses.tolist(), norms.tolist()
        return {self.peers[flight.rows[place]].index: (losses_[place], norms_[place]) for place in sound}

    def _gradients(
        self, flight: Flight, forward: Forward, teachers: Tensor, weights: Tensor, centres: Tensor, hears: Tensor
    ) -> tuple[Float[Tensor, " rows"], list[Tensor | None]]:
        """Every row's loss and gradients; those of rows that hear nobody mean nothing."""
        losses = vmap(self.exchange.loss_of, in_dims=(0, 0, 0, 0, 0, None))(
            forward.features, forward.outputs, teachers, weights, centres, flight.labels
        )
        leaves = list(forward.parameters.values())
        gradients = torch.autograd.grad(torch.where(hears, losses, 0.0).sum(), leaves, allow_unused=True)
        # one copy here spares several: backward leaves transposes, and the fused optimisers read memory in its order
        return losses, [each if each is None else each.contiguous() for each in gradients]

    def _step(self, flight: Flight, places: list[int], gradients: list[Tensor | None]) -> list[int]:
        """Step those rows; gives the places whose weights are finite, and drops the other peers."""
        lr = self.kind.optimizer.lr_at(flight.round_index, self.settings.num_rounds)
        taken = self._places(flight, places)
        given = [each if each is None else take(each, taken) for each in gradients]
        self.optimizer.step([flight.rows[place] for place in places], given, lr)
        finite = self.optimizer.finite()
        for place in places:
            if not finite[flight.rows[place]]:
                self.peers[flight.rows[place]].drop("weights are not finite after the step", flight.round_index)
        return [place for place in places if finite[flight.rows[place]]]

    def _pooled(
        self,
        flight: Flight,
        dues: Mapping[int, Assignment],
        heard: Mapping[int, Sequence[Message | Sum]],
        letters: Letters,
    ) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
        """What every row learns from: its teachers, or one that stands for them, with weights; and who hears any."""
        peers = [self.peers[row].index for row in flight.rows]
        parts = [dues[peer] for peer in peers]
        if parts[0].shares is not None:
            (total,) = (each for each in heard[peers[0]] if isinstance(each, Sum))
            pooled = total.pooled(flight.sent if parts[0].teaches else None, parts[0].shares, self.device)
            if pooled is None:
                return None
            ones = torch.ones(len(peers), device=self.device)
            return pooled.expand(len(peers), *pooled.shape[-2:])[:, None], ones[:, None], ones > 0
        lists = [
            [
                (weight, letters.read(each))
                for weight, each in zip(due.weights, heard[peer], strict=True)
                if _alive(each)
            ]
            for peer, due in zip(peers, parts, strict=True)
        ]
        return padded(lists, torch.zeros_like(flight.sent[0]), self.exchange.average == "outputs")

    def _drop_unless(
        self, flight: Flight, among: Bool[Tensor, " rows"], values: Float[Tensor, " rows"], reason: str
    ) -> Bool[Tensor, " rows"]:
        """Which values are finite; of the rows in question, those with another one drop out."""
        finite = torch.isfinite(values)
        for place in (among & ~finite).nonzero().flatten().tolist():
            self.peers[flight.rows[place]].drop(reason.format(values[place].item()), flight.round_index)
        return finite

    def _follow(self, flight: Flight, places: list[int], centres: Tensor, teachers: Tensor, weights: Tensor) -> None:
        """What comes after a step: moving averages of weights, and running centres."""
        if self.teachers is not None:
            for place in places:
                self.peers[flight.rows[place]].follow_teacher()
        if self.exchange.keeps_centre:
            centres = vmap(self.exchange.updated_centre)(centres, teachers, weights)
            for place in places:
                self.peers[flight.rows[place]].centre = centres[place]


def _alive(message: Message | Sum) -> bool:
    return isinstance(message, Message) and message.payload is not None
