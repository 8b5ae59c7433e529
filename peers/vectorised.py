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

from peers.assignment import Assignment, Stats
from peers.letters import Letters
from peers.messages import Message
from peers.peer import Peer, check_senders
from peers.precision import autocast
from peers.stack import Forward, Rows, Stack, put
from peers.sums import Shares, Sum

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
        self.moments = self._join_moments()
        self.flights: list[Flight] = []

    def _join_moments(self) -> dict[str, list[Tensor]]:
        for peer in self.peers:
            peer.optimizer.allocate()
        states = [peer.optimizer.moments for peer in self.peers]
        stacked = {
            name: [torch.stack(each) for each in zip(*(state[name] for state in states), strict=True)]
            for name in states[0]
        }
        for row, state in enumerate(states):
            for name, moments in stacked.items():
                state[name] = [moment[row] for moment in moments]
        return stacked

    # ---- rounds ----

    def publish(self, assignments: Mapping[int, Assignment], letters: Letters) -> dict[int, Answer]:
        """The forward passes of coming rounds; `letters` keeps what was sent as students read it."""
        start = time.perf_counter()
        messages = self._publish_all(assignments, letters)
        seconds = (time.perf_counter() - start) / max(len(messages), 1)
        return {peer: (message, self._stats(peer, message, seconds)) for peer, message in messages.items()}

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], letters: Letters, outbox: Letters
    ) -> dict[int, Answer]:
        """Learn one round from `letters`, then publish into `outbox`.

        Raises: ValueError when a message does not come from one of the round's teachers.
        """
        start = time.perf_counter()
        dues = {peer: self.peers[self.row_of[peer]].due for peer in following}
        heard = {peer: letters.of(due) for peer, due in dues.items() if due is not None}
        for peer, due in dues.items():
            assert due is not None  # the host has checked it
            check_senders(peer, due, heard[peer])
        flights = [each for each in self.flights if each.round_index == round_index]
        self.flights = [each for each in self.flights if each.round_index != round_index]
        learned: dict[int, tuple[float, float]] = {}
        for flight in flights:
            self.networks.settle(self._index(flight.rows), flight.forward.buffers)
            if flight.studies:
                learned |= self._study(flight, dues, heard, letters)
        for peer in following:
            self.peers[self.row_of[peer]].due = None
        messages = self._publish_all({peer: each for peer, each in following.items() if each is not None}, outbox)
        seconds = (time.perf_counter() - start) / len(following)
        return {
            peer: (messages.get(peer), self._stats(peer, messages.get(peer), seconds, *learned.get(peer, (None, None))))
            for peer in following
        }

    def forget(self) -> None:
        """Drop what was published: the peers' state has been replaced."""
        self.flights = []

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
        for place, (row, finite) in enumerate(zip(rows, _finite(sent).tolist(), strict=True)):
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
        return None if len(rows) == len(self.peers) else torch.tensor(rows, device=self.device)

    # ---- one step ----

    def _study(
        self,
        flight: Flight,
        dues: Mapping[int, Assignment | None],
        heard: Mapping[int, Sequence[Message | Sum]],
        letters: Letters,
    ) -> dict[int, tuple[float, float]]:
        """One step of every row that heard somebody and has not dropped out; losses and gradient norms by peer."""
        forward = flight.forward
        if self.settings.recompute:
            forward = self._forward(self.networks, flight.rows, flight.images)
        pooled = self._pooled(flight, dues, heard, letters)
        if pooled is None:
            return {}
        teachers, weights, hears = pooled
        centres = torch.stack([self.peers[row].centre for row in flight.rows])
        losses = vmap(self._loss, in_dims=(0, 0, 0, 0, 0, None))(
            forward.features, forward.outputs, teachers, weights, centres, flight.labels
        )
        leaves = list(forward.parameters.values())
        gradients: list[Tensor | None] = list(
            torch.autograd.grad(torch.where(hears, losses, 0.0).sum(), leaves, allow_unused=True)
        )
        # one copy here spares several: backward leaves transposes, and the fused optimisers read memory in its order
        gradients = [each if each is None else each.contiguous() for each in gradients]
        norms = _norms(gradients)
        steps = hears & self._drop_unless(flight, hears, losses, "the loss is {}")
        steps = steps & self._drop_unless(flight, steps, norms, "the gradient's norm is {}")
        if self.kind.optimizer.clip_norm:
            factor = (self.kind.optimizer.clip_norm / (norms + 1e-6)).clamp(max=1.0)
            gradients = [each if each is None else each * _along(factor, each) for each in gradients]
        places = steps.nonzero().flatten().tolist()
        self._step(flight, places, gradients)
        sound = self._check_weights(flight, places)
        self._follow(flight, sound, centres, teachers, weights)
        losses_, norms_ = losses.tolist(), norms.tolist()
        return {self.peers[flight.rows[place]].index: (losses_[place], norms_[place]) for place in sound}

    def _loss(
        self, features: Tensor, outputs: Tensor, teachers: Tensor, weights: Tensor, centre: Tensor, labels: Tensor
    ) -> Tensor:
        return self.exchange.loss_of(features, outputs, teachers, weights, centre, labels)

    def _pooled(
        self,
        flight: Flight,
        dues: Mapping[int, Assignment | None],
        heard: Mapping[int, Sequence[Message | Sum]],
        letters: Letters,
    ) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
        """What every row learns from: its teachers, or one that stands for them, with weights; and who hears any."""
        peers = [self.peers[row].index for row in flight.rows]
        parts = [due for due in (dues[peer] for peer in peers) if due is not None]
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
        return _padded(lists, torch.zeros_like(flight.sent[0]), self.exchange.pool == "outputs")

    def _step(self, flight: Flight, places: list[int], gradients: list[Tensor | None]) -> None:
        """Move those rows, all with as many steps behind them at once."""
        by_steps: dict[int, list[int]] = {}
        for place in places:
            by_steps.setdefault(self.peers[flight.rows[place]].optimizer.steps, []).append(place)
        for steps, together in by_steps.items():
            self._update(
                [flight.rows[place] for place in together], together, len(flight.rows), steps, gradients, flight
            )

    @torch.no_grad()
    def _update(
        self,
        rows: list[int],
        places: list[int],
        num_places: int,
        steps: int,
        gradients: list[Tensor | None],
        flight: Flight,
    ) -> None:
        moving = [index for index, gradient in enumerate(gradients) if gradient is not None]
        index = self._index(rows)
        taken = None if len(places) == num_places else torch.tensor(places, device=self.device)
        every = [each.detach() for each in self.networks.parameters.values()]
        parameters = [_take(every[i], index) for i in moving]
        moments = {name: [_take(each[i], index) for i in moving] for name, each in self.moments.items()}
        chosen = [_take(gradient, taken) for gradient in gradients if gradient is not None]
        lr = self.kind.optimizer.lr_at(flight.round_index, self.settings.num_rounds)
        self.kind.optimizer.update(parameters, chosen, moments, steps, lr, fused=True)
        if index is not None:
            for i, values in zip(moving, parameters, strict=True):
                put(every[i], index, values)
            for name, each in moments.items():
                for i, values in zip(moving, each, strict=True):
                    put(self.moments[name][i], index, values)
        for row in rows:
            self.peers[row].optimizer.steps += 1

    def _check_weights(self, flight: Flight, places: list[int]) -> list[int]:
        """The places whose weights are finite; the other peers drop out."""
        finite = torch.ones(len(self.peers), dtype=torch.bool, device=self.device)
        for parameter in self.networks.parameters.values():
            finite &= _finite(parameter.detach())
        sound = []
        for place in places:
            if finite[flight.rows[place]]:
                sound.append(place)
            else:
                self.peers[flight.rows[place]].drop("weights are not finite after the step", flight.round_index)
        return sound

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


def _padded(
    lists: Sequence[Sequence[tuple[float, Float[Tensor, "batch dim"]]]], empty: Float[Tensor, "batch dim"], pool: bool
) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
    """Lists of unlike length side by side, filled with weight 0; pooled into one teacher each where the loss allows."""
    most = max(len(each) for each in lists)
    if most == 0:
        return None
    fill = [each[0][1] if each else empty for each in lists]
    table = torch.tensor([[w for w, _ in each] + [0.0] * (most - len(each)) for each in lists], device=empty.device)
    hears = table.sum(dim=1) > 0
    table = table / torch.where(hears, table.sum(dim=1), 1.0)[:, None]
    slots = (
        torch.stack([each[slot][1] if slot < len(each) else other for each, other in zip(lists, fill, strict=True)])
        for slot in range(most)
    )
    if not pool:
        return torch.stack(list(slots), dim=1), table, hears
    pooled = torch.zeros(len(lists), *empty.shape, device=empty.device)
    for slot, outputs in enumerate(slots):
        pooled.add_(table[:, slot, None, None] * outputs)
    return pooled[:, None], torch.ones(len(lists), 1, device=empty.device), hears


def _finite(values: Float[Tensor, "rows *axes"]) -> Bool[Tensor, " rows"]:
    """Which rows hold finite numbers only: a sum is finite if they are, unless it overflows."""
    flat = values.reshape(len(values), -1)
    finite = torch.isfinite(flat.sum(dim=1))
    return finite if finite.all() else torch.isfinite(flat).all(dim=1)


def _norms(gradients: Sequence[Tensor | None]) -> Float[Tensor, " rows"]:
    """The norm of each row's gradient over all parameters."""
    norms = [torch.linalg.vector_norm(each.flatten(1), dim=1) for each in gradients if each is not None]
    total: Float[Tensor, " rows"] = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total


def _along(factor: Float[Tensor, " rows"], values: Float[Tensor, "rows *axes"]) -> Tensor:
    return factor.view(-1, *[1] * (values.ndim - 1))


def _take(values: Tensor, rows: Rows) -> Tensor:
    return values if rows is None else values[rows]
