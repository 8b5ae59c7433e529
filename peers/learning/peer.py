"""One peer: a network, its optimiser, and the only mutable state of the simulation.

Between two calls the network is always *settled*: it is the state after the peer's last step. The forward pass that
published the peer's outputs for its next round works on copies of the BatchNorm buffers, which become the network's
own when that round begins. So a measure or a checkpoint never sees half of a round, whichever call made the forward.
"""

import copy
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call

from peers.base.precision import autocast
from peers.data import datasets
from peers.data.batches import Batches
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, StaleRound, Stats
from peers.exchange.messages import Message, decode, encode
from peers.exchange.sums import Sum
from peers.learning import snapshot
from peers.learning.settings import PeerSettings, initial_network
from peers.learning.teacher import Teacher
from peers.networks.optimizers import OptimizerState
from peers.probing import measuring
from peers.probing.measuring import Observation, ProbeOutcome, ProbeSubject, ProbeTask


@dataclass
class Pending:
    """The forward pass whose outputs were published, kept with its graph until the round's step."""

    round_index: int
    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"]
    features: Float[Tensor, "batch features"]
    outputs: Float[Tensor, "batch outputs"]
    buffers: dict[str, Tensor]


class Peer:
    """A peer that publishes its outputs, learns from its teachers' and lets itself be measured."""

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
        """Become the untrained peer again."""
        self.network = initial_network(self.settings, self.dataset.shape)
        exchange = self.settings.exchange
        self.teacher = Teacher(self.network, exchange) if exchange.separate_teacher else None
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
        """Run the forward pass of a coming round; send its outputs if anybody listens."""
        start = time.perf_counter()
        message = self.sent = self._publish(assignment)
        return message, self.stats(time.perf_counter() - start, message)

    def advance(
        self, assignment: Assignment, following: Assignment | None, *messages: Message | Sum
    ) -> tuple[Message | None, Stats]:
        """Learn one round from its teachers' messages, then publish for the next round this peer has a part in.

        Where the assignment has shares, the sum of the round's messages comes in place of the messages.

        Raises: StaleRound when the call is not for the round this peer published for; ValueError when a message
        does not come from one of the round's teachers.
        """
        start = time.perf_counter()
        if self.due != assignment:
            raise StaleRound(f"peer {self.index} has not published for round {assignment.round_index}")
        check_senders(self.index, assignment, messages)
        pending, self.due, self.pending = self.pending, None, None
        loss, norm = None, None
        if pending is not None:
            self._settle(pending)
            heard = self._heard(assignment, messages)
            if heard is not None:
                loss, norm = self._study(pending, *heard)
        message = self.sent = self._publish(following) if following is not None else None
        return message, self.stats(time.perf_counter() - start, message, loss, norm)

    def _publish(self, assignment: Assignment) -> Message | None:
        self.due = assignment
        if self.failure:
            return self.tombstone(assignment.round_index)
        images, labels = self.batches(assignment.round_index)
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        exchange = self.settings.exchange
        with torch.set_grad_enabled(assignment.studies and not self.settings.recompute):
            features, outputs = self._forward(buffers, images)
        self.pending = Pending(assignment.round_index, images, labels, features, outputs, buffers)
        if self.teacher is not None:
            self.renew_teacher(assignment.round_index)
            if assignment.teaches:
                with autocast(self.device, self.settings.precision):
                    features, outputs = (each.float() for each in self.teacher.outputs(images))
        sent = exchange.sent(exchange.compared(features, outputs))
        message = encode(self.index, assignment.round_index, sent, exchange.wire)
        if torch.isfinite(decode(message, torch.device("cpu"))).all():
            return message if assignment.teaches else None
        self.drop(f"outputs are not finite in {exchange.dtype}", assignment.round_index)
        return self.tombstone(assignment.round_index)

    def _forward(
        self, buffers: dict[str, Tensor], images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        with autocast(self.device, self.settings.precision):
            features, outputs = functional_call(self.network, buffers, (images,))
        return features.float(), outputs.float()

    def tombstone(self, round_index: int) -> Message:
        """What a peer that dropped out sends, so that its students know to do without it."""
        return Message(self.index, round_index, self.settings.exchange.wire, len(self.centre), None)

    def _settle(self, pending: Pending) -> None:
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(pending.buffers[name])

    def _heard(
        self, assignment: Assignment, messages: Sequence[Message | Sum]
    ) -> tuple[Float[Tensor, "teachers batch dim"], Float[Tensor, " teachers"]] | None:
        """Outputs of the teachers that were heard and their weights, which sum to 1; None if there is none."""
        if assignment.shares is not None:
            (total,) = (each for each in messages if isinstance(each, Sum))
            own = decode(self.sent, self.device) if self.sent is not None and self.sent.payload is not None else None
            pooled = total.pooled(own, assignment.shares, self.device)
            return None if pooled is None else (pooled[None], torch.ones(1, device=self.device))
        heard = [
            (weight, decode(message, self.device))
            for weight, message in zip(assignment.weights, messages, strict=True)
            if isinstance(message, Message) and message.payload is not None
        ]
        if not heard:
            return None
        weights = torch.tensor([weight for weight, _ in heard], device=self.device)
        return torch.stack([outputs for _, outputs in heard]), weights / weights.sum()

    def _study(
        self, pending: Pending, teachers: Float[Tensor, "teachers batch dim"], weights: Float[Tensor, " teachers"]
    ) -> tuple[float | None, float | None]:
        """One optimiser step towards the teachers that were heard."""
        round_index = pending.round_index
        if self.settings.recompute:
            pending.features, pending.outputs = self._forward(pending.buffers, pending.images)
        loss = self._loss(pending, teachers, weights)
        if not torch.isfinite(loss):
            self.drop(f"the loss is {loss.item()}", round_index)
            return None, None
        parameters = self.optimizer.parameters
        for parameter in parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.kind.optimizer.clip_norm or float("inf"), foreach=False)
        if not torch.isfinite(norm):
            self.drop(f"the gradient's norm is {norm.item()}", round_index)
            return None, None
        lr = self.kind.optimizer.lr_at(round_index, self.settings.num_rounds)
        self.optimizer.step([parameter.grad for parameter in parameters], lr)
        if not all(torch.isfinite(parameter).all() for parameter in parameters):
            self.drop("weights are not finite after the step", round_index)
            return None, None
        self.follow_teacher()
        self.centre = self.settings.exchange.updated_centre(self.centre, teachers, weights)
        return loss.item(), norm.item()

    def _loss(self, pending: Pending, teachers: Tensor, weights: Tensor) -> Float[Tensor, ""]:
        loss_of = self.settings.exchange.loss_of
        return loss_of(pending.features, pending.outputs, teachers, weights, self.centre, pending.labels)

    def drop(self, reason: str, round_index: int) -> None:
        """From now on this peer neither studies nor is heard."""
        self.failure, self.failure_round = reason, round_index
        self.pending = None

    def renew_teacher(self, round_index: int) -> None:
        """Take the snapshot to teach with that is due by a round in which this peer has a part."""
        if self.teacher is not None:
            self.teacher.renew(self.network, round_index)

    def follow_teacher(self) -> None:
        """Move the average to teach with, after a step."""
        if self.teacher is not None:
            self.teacher.follow(self.network)

    def stats(
        self, seconds: float, message: Message | None, loss: float | None = None, norm: float | None = None
    ) -> Stats:
        """What the coordinator reads of a call."""
        sent = message.num_bytes if message is not None else 0
        return Stats(loss, norm, sent, seconds, self.failure, self.failure_round)

    # ---- measures ----

    def observe(self) -> Observation:
        """Outputs on the fixed probe batch, and what follows from them and the weights; changes nothing."""
        start = time.perf_counter()
        pixels = self.dataset.test_images[self.probe_images.batch]
        images = datasets.images_to_tensor(pixels, *self.settings.normalisation).to(self.device)
        seen = measuring.observe(self.network, self.initial, images, self.settings.exchange, bool(self.failure))
        return replace(seen, seconds=time.perf_counter() - start)

    def probe(self, subject: ProbeSubject, rounds: Sequence[int] = ()) -> ProbeOutcome:
        """Whether each test image is classified rightly, by each probe, on this peer or on a control of it.

        rounds: those whose batches a peer is calibrated with. Given the rounds in which it takes part, the control goes
        through all that training does but the steps.
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
        )
        if subject is ProbeSubject.RESET:
            network = copy.deepcopy(self.network)
            untrained = initial_network(self.settings, self.dataset.shape)
            for buffer, before in zip(network.buffers(), untrained.buffers(), strict=True):
                buffer.copy_(before)
            task = replace(task, network=network)
        correct = task.correct(subject, (self.batches(each)[0] for each in rounds))
        return ProbeOutcome(correct, time.perf_counter() - start)

    def save(self, folder: str, completed: int) -> str:
        """Write the state after `completed` rounds into a checkpoint's folder; returns the file's SHA-256."""
        return snapshot.save(self, folder, completed)

    def restore(self, folder: str, sha256: str = "") -> int:
        """Take up the state of a checkpoint; returns the rounds it had completed. Raises: DamagedCheckpoint."""
        completed = snapshot.restore(self, folder, sha256)
        self.due = self.pending = self.sent = None  # it has to publish anew
        return completed

    def digest(self) -> bytes:
        """SHA-256 over the settled parameters and buffers, names and shapes included."""
        sha = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return sha.digest()


def check_senders(peer: int, assignment: Assignment, messages: Sequence[Message | Sum]) -> None:
    """Raises: ValueError unless these are the messages, or the sum, that the assignment names, in its order."""
    asked: list[object] = [(teacher, assignment.round_index) for teacher in assignment.teachers]
    if assignment.shares is not None:
        asked = [("sum", assignment.round_index)]
    came = [(each.sender if isinstance(each, Message) else "sum", each.round_index) for each in messages]
    if came != asked:
        raise ValueError(f"peer {peer} learns from (peer, round) {asked}, got messages of {came}")
