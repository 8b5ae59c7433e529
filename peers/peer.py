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

from peers import data, measuring, models, snapshot
from peers.config import DataConfig, PeersConfig
from peers.data import Dataset, Normalisation
from peers.exchange import ExchangeConfig
from peers.measuring import Observation, ProbeConfig, ProbeOutcome, ProbeSubject, ProbeTask
from peers.messages import Assignment, Message, decode, encode
from peers.seeds import stream, torch_seed
from peers.teacher import Teacher


@dataclass(frozen=True)
class PeerSettings:
    """All that a peer is made from; with the data set it determines every number the peer will ever produce."""

    index: int
    seed: int
    num_rounds: int
    peers: PeersConfig
    exchange: ExchangeConfig
    data: DataConfig
    probes: ProbeConfig
    normalisation: Normalisation
    device: str = "cpu"
    recompute: bool = False


@dataclass(frozen=True)
class Stats:
    """What the coordinator reads of one call: small numbers only.

    `loss` and `gradient_norm` are None when the peer did not study; `sent_bytes` is the size of the message that the
    call published; `failure` says why and in which round the peer dropped out, and is empty otherwise.
    """

    loss: float | None = None
    gradient_norm: float | None = None
    sent_bytes: int = 0
    seconds: float = 0.0
    failure: str = ""
    failure_round: int = -1


@dataclass
class Pending:
    """The forward pass whose outputs were published, kept with its graph until the round's step."""

    round_index: int
    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, " batch"]
    features: Float[Tensor, "batch features"]
    outputs: Float[Tensor, "batch outputs"]
    buffers: dict[str, Tensor]


class StaleRound(RuntimeError):
    """A call for another round than the one this peer stands at."""


class Peer:
    """A peer that publishes its outputs, learns from its teachers' and lets itself be measured."""

    def __init__(self, settings: PeerSettings, dataset: Dataset) -> None:
        self.settings = settings
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
        self.optimizer = self.kind.optimizer.build(self.network)
        width = self.network.feature_dim if exchange.what == "features" else self.network.output_dim
        self.centre = torch.zeros(width, device=self.device)
        self.due: Assignment | None = None
        self.pending: Pending | None = None
        self.failure = ""
        self.failure_round = -1

    # ---- rounds ----

    def publish(self, assignment: Assignment) -> tuple[Message | None, Stats]:
        """Run the forward pass of a coming round; send its outputs if anybody listens."""
        start = time.perf_counter()
        message = self._publish(assignment)
        return message, self._stats(start, message)

    def advance(
        self, assignment: Assignment, following: Assignment | None, *messages: Message
    ) -> tuple[Message | None, Stats]:
        """Learn one round from its teachers' messages, then publish for the next round this peer has a part in.

        Raises: StaleRound when the call is not for the round this peer published for; ValueError when a message
        does not come from one of the round's teachers.
        """
        start = time.perf_counter()
        if self.due != assignment:
            raise StaleRound(f"peer {self.index} has not published for round {assignment.round_index}")
        self._check_senders(assignment, messages)
        pending, self.due, self.pending = self.pending, None, None
        loss, norm = None, None
        if pending is not None:
            self._settle(pending)
            heard = [(w, m) for w, m in zip(assignment.weights, messages, strict=True) if m.payload is not None]
            if heard:
                loss, norm = self._study(pending, heard)
        message = self._publish(following) if following is not None else None
        return message, self._stats(start, message, loss, norm)

    def _publish(self, assignment: Assignment) -> Message | None:
        self.due = assignment
        if self.failure:
            return self._tombstone(assignment.round_index)
        images, labels = self._batch(assignment.round_index)
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        exchange = self.settings.exchange
        with torch.set_grad_enabled(assignment.studies and not self.settings.recompute):
            features, outputs = functional_call(self.network, buffers, (images,))
        self.pending = Pending(assignment.round_index, images, labels, features, outputs, buffers)
        if self.teacher is not None:
            self.teacher.renew(self.network, assignment.round_index)
            if assignment.teaches:
                features, outputs = self.teacher.outputs(images)
        sent = exchange.sent(exchange.compared(features, outputs))
        message = encode(self.index, assignment.round_index, sent, exchange.dtype)
        if torch.isfinite(decode(message, torch.device("cpu"))).all():
            return message if assignment.teaches else None
        self._drop(f"outputs are not finite in {exchange.dtype}", assignment.round_index)
        return self._tombstone(assignment.round_index)

    def _tombstone(self, round_index: int) -> Message:
        """What a peer that dropped out sends, so that its students know to do without it."""
        return Message(self.index, round_index, self.settings.exchange.dtype, None)

    def _batch(self, round_index: int) -> tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, " batch"]]:
        settings = self.settings
        images, labels = data.batch(
            self.dataset,
            settings.data.batch_size,
            round_index,
            stream(settings.seed, "batches"),
            stream(settings.seed, "flips") if settings.data.flip else None,
            settings.normalisation,
            self.device,
        )
        return images.to(memory_format=settings.peers.memory_format), labels

    def _settle(self, pending: Pending) -> None:
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(pending.buffers[name])

    def _study(self, pending: Pending, heard: list[tuple[float, Message]]) -> tuple[float | None, float | None]:
        """One optimiser step towards the teachers that were heard; their weights are made to sum to 1."""
        round_index = pending.round_index
        if self.settings.recompute:
            pending.features, pending.outputs = functional_call(self.network, pending.buffers, (pending.images,))
        weights = torch.tensor([weight for weight, _ in heard], device=self.device)
        weights = weights / weights.sum()
        teachers = torch.stack([decode(message, self.device) for _, message in heard])
        loss = self._loss(pending, teachers, weights)
        if not torch.isfinite(loss):
            self._drop(f"the loss is {loss.item()}", round_index)
            return None, None
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.kind.optimizer.clip_norm or float("inf"), foreach=False
        )
        if not torch.isfinite(norm):
            self._drop(f"the gradient's norm is {norm.item()}", round_index)
            return None, None
        for group in self.optimizer.param_groups:
            group["lr"] = self.kind.optimizer.lr_at(round_index, self.settings.num_rounds)
        self.optimizer.step()
        if not all(torch.isfinite(parameter).all() for parameter in self.network.parameters()):
            self._drop("weights are not finite after the step", round_index)
            return None, None
        if self.teacher is not None:
            self.teacher.follow(self.network)
        self.centre = self.settings.exchange.updated_centre(self.centre, teachers, weights)
        return loss.item(), norm.item()

    def _loss(self, pending: Pending, teachers: Tensor, weights: Tensor) -> Float[Tensor, ""]:
        exchange = self.settings.exchange
        student = exchange.compared(pending.features, pending.outputs)
        loss = exchange.distillation_loss(student, teachers, weights, self.centre)
        if exchange.supervised:
            loss = loss + exchange.supervised * torch.nn.functional.cross_entropy(pending.outputs, pending.labels)
        return loss

    def _check_senders(self, assignment: Assignment, messages: tuple[Message, ...]) -> None:
        came = [(message.sender, message.round_index) for message in messages]
        asked = [(teacher, assignment.round_index) for teacher in assignment.teachers]
        if came != asked:
            raise ValueError(f"peer {self.index} learns from (peer, round) {asked}, got messages of {came}")

    def _drop(self, reason: str, round_index: int) -> None:
        """From now on this peer neither studies nor is heard."""
        self.failure, self.failure_round = reason, round_index
        self.pending = None

    def _stats(
        self, start: float, message: Message | None, loss: float | None = None, norm: float | None = None
    ) -> Stats:
        sent = message.num_bytes if message is not None else 0
        return Stats(loss, norm, sent, time.perf_counter() - start, self.failure, self.failure_round)

    # ---- measures ----

    def observe(self) -> Observation:
        """Outputs on the fixed probe batch, and what follows from them and the weights; changes nothing."""
        start = time.perf_counter()
        pixels = self.dataset.test_images[self.probe_images.batch]
        images = data.images_to_tensor(pixels, *self.settings.normalisation).to(self.device)
        seen = measuring.observe(self.network, self.initial, images, self.settings.exchange, bool(self.failure))
        return replace(seen, seconds=time.perf_counter() - start)

    def probe(self, subject: ProbeSubject, rounds: Sequence[int] = ()) -> ProbeOutcome:
        """Whether each test image is classified rightly, by each probe, on this peer or on a control of it.

        `calibrated` shows the batches of `rounds`, forward only, to a copy of the peer: given the rounds in which it
        takes part, the control goes through all that training does but the steps. `reset` is the peer as it stands with
        BatchNorm's buffers as they were before the first round.
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
        if subject == "reset":
            network = copy.deepcopy(self.network)
            untrained = initial_network(self.settings, self.dataset.shape)
            for buffer, before in zip(network.buffers(), untrained.buffers(), strict=True):
                buffer.copy_(before)
            task = replace(task, network=network)
        correct = task.correct(subject, (self._batch(each)[0] for each in rounds))
        return ProbeOutcome(correct, time.perf_counter() - start)

    def save(self, folder: str, completed: int) -> str:
        """Write the state after `completed` rounds into a checkpoint's folder; returns the file's SHA-256."""
        return snapshot.save(self, folder, completed)

    def restore(self, folder: str) -> int:
        """Take up the state of a checkpoint; returns the rounds it had completed."""
        return snapshot.restore(self, folder)

    def digest(self) -> bytes:
        """SHA-256 over the settled parameters and buffers, names and shapes included."""
        sha = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return sha.digest()


def initial_network(settings: PeerSettings, shape: tuple[int, int, int]) -> models.Network:
    """The peer's random weights, interpolated towards peer 0's where `locality` is below 1."""
    kind = settings.peers.kind_of(settings.index)
    network = models.seeded(lambda: kind.build_network(shape), torch_seed(settings.seed, "weights", settings.index))
    if settings.peers.locality < 1 and settings.index != 0:
        reference = models.seeded(lambda: kind.build_network(shape), torch_seed(settings.seed, "weights", 0))
        models.interpolate_locality(network, reference, settings.peers.locality)
    return network.to(settings.device).to(memory_format=settings.peers.memory_format).train()
