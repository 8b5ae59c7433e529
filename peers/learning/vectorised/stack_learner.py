"""What many peers learn with together: stacked networks and optimisers, and one step of some of their rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.func import vmap

from peers.base.precision import autocast, backward
from peers.exchange.assignment import Heard
from peers.exchange.messages import Packed, pack_checked
from peers.learning.peer import Peer
from peers.learning.vectorised.network_stack import Forward, Rows, Stack
from peers.learning.vectorised.rowwise import add_rows, match_norms, norms_of, scale_rows, take
from peers.learning.vectorised.stack_optimizer import StackOptimizer


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
class RowsTask:
    """One term of the losses of some rows: their forward pass on a batch, and their teachers' outputs on it.

    kept: the samples that some teacher of a row labels; None: all. places: of its rows among those that step; None: all
    of them. shares: of the term in each row's loss; None: all of it.
    """

    forward: Forward
    labels: Int64[Tensor, " batch"]
    teachers: Float[Tensor, "rows teachers batch dim"]
    weights: Float[Tensor, "rows teachers"]
    has_teachers: Bool[Tensor, " rows"]
    kept: Bool[Tensor, "rows samples"] | None = None
    places: Rows = None
    shares: Float[Tensor, " rows"] | None = None


class StackLearner:
    """Networks and optimisers of peers of one kind, stacked."""

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
        self.listens = first.ear is not None
        self._heard: dict[int, list[Heard]] = {}  # by peer, since its last statistics

    def forward(self, stack: Stack, rows: list[int], images: Tensor) -> Forward:
        with autocast(self.device, self.settings.precision):
            forward = stack.forward(self._index(rows), images)
        return replace(forward, features=forward.features.float(), outputs=forward.outputs.float())

    def sent(self, features: Tensor, outputs: Tensor) -> Tensor:
        """What each row would send of its outputs, not packed yet; may share memory with them."""
        return vmap(self.exchange.sent)(vmap(self.exchange.exchanged)(features, outputs))

    def packed(self, features: Tensor, outputs: Tensor) -> Packed:
        return pack_checked(self.sent(features, outputs), self.exchange.wire, self.device)

    def _index(self, rows: list[int]) -> Rows:
        return None if len(rows) == len(self.peers) else torch.tensor(rows, dtype=torch.int64, device=self.device)

    def settle(self, rows: list[int], forward: Forward) -> None:
        """Copy the buffers of a forward pass into the networks, except for peers that diverged in it."""
        sound = [place for place, row in enumerate(rows) if not self.peers[row].failure]
        buffers = forward.buffers
        if len(sound) < len(rows):
            buffers = {name: buffer[sound] for name, buffer in buffers.items()}
        self.networks.settle(self._index([rows[place] for place in sound]), buffers)

    # ---- one step ----

    def study(
        self, rows: list[int], tasks: Sequence[RowsTask], run_round: int, wanted_norms: Sequence[float | None]
    ) -> dict[int, tuple[float, float]]:
        """One step of every row that has teachers and has not dropped out; losses and gradient norms by peer."""
        sound = torch.tensor([not self.peers[row].failure for row in rows], device=self.device)
        centres = torch.stack([self.peers[row].centre for row in rows])
        active, losses, gradients = self._sums(tasks, centres, sound)
        norms = norms_of(gradients)
        active = self._drop_unless_finite(rows, run_round, active, "the loss", losses)
        active = self._drop_unless_finite(rows, run_round, active, "the gradient's norm", norms)
        if self.kind.optimizer.clip_norm:
            factor = (self.kind.optimizer.clip_norm / (norms + 1e-6)).clamp(max=1.0)
            gradients = [gradient if gradient is None else scale_rows(gradient, factor) for gradient in gradients]
        gradients = match_norms(gradients, norms, wanted_norms, self.kind.optimizer.clip_norm or math.inf)
        stepped = self._step(rows, run_round, active.nonzero().flatten().tolist(), gradients)
        if self.exchange.keeps_centre:
            centres = self._updated(centres, tasks)
            for place in stepped:
                self.peers[rows[place]].centre = centres[place]
        losses_, norms_ = losses.tolist(), norms.tolist()
        return {self.peers[rows[place]].index: (losses_[place], norms_[place]) for place in stepped}

    def _sums(
        self, tasks: Sequence[RowsTask], centres: Tensor, sound: Tensor
    ) -> tuple[Bool[Tensor, " rows"], Float[Tensor, " rows"], list[Tensor | None]]:
        """Which rows step, and their losses and gradients, summed over the tasks."""
        first = tasks[0]
        if len(tasks) == 1 and first.places is None:
            active = first.has_teachers & sound
            return active, *self._gradients(first, centres, active)
        taught = torch.zeros(len(sound), dtype=torch.int64, device=self.device)
        losses = torch.zeros(len(sound), device=self.device)
        gradients: list[Tensor | None] = [None] * len(self.networks.parameters)
        for task in tasks:
            active = task.has_teachers & take(sound, task.places)
            its_losses, its_gradients = self._gradients(task, take(centres, task.places), active)
            add_rows(taught, task.places, active.to(torch.int64), active)
            add_rows(losses, task.places, its_losses, active)
            for number, gradient in enumerate(its_gradients):
                if gradient is not None:
                    total = gradients[number]
                    if total is None:
                        total = gradients[number] = gradient.new_zeros(len(sound), *gradient.shape[1:])
                    add_rows(total, task.places, gradient, active)
        return taught > 0, losses, gradients

    def _gradients(
        self, task: RowsTask, centres: Tensor, active: Tensor
    ) -> tuple[Float[Tensor, " rows"], list[Tensor | None]]:
        """Every row's share of loss and gradients; those of inactive rows are meaningless."""
        forward = task.forward
        kept = () if task.kept is None else (task.kept,)
        losses = vmap(self.settings.loss_of, in_dims=(0, 0, 0, 0, 0, None, *(0 for _ in kept)))(
            forward.features, forward.outputs, task.teachers, task.weights, centres, task.labels, *kept
        )
        losses = losses if task.shares is None else task.shares * losses
        leaves = list(forward.parameters.values())
        with backward(self.device, self.settings.precision):
            gradients = torch.autograd.grad(torch.where(active, losses, 0.0).sum(), leaves, allow_unused=True)
        # one copy here saves several: backward may return transposes, and fused optimisers need contiguous memory
        return losses, [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _step(self, rows: list[int], run_round: int, places: list[int], gradients: list[Tensor | None]) -> list[int]:
        """Step the rows at these places; returns the places whose weights stay finite."""
        lr = self.kind.optimizer.lr_at(run_round, self.settings.num_rounds)
        everything = len(places) == len(rows)
        index = None if everything else torch.tensor(places, dtype=torch.int64, device=self.device)
        chosen = [gradient if gradient is None else take(gradient, index) for gradient in gradients]
        self.optimizer.step([rows[place] for place in places], chosen, lr)
        finite = self.optimizer.finite().tolist()
        return [place for place in places if self.peers[rows[place]].end_step(run_round, finite[rows[place]])]

    def _updated(self, centres: Float[Tensor, "rows dim"], tasks: Sequence[RowsTask]) -> Float[Tensor, "rows dim"]:
        """Every row's centre after a step: that of its batch, or the mean over its batches by their shares."""
        first = tasks[0]
        if len(tasks) == 1 and first.places is None:
            return vmap(self.exchange.updated_centre)(centres, first.teachers, first.weights)
        total = torch.zeros_like(centres)
        for task in tasks:
            found = vmap(self.exchange.updated_centre)(take(centres, task.places), task.teachers, task.weights)
            shared = found if task.shares is None else scale_rows(found, task.shares)
            add_rows(total, task.places, shared, task.has_teachers)
        return total

    def _drop_unless_finite(
        self, rows: list[int], run_round: int, active: Bool[Tensor, " rows"], name: str, values: Float[Tensor, " rows"]
    ) -> Bool[Tensor, " rows"]:
        """The active rows whose value is finite; the other active peers drop out."""
        finite = torch.isfinite(values)
        for place in (active & ~finite).nonzero().flatten().tolist():
            self.peers[rows[place]].drop_unless_finite(name, values[place].item(), run_round)
        return active & finite
