"""What many peers learn with together: stacked networks and optimisers, and one step of some of their rows."""

import math
from collections.abc import Callable, Sequence
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

    images: [rows, ...] where peers see different ones. own: what each row takes of itself as a student; it differs from
    `received` where messages are replaced.
    wanted_norms: those that assignments ask for; see `Assignment.gradient_norm`.

    Below, a *place* is an index into `rows`, and a *row* is an index into the stack.
    """

    round_index: int
    batch_index: int
    rows: list[int]
    images: Float[Tensor, "*images"]
    labels: Int64[Tensor, " batch"]
    forward: Forward
    received: Float[Tensor, "rows batch dim"]
    own: Float[Tensor, "rows batch dim"]
    studies: bool
    wanted_norms: list[float | None]


@dataclass(frozen=True)
class RowsTask:
    """One part of the losses of some rows: their forward pass on a batch, and their teachers' outputs on it.

    labels: [rows, batch] where each row has a batch of its own. teachers, weights: None: the part is the rows' own
    terms alone. learns: the rows that learn from it. taught: those of them that have teachers, where others learn their
    own terms alone. places: of its rows among those that step; None: all of them. shares: of the part in each row's
    loss; None: all of it. kept: the samples for which teachers answer; None: all.
    """

    forward: Forward
    labels: Int64[Tensor, "*rows batch"]
    teachers: Float[Tensor, "rows teachers batch dim"] | None
    weights: Float[Tensor, "rows teachers"] | None
    learns: Bool[Tensor, " rows"]
    taught: Bool[Tensor, " rows"] | None = None
    places: Rows = None
    shares: Float[Tensor, " rows"] | None = None
    kept: Bool[Tensor, "rows batch"] | None = None


class StackLearner:
    """Networks and optimisers of peers of one kind, stacked."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.peers = list(peers)
        first = peers[0]
        self.settings, self.kind, self.device = first.settings, first.kind, first.device
        self.exchange, self.terms, self.sight = first.settings.exchange, first.terms, first.batches
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

    def forward(self, stack: Stack, rows: list[int], images: Tensor, common: bool | None = None) -> Forward:
        """common: whether the images are the same for all rows; None: as peers see the round's batch."""
        with autocast(self.device, self.settings.precision):
            forward = stack.forward(self._index(rows), images, self.sight.common if common is None else common)
        return replace(forward, features=forward.features.float(), outputs=forward.outputs.float())

    def sent(self, features: Tensor, outputs: Tensor) -> Tensor:
        """What each row would send of its outputs, not packed yet; may share memory with them."""
        return vmap(self.exchange.sent)(vmap(self.exchange.exchanged)(features, outputs))

    def packed(self, features: Tensor, outputs: Tensor) -> Packed:
        return pack_checked(self.sent(features, outputs), self.exchange.wire, self.device)

    def with_private(
        self, tasks: list[RowsTask], rows: list[int], batch: int, studying: Bool[Tensor, " rows"]
    ) -> list[RowsTask]:
        """The tasks, with the own terms of the rows that study on their private batches, after the other passes."""
        if not (self.terms.own and self.terms.private) or not bool(studying.any()):
            return tasks
        found = self.sight.private_together(batch, [self.peers[row].index for row in rows])
        assert found is not None, "there are private batches"
        forward = self.forward(self.networks, rows, found[0], common=False)
        places = studying.nonzero().flatten().tolist()
        buffers = {name: buffer[places] for name, buffer in forward.buffers.items()}
        self.settle([rows[place] for place in places], replace(forward, buffers=buffers))
        return [*tasks, RowsTask(forward, found[1], None, None, studying)]

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
            active = first.learns & sound
            return active, *self._gradients(first, centres, active)
        taught = torch.zeros(len(sound), dtype=torch.int64, device=self.device)
        losses = torch.zeros(len(sound), device=self.device)
        gradients: list[Tensor | None] = [None] * len(self.networks.parameters)
        for task in tasks:
            active = task.learns & take(sound, task.places)
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
        forward, losses = task.forward, self._losses(task, centres)
        losses = losses if task.shares is None else task.shares * losses
        leaves = list(forward.parameters.values())
        with backward(self.device, self.settings.precision):
            gradients = torch.autograd.grad(torch.where(active, losses, 0.0).sum(), leaves, allow_unused=True)
        # one copy here saves several: backward may return transposes, and fused optimisers need contiguous memory
        return losses, [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _losses(self, task: RowsTask, centres: Tensor) -> Float[Tensor, " rows"]:
        """Every row's loss in its own right."""
        passed = task.forward.features, task.forward.outputs
        labels = 0 if task.labels.ndim == 2 else None
        if task.teachers is None or task.weights is None:
            return vmap(self.terms.of_itself, in_dims=(0, 0, 0, labels))(*passed, centres, task.labels)
        said, of_messages, of_itself = (task.teachers, task.weights), self.terms.of_messages, self.terms.of_itself
        if task.taught is not None:  # no row has a target that may bring NaN, even without a share in the loss
            own = vmap(self.exchange.sent)(vmap(self.exchange.exchanged)(*passed)).detach()
            teachers = torch.where(task.taught[:, None, None, None], task.teachers, own[:, None])
            said = teachers, torch.where(task.taught[:, None], task.weights, 1 / task.weights.shape[1])
        kept, places = task.kept, None if task.kept is None else 0
        losses = vmap(of_messages, in_dims=(0, 0, 0, 0, 0, labels, places))(*passed, *said, centres, task.labels, kept)
        if task.taught is None:
            return losses
        own = vmap(of_itself, in_dims=(0, 0, 0, labels))(*passed, centres, task.labels)
        return torch.where(task.taught, losses, own)

    def _step(self, rows: list[int], run_round: int, places: list[int], gradients: list[Tensor | None]) -> list[int]:
        """Step the rows at these places; returns the places whose weights stay finite."""
        lr = self.kind.optimizer.lr_at(run_round, self.settings.num_rounds)
        everything = len(places) == len(rows)
        index = None if everything else torch.tensor(places, dtype=torch.int64, device=self.device)
        chosen = [gradient if gradient is None else take(gradient, index) for gradient in gradients]
        self.optimizer.step([rows[place] for place in places], chosen, lr)
        finite = self.optimizer.finite().tolist()
        return [place for place in places if self.peers[rows[place]].end_step(run_round, finite[rows[place]])]

    def _updated(self, centres: Float[Tensor, "rows *own dim"], tasks: Sequence[RowsTask]) -> Tensor:
        """Every row's centre after a step: that of its batch, or the mean over its batches by their shares."""
        taught = [task for task in tasks if task.teachers is not None]
        centres = self._followed(centres, taught, lambda task: task.learns if task.taught is None else task.taught)
        if not self.exchange.comparison.keeps_own_centre:
            return centres
        on_private = self.exchange.self_loss > 0
        own = [task for task in tasks if not self.terms.private or (task.teachers is None) == on_private]
        return self._followed(centres, own, lambda task: task.learns, own=True)

    def _followed(
        self, centres: Tensor, tasks: Sequence[RowsTask], moved: Callable[[RowsTask], Tensor], own: bool = False
    ) -> Tensor:
        """The centres (of teachers, or of the rows' own outputs) after these tasks; only `moved` rows change theirs."""
        if not tasks:
            return centres

        def updated(task: RowsTask, before: Tensor) -> Tensor:
            if own or task.teachers is None or task.weights is None:
                return vmap(self.exchange.updated_own_centre)(before, task.forward.features, task.forward.outputs)
            return vmap(self.exchange.updated_centre)(before, task.teachers, task.weights)

        if len(tasks) == 1 and tasks[0].places is None:
            rows = moved(tasks[0])
            return torch.where(rows.view(-1, *[1] * (centres.ndim - 1)), updated(tasks[0], centres), centres)
        total, seen = torch.zeros_like(centres), torch.zeros(len(centres), dtype=torch.int64, device=self.device)
        for task in tasks:
            found, rows = updated(task, take(centres, task.places)), moved(task)
            add_rows(total, task.places, found if task.shares is None else scale_rows(found, task.shares), rows)
            add_rows(seen, task.places, rows.to(torch.int64), rows)
        return torch.where((seen > 0).view(-1, *[1] * (centres.ndim - 1)), total, centres)

    def _drop_unless_finite(
        self, rows: list[int], run_round: int, active: Bool[Tensor, " rows"], name: str, values: Float[Tensor, " rows"]
    ) -> Bool[Tensor, " rows"]:
        """The active rows whose value is finite; the other active peers drop out."""
        finite = torch.isfinite(values)
        for place in (active & ~finite).nonzero().flatten().tolist():
            self.peers[rows[place]].drop_unless_finite(name, values[place].item(), run_round)
        return active & finite
