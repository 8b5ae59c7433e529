"""What a peer learns with: its network, its optimiser and one step of it, towards the outputs of its teachers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.base.finite import is_finite
from peers.base.precision import autocast, backward
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment
from peers.exchange.messages import pack_checked
from peers.learning.averaging import stack_teachers
from peers.learning.control import matching_factor
from peers.learning.lessons import Lesson, weighted_sum
from peers.learning.lies import Liar
from peers.learning.listening import Ear, Listened, listen
from peers.learning.settings import PeerSettings, initial_network, seed_noise
from peers.learning.sight import Sight
from peers.learning.teacher import Teacher
from peers.networks.optimizers import OptimizerState, clipped
from peers.probing import measuring
from peers.probing.remembered import Remembered


@dataclass
class Pending:
    """The forward pass of a published message, kept with its autograd graph until the student's step of that round.

    own: what the peer takes of itself as a student, where that is not the message that it has sent.
    """

    round_index: int
    images: Float[Tensor, "batch *shape"]
    labels: Int64[Tensor, " batch"]
    features: Float[Tensor, "batch features"]
    outputs: Float[Tensor, "batch outputs"]
    buffers: dict[str, Tensor]
    own: Float[Tensor, "batch dim"] | None = None


@dataclass(frozen=True)
class Task:
    """One part of a student's loss: its share, the forward pass on a batch, and the teachers' outputs on that batch.

    teachers, weights: None: the part is the student's own terms alone. kept: the samples for which teachers answer;
    None: all.
    """

    share: float
    pending: Pending
    teachers: Float[Tensor, "teachers batch dim"] | None = None
    weights: Float[Tensor, " teachers"] | None = None
    kept: Bool[Tensor, " batch"] | None = None


class Learner:
    """A network with its optimiser, centre and, where it teaches with other weights, its teacher."""

    def __init__(self, settings: PeerSettings, dataset: Dataset, sight: Sight | None = None) -> None:
        self.settings = settings
        self.batches = sight or Sight([settings], dataset)
        self.terms = settings.terms
        self.index = settings.index
        self.dataset = dataset
        self.device = torch.device(settings.device)
        self.kind = settings.peers.kind_of(self.index)
        self.probe_images = measuring.probe_images(dataset, settings.probes, settings.seed)
        self.probed = Remembered()
        self.restart()

    def restart(self) -> None:
        """Reset to the untrained state."""
        self.network = initial_network(self.settings, self.dataset.shape)
        exchange = self.settings.exchange
        self.teacher = Teacher(self.network, exchange) if exchange.separate_teacher else None
        self.ear, self.liar = Ear.of(self.settings), Liar.of(self.settings)
        self.initial = [parameter.detach().clone() for parameter in self.network.own_parameters()]
        self.optimizer = OptimizerState(self.kind.optimizer, list(self.network.own_parameters()))
        self.width = self.network.feature_dim if exchange.what == "features" else self.network.output_dim
        self.centre = exchange.first_centre(self.width).to(self.device)
        self.pending: Pending | None = None
        self.failure = ""
        self.failure_round = -1

    @torch.no_grad()
    def begin_again(self, state: Mapping[str, Tensor]) -> None:
        """Take these weights and buffers in place of its own; optimiser, centre, teacher and memory start anew.

        Raises: ValueError if they are those of another kind of network.
        """
        own = self.network.state_dict()
        if {name: tensor.shape for name, tensor in own.items()} != {name: each.shape for name, each in state.items()}:
            raise ValueError(
                f"peer {self.index} cannot take over a neighbour's weights, whose network is another: let peers come "
                "back with their own or with fresh weights, or make all peers alike"
            )
        self.network.load_state_dict(state)
        self.optimizer.load({"steps": torch.tensor(0)})
        self.centre = torch.zeros_like(self.centre)
        if self.teacher is not None:
            self.teacher.begin(self.network)
        if self.ear is not None:
            self.ear.memory = {}

    # ---- forward passes ----

    def forward(
        self, buffers: dict[str, Tensor], images: Float[Tensor, "batch *shape"], round_index: int, *further: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features and outputs; further: as in `seed_noise`."""
        seed_noise(self.settings, self.network, round_index, *further)
        with autocast(self.device, self.settings.precision), of_peer(self.index):
            features, outputs = self.network.with_buffers(buffers, images)
        return features.float(), outputs.float()

    def settle(self, pending: Pending) -> None:
        self.network.set_buffers(pending.buffers)

    def hear(self, lesson: Lesson, pending: Pending, own_batch: int) -> tuple[Pending, Listened]:
        """What a lesson says, with the forward pass on its batch: that of the message, or a new one."""
        if lesson.batch != own_batch:
            pending = self._look_at(lesson.batch, lesson.needs_own or self.ear is not None)
        return pending, listen(lesson.received(pending.own), pending.own, self.ear)

    def task_of(self, share: float, pending: Pending, listened: Listened) -> Task | None:
        """A term of the loss, of what was heard about the batch of a forward pass; None if that is nothing."""
        teachers = stack_teachers(listened.teachers, self.device)
        return None if teachers is None else Task(share, pending, *teachers, listened.kept)

    def _look_at(self, batch: int, needs_own: bool) -> Pending:
        """A further forward pass, on a batch that a message is about; BatchNorm's statistics follow it."""
        images, labels = self.batches(batch, self.index)
        buffers = self.network.copied_buffers()
        features, outputs = self.forward(buffers, images, batch)
        found = Pending(batch, images, labels, features, outputs, buffers)
        self.settle(found)
        if needs_own:
            if self.teacher is not None:
                features, outputs = self.teacher.outputs(images, self.settings, batch)
            found.own = self.as_read(self.settings.exchange.exchanged(features, outputs))
        return found

    def with_own_terms(self, tasks: Sequence[Task], pending: Pending, assignment: Assignment) -> list[Task]:
        """What a student learns in a step: from the messages that it has heard, if it does, and its own terms.

        These are part of the loss on the batches that messages are about; or on the peer's private batch, which takes
        a forward pass more, after the others. One that has heard nothing learns its own terms on the round's batch.
        """
        tasks = list(tasks) if self.terms.from_messages else []
        if not (self.terms.own and assignment.studies):
            return tasks
        private = self.batches.private(assignment.batch_index, self.index)
        if private is None:
            return tasks or [Task(1.0, pending)]
        images, labels = private
        buffers = self.network.copied_buffers()
        features, outputs = self.forward(buffers, images, assignment.batch_index, 1)
        found = Pending(assignment.round_index, images, labels, features, outputs, buffers)
        self.settle(found)
        return [*tasks, Task(1.0, found)]

    def as_read(self, exchanged: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """What a reader of a message with these outputs would get."""
        exchange = self.settings.exchange
        return pack_checked(exchange.sent(exchanged.detach()), exchange.wire, self.device).received

    # ---- one step ----

    def study(self, tasks: Sequence[Task], assignment: Assignment) -> tuple[float | None, float | None]:
        """One optimiser step towards the teachers; returns loss and gradient norm, both None if the peer drops out."""
        run_round = assignment.run_round
        loss = self._loss(tasks)
        if not self.drop_unless_finite("the loss", loss.item(), run_round):
            return None, None
        parameters = self.optimizer.parameters
        for parameter in parameters:
            parameter.grad = None
        with backward(self.device, self.settings.precision):
            loss.backward()  # type: ignore[no-untyped-call]
        most = self.kind.optimizer.clip_norm
        norm = clipped(parameters, most)
        if not self.drop_unless_finite("the gradient's norm", norm, run_round):
            return None, None
        if assignment.gradient_norm is not None:
            factor = matching_factor(norm, assignment.gradient_norm, most or math.inf)
            for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
                gradient.mul_(factor)
        lr = self.kind.optimizer.lr_at(run_round, self.settings.num_rounds)
        self.optimizer.step([parameter.grad for parameter in parameters], lr)
        if not self.end_step(run_round, all(map(is_finite, parameters))):
            return None, None
        if self.settings.exchange.keeps_centre:
            self.centre = self._updated_centre(tasks)
        return loss.item(), norm

    def _loss(self, tasks: Sequence[Task]) -> Float[Tensor, ""]:
        losses = []
        for task in tasks:
            pending = task.pending
            if not pending.outputs.requires_grad:  # as with `recompute`
                pending.features, pending.outputs = self.forward(pending.buffers, pending.images, pending.round_index)
            passed = pending.features, pending.outputs
            with of_peer(self.index):
                if task.teachers is None or task.weights is None:
                    loss = self.terms.of_itself(*passed, self.centre, pending.labels)
                else:
                    said = task.teachers, task.weights
                    loss = self.terms.of_messages(*passed, *said, self.centre, pending.labels, task.kept)
            losses.append((task.share, loss))
        return weighted_sum(losses)

    def _updated_centre(self, tasks: Sequence[Task]) -> Tensor:
        """The running centres after a step: means over its batches by their shares."""
        exchange, centre = self.settings.exchange, self.centre
        taught = [
            (task.share, exchange.updated_centre(centre, task.teachers, task.weights))
            for task in tasks
            if task.teachers is not None and task.weights is not None
        ]
        centre = weighted_sum(taught) if taught else centre
        on_private = exchange.self_loss > 0
        own = [task for task in tasks if not self.terms.private or (task.teachers is None) == on_private]
        passed = [(task.share, task.pending.features, task.pending.outputs) for task in own]
        followed = [(share, exchange.updated_own_centre(centre, *each)) for share, *each in passed]
        return weighted_sum(followed) if followed else centre

    def drop(self, reason: str, round_index: int) -> None:
        """Drop out: from now on, this peer neither studies nor teaches."""
        self.failure, self.failure_round = reason, round_index
        self.pending = None

    def drop_unless_finite(self, name: str, value: float, round_index: int) -> bool:
        """Return whether `value` is finite; if it is not, the peer drops out."""
        if not math.isfinite(value):
            self.drop(f"{name} is {value}", round_index)
        return math.isfinite(value)

    def end_step(self, round_index: int, finite_weights: bool) -> bool:
        """After a step: drop out if weights are not finite, else update the average. Returns `finite_weights`."""
        if not finite_weights:
            self.drop("weights are not finite after the step", round_index)
        elif self.teacher is not None:
            self.teacher.follow(self.network)
        return finite_weights

    def renew_teacher(self, round_index: int) -> None:
        """Renew the snapshot that the peer teaches with if it is due in this round, in which the peer has a part."""
        if self.teacher is not None:
            self.teacher.renew(self.network, round_index)
