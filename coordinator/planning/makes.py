"""The different networks of a run: which peers have which, how large they are, and how much memory a peer needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from coordinator.experiment.config import RunConfig
from peers.base.brought_errors import BroughtError, of_peer
from peers.data.datasets import Dataset
from peers.data.formats.shapes import Shape
from peers.learning.checkpoint_messages import checkpoint_bytes
from peers.learning.control import Control
from peers.networks import drawing, models
from peers.networks.brought import BroughtHead, BroughtModel
from peers.networks.config import PeerKind, PeersConfig
from peers.networks.network import Network, OwnHead
from peers.networks.shared_head import check_shared_heads
from peers.networks.variants import TorchvisionModel

FLOAT = 4


@dataclass(frozen=True)
class Make:
    """Some peers whose networks are alike. network: one without memory for its weights, if it is of a kind of ours."""

    kind: PeerKind
    peers: tuple[int, ...]
    network: Network

    @property
    def is_foreign(self) -> bool:
        """Whether network or head is not of this package, and should be tried out."""
        return isinstance(self.kind.model, BroughtModel | TorchvisionModel) or isinstance(self.kind.head, BroughtHead)


@dataclass(frozen=True)
class GroupPlan:
    """A group of identically configured peers, and the memory that one of them needs, in bytes."""

    count: int
    model: str
    norm: str
    head: str
    optimizer: str
    num_parameters: int
    feature_dim: int
    output_dim: int
    state_bytes: int
    activation_bytes: int
    probe_bytes: int

    @property
    def peer_bytes(self) -> int:
        return self.state_bytes + self.activation_bytes + self.probe_bytes


def makes(peers: PeersConfig, shape: Shape) -> list[Make]:
    """The different networks, in the order of their first peers. Raises: ValueError."""
    for kind in peers.groups or [peers]:
        if isinstance(kind.model, BroughtModel):
            kind.model.check_count(peers.count)
    found = [make for kind, of_kind in _kinds(peers) for make in _of_kind(kind, of_kind, shape)]
    check_shared_heads(peers, [(make.peers[0], make.network) for make in found])
    return found


def layouts(peers: PeersConfig, shape: Shape) -> list[tuple[str, ...]]:
    """The structure of each peer's network, to be compared with what its process builds."""
    found = {peer: models.layout(make.network) for make in makes(peers, shape) for peer in make.peers}
    return [found[peer] for peer in range(peers.count)]


def plan_group(config: RunConfig, dataset: Dataset, make: Make) -> GroupPlan:
    """Sizes and memory of the peers of one make."""
    kind, network = make.kind, make.network
    parameters = models.num_parameters(network)
    moments = len(kind.optimizer.moment_names)
    exchange, controls = config.exchange, config.evaluation.controls
    teacher = exchange.separate_teacher + 2 * (exchange.teacher_anchor < 1) + (Control.STRANGER in controls)
    if Control.IRRELEVANT in controls:  # another peer in its place
        teacher += 3 + moments + teacher
    buffers = sum(buffer.nbytes for buffer in network.buffers())
    samples = sum(_batches_of(config)) * config.exchange.num_views
    own, model = isinstance(network.head, OwnHead), kind.model
    return GroupPlan(
        count=len(make.peers),
        model=getattr(model, "name", None) or getattr(model, "target", None) or model.kind,
        norm="own" if isinstance(model, BroughtModel) else kind.norm,
        head="own" if own else kind.head.kind,
        optimizer=f"{kind.optimizer.kind} {kind.optimizer.lr:g}",
        num_parameters=parameters,
        feature_dim=network.feature_dim,
        output_dim=network.output_dim,
        state_bytes=parameters * FLOAT * (3 + moments + teacher) + 2 * buffers,  # theta, theta_0, gradients, moments
        activation_bytes=models.activation_bytes(network, dataset.shape, samples),
        probe_bytes=num_probed(config, dataset) * network.feature_dim * FLOAT,  # the features as they are
    )


def _batches_of(config: RunConfig) -> tuple[int, ...]:
    """The images in each batch whose activations a step keeps: the one of the round, and a private one."""
    data = config.data
    if data.partition is None or not config.exchange.has_own_terms:
        return (data.batch_size,)
    return data.batch_size, data.private_batch_size or data.batch_size


def weight_bytes(different: Sequence[Make]) -> tuple[int, ...]:
    """The bytes of each peer's parameters and buffers: of a checkpoint that it sends."""
    found = {peer: checkpoint_bytes(make.network) for make in different for peer in make.peers}
    return tuple(found[peer] for peer in range(len(found)))


def num_probed(config: RunConfig, dataset: Dataset) -> int:
    """The number of examples that the probes see."""
    train = min(config.evaluation.probe_train, len(dataset.train_labels))
    return train + min(config.evaluation.probe_test, len(dataset.test_labels))


def _kinds(peers: PeersConfig) -> Iterator[tuple[PeerKind, range]]:
    first = 0
    for group in peers.groups:
        yield group, range(first, first + group.count)
        first += group.count
    if not peers.groups:
        yield peers, range(peers.count)


def _of_kind(kind: PeerKind, peers: range, shape: Shape) -> list[Make]:
    if not (isinstance(kind.model, BroughtModel) and kind.model.by_peer):
        return [Make(kind, tuple(peers), _blank(kind, shape, peers[0]))]
    found: dict[tuple[str, ...], Make] = {}
    for peer in peers:
        network = _blank(kind, shape, peer)
        layout = models.layout(network)
        before = found.get(layout, Make(kind, (), network))
        found[layout] = Make(kind, (*before.peers, peer), before.network)
    return list(found.values())


def _blank(kind: PeerKind, shape: Shape, peer: int) -> Network:
    """A peer's network on the meta device: its parameters take no memory, and no random numbers are drawn.

    What the user brings is built on the CPU, since his code may read values.
    """
    if isinstance(kind.model, BroughtModel) or isinstance(kind.head, BroughtHead):
        with of_peer(peer):
            return drawing.seeded(lambda: kind.build_network(shape, peer, "any"), 0)
    try:
        with torch.device("meta"):
            return kind.build_network(shape, peer, "any")
    except BroughtError:
        if not isinstance(kind.model, TorchvisionModel):
            raise
        return drawing.seeded(lambda: kind.build_network(shape, peer, "any"), 0)  # some of its models read values
