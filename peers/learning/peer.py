"""One peer: a network with its optimiser. Peers hold all mutable state of the learning.

Between two calls the network is always *settled*: in the state after the peer's last step. The forward pass that
publishes the peer's outputs for its next round uses copies of the BatchNorm buffers, which become the network's own
when that round begins. Measures and checkpoints therefore never see the state in the middle of a round.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call

from peers.base.brought_errors import of_peer
from peers.base.precision import autocast, backward
from peers.data import datasets
from peers.data.batches import Batches
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, StaleRound, Stats
from peers.exchange.mailbox import check_senders
from peers.exchange.messages import Message, pack_checked
from peers.exchange.sums import Sum
from peers.exchange.wire import Payload
from peers.learning import snapshot
from peers.learning.averaging import target_of
from peers.learning.control import matching_factor
from peers.learning.replacement import Replacement
from peers.learning.settings import PeerSettings, initial_network, seed_noise
from peers.learning.teacher import Teacher
from peers.networks.optimizers import OptimizerState
from peers.probing import measuring, observing
from peers.probing.measuring import ProbeOutcome, ProbeSubject, ProbeTask
from peers.probing.observing import Observation


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


class Peer:
    """A peer that publishes its outputs, learns from its teachers' outputs, and is measured.

    `publish` and `advance` run a single peer, which is the execution "loop". A `PeerStack` runs many at once, and
    calls these methods: `assign`, `outgoing`, `drop`, `drop_unless_finite`, `end_step`, `renew_teacher`.
    """

    def __init__(self, settings: PeerSettings, dataset: Dataset, batches: Batches | None = None) -> None:
        self.settings = settings
        self.batches = batches or settings.batches(dataset)
        self.index = settings.index
        self.dataset = dataset
        self.device = torch.device(settings.device)
        self.kind = settings.peers.kind_of(self.index)
        self.probe_images = measuring.probe_images(dataset, settings.probes, settings.seed)
        self.restart()

    def restart(self) -> None:
        """Reset to the untrained state."""
        self.network = initial_network(self.settings, self.dataset.shape)
        exchange = self.settings.exchange
        self.teacher = Teacher(self.network, exchange) if exchange.separate_teacher else None
        self.replacement = Replacement.of(self.settings, self.dataset.shape)
        self.initial = [parameter.detach().clone() for parameter in self.network.parameters()]
        self.optimizer = OptimizerState(self.kind.optimizer, list(self.network.parameters()))
        width = self.network.feature_dim if exchange.what == "features" else self.network.output_dim
        self.centre = torch.zeros(width, device=self.device)
        self.due: Assignment | None = None
        self.pending: Pending | None = None
        self.sent: Message | None = None
        self.failure = ""
        self.failure_round = -1

    # ---- rounds ----

    def publish(self, assignment: Assignment) -> tuple[Message | None, Stats]:
        """Run the forward pass of an upcoming round; returns its outputs as a message if the peer teaches in it."""
        start = time.perf_counter()
        message = self.sent = self._publish(assignment)
        return message, self.stats(time.perf_counter() - start, message)

    def advance(
        self, assignment: Assignment, following: Assignment | None, *messages: Message | Sum
    ) -> tuple[Message | None, Stats]:
        """Learn one round from the teachers' messages, then publish for `following`, the peer's next assignment.

        messages: those of the assignment's links, in order; or the round's sum, if the assignment has `sum_weights`.

        Raises: StaleRound if the peer has not published for this round; ValueError if the sender or round of a message
        differs from its link.
        """
        start = time.perf_counter()
        if self.due != assignment:
            raise StaleRound(f"peer {self.index} has not published for round {assignment.round_index}")
        check_senders(self.index, assignment, messages)
        pending, self.due, self.pending = self.pending, None, None
        loss, norm = None, None
        if pending is not None:
            self._settle(pending)
            teachers = target_of(assignment, messages, self.index, self.sent, pending.own, self.device)
            if teachers is not None:
                loss, norm = self._study(pending, *teachers, assignment.gradient_norm)
        message = self.sent = self._publish(following) if following is not None else None
        return message, self.stats(time.perf_counter() - start, message, loss, norm)

    def assign(self, assignment: Assignment) -> Message | None:
        """Accept the assignment of an upcoming round; returns a dropout notice if the peer has dropped out."""
        self.due = assignment
        return self._dropout_notice(assignment.round_index) if self.failure else None

    def outgoing(self, assignment: Assignment, payload: Payload, finite: bool) -> Message | None:
        """The message to publish; None if no peer learns from it, a dropout notice if the outputs are not finite."""
        if not finite:
            exchange = self.settings.exchange
            self.drop(f"outputs are not finite in {exchange.dtype}", assignment.round_index)
            return self._dropout_notice(assignment.round_index)
        return self._message(assignment.round_index, payload) if assignment.teaches else None

    def _publish(self, assignment: Assignment) -> Message | None:
        notice = self.assign(assignment)
        if notice is not None:
            return notice
        images, labels = self.batches(assignment.batch_index)
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        exchange = self.settings.exchange
        with torch.set_grad_enabled(assignment.studies and not self.settings.recompute):
            features, outputs = self._forward(buffers, images, assignment.round_index)
        self.pending = Pending(assignment.round_index, images, labels, features, outputs, buffers)
        self.renew_teacher(assignment.round_index)
        if self.teacher is not None and assignment.teaches:
            features, outputs = self.teacher.outputs(images, self.settings, assignment.round_index)
        exchanged = exchange.exchanged(features, outputs)
        if self.replacement is not None and assignment.teaches:
            if assignment.own_weight(self.index):
                self.pending.own = pack_checked(exchange.sent(exchanged.detach()), exchange.wire, self.device).received
            exchanged = self.replacement.exchanged(exchanged, images, assignment.round_index)
        packed = pack_checked(exchange.sent(exchanged), exchange.wire, torch.device("cpu"))
        return self.outgoing(assignment, packed.payload, bool(packed.finite))

    def _forward(
        self, buffers: dict[str, Tensor], images: Float[Tensor, "batch *shape"], round_index: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        seed_noise(self.settings, self.network, round_index)
        with autocast(self.device, self.settings.precision), of_peer(self.index):
            features, outputs = functional_call(self.network, buffers, (images,))
        return features.float(), outputs.float()

    def _message(self, round_index: int, payload: Payload | None) -> Message:
        return Message(self.index, round_index, self.settings.exchange.wire, len(self.centre), payload)

    def _dropout_notice(self, round_index: int) -> Message:
        """A message that tells students that this peer has dropped out."""
        return self._message(round_index, None)

    def _settle(self, pending: Pending) -> None:
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(pending.buffers[name])

    def _study(
        self,
        pending: Pending,
        teachers: Float[Tensor, "teachers batch dim"],
        weights: Float[Tensor, " teachers"],
        wanted_norm: float | None,
    ) -> tuple[float | None, float | None]:
        """One optimiser step towards the teachers; returns loss and gradient norm, both None if the peer drops out."""
        round_index = pending.round_index
        if self.settings.recompute:
            pending.features, pending.outputs = self._forward(pending.buffers, pending.images, round_index)
        loss = self._loss(pending, teachers, weights)
        if not self.drop_unless_finite("the loss", loss.item(), round_index):
            return None, None
        parameters = self.optimizer.parameters
        for parameter in parameters:
            parameter.grad = None
        with backward(self.device, self.settings.precision):
            loss.backward()  # type: ignore[no-untyped-call]
        most = self.kind.optimizer.clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, most, foreach=False)
        if not self.drop_unless_finite("the gradient's norm", norm.item(), round_index):
            return None, None
        if wanted_norm is not None:
            factor = matching_factor(norm.item(), wanted_norm, most)
            for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
                gradient.mul_(factor)
        lr = self.kind.optimizer.lr_at(round_index, self.settings.num_rounds)
        self.optimizer.step([parameter.grad for parameter in parameters], lr)
        if not self.end_step(round_index, all(torch.isfinite(parameter).all() for parameter in parameters)):
            return None, None
        self.centre = self.settings.exchange.updated_centre(self.centre, teachers, weights)
        return loss.item(), norm.item()

    def _loss(self, pending: Pending, teachers: Tensor, weights: Tensor) -> Float[Tensor, ""]:
        forward, labels = (pending.features, pending.outputs), pending.labels
        with of_peer(self.index):
            return self.settings.loss_of(*forward, teachers, weights, self.centre, labels)

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

    def stats(
        self, seconds: float, message: Message | None, loss: float | None = None, norm: float | None = None
    ) -> Stats:
        """The statistics of a call, for the coordinator."""
        sent = message.num_bytes if message is not None else 0
        return Stats(loss, norm, sent, seconds, self.failure, self.failure_round)

    # ---- measures ----

    def observe(self, keep: bool = False) -> Observation:
        """Measure the outputs on the fixed probe batch, and the weights, without changing the peer.

        keep: whether the observation contains features and outputs.
        """
        start = time.perf_counter()
        pixels = self.dataset.test_images[self.probe_images.batch]
        images = datasets.images_to_tensor(pixels, *self.settings.normalisation).to(self.device)
        exchange, failed = self.settings.exchange, bool(self.failure)
        with of_peer(self.index):
            seen = observing.observe(self.network, self.initial, images, exchange, failed, keep)
        return replace(seen, seconds=time.perf_counter() - start)

    def probe(self, subject: ProbeSubject, rounds: Sequence[int] = ()) -> ProbeOutcome:
        """Whether each probe classifies each test image correctly, on this peer or on one of its controls.

        rounds: the rounds whose batches the calibrated and the recalibrated control are shown. With the rounds in which
        the peer takes part, these run through the same forward passes as training, but without the steps.
        """
        start = time.perf_counter()
        task = ProbeTask(
            self.network,
            self.dataset,
            self.probe_images,
            self.settings.probes,
            self.settings.seed,
            self.index,
            self.settings.normalisation,
            self.device,
            self.settings.exchange.uses_labels,
        )
        if subject in (ProbeSubject.RESET, ProbeSubject.RECALIBRATED):
            network = copy.deepcopy(self.network)
            untrained = initial_network(self.settings, self.dataset.shape)
            for buffer, before in zip(network.buffers(), untrained.buffers(), strict=True):
                buffer.copy_(before)
            task = replace(task, network=network)
        outcome = task.outcome(subject, (self.batches(round_index)[0] for round_index in rounds))
        return replace(outcome, seconds=time.perf_counter() - start)

    def save(self, folder: str, completed: int) -> str:
        """Write the state after `completed` rounds into a checkpoint's folder; returns the file's SHA-256."""
        return snapshot.save(self, folder, completed)

    def restore(self, folder: str, sha256: str = "") -> int:
        """Load the state of a checkpoint; returns the number of completed rounds. Raises: DamagedCheckpoint."""
        completed = snapshot.restore(self, folder, sha256)
        self.due = self.pending = self.sent = None  # it has to publish again
        return completed

    def digest(self) -> bytes:
        """SHA-256 over the settled parameters and buffers, including names and shapes."""
        return snapshot.digest(self.network)
