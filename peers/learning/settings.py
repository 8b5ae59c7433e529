"""The settings that a peer is made from, and its initial network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from peers.base.brought_errors import of_peer
from peers.base.layout import Layout
from peers.base.precision import Precision
from peers.base.seeds import torch_seed
from peers.data.batches import Batches
from peers.data.config import DataConfig
from peers.data.datasets import Dataset, Normalisation
from peers.data.formats.shapes import Shape
from peers.data.viewed import StillView
from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control
from peers.learning.terms import Terms
from peers.networks import drawing, models
from peers.networks.config import PeersConfig, Start
from peers.networks.network import Network
from peers.networks.shared_head import share_head
from peers.probing.config import ProbeConfig
from peers.views.view import View

Execution = Literal["loop", "vectorised"]
MessageKind = Literal["outputs", "checkpoint"]


@dataclass(frozen=True)
class PeerSettings:
    """All settings of a peer; together with the data set and the messages, they determine every number."""

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
    precision: Precision = "float32"
    memory_layout: Layout = "contiguous"  # of images and convolutions' weights
    deterministic: bool = True
    data_on_device: bool = True
    layout: tuple[str, ...] = ()  # of its network as built by the coordinator; empty: not checked
    control: Control | None = None  # the control run that the peer is in
    vectorisable: bool = True  # whether execution "auto" may choose to run peers together
    other_data: Mapping[str, DataConfig] = field(default_factory=dict)  # sections of other data sets, by name
    message: MessageKind = "outputs"  # what peers send: their outputs on a batch, or the weights that they teach with
    starts_as: Start = "initial"  # "stranger": from the weights of a stranger, as a twin in the control irrelevant
    other_normalisation: Normalisation | None = None  # of the other data set in that control run

    @property
    def memory_format(self) -> torch.memory_format:
        """In what order the values of images and convolutions' weights lie in memory."""
        return self.peers.memory_format(self.memory_layout, self.device)

    @property
    def view(self) -> View:
        """What the peer sees of images."""
        return self.peers.view_of(self.index, self.seed)

    @property
    def still_view(self) -> StillView:
        """What the peer's network gets of raw images where it is probed."""
        return StillView(self.view, self.index, self.normalisation)

    @property
    def terms(self) -> Terms:
        """The terms of a student's loss."""
        return Terms(self.exchange, self.control, self.data.partition is not None)

    def batches(self, dataset: Dataset) -> Batches:
        """The batches of the run's rounds as they are where all peers hold all images and see them in no view."""
        return Batches(
            dataset,
            seed=self.seed,
            batch_size=self.data.batch_size,
            flip=self.data.flip,
            normalisation=self.normalisation,
            device=self.device,
            on_device=self.data_on_device,
            memory_format=self.memory_format,
        )


class OtherNetwork(ValueError):
    """A peer's process builds another network than the coordinator, so that reports would describe the wrong one."""


def initial_network(settings: PeerSettings, shape: Shape) -> Network:
    """The peer's random weights, interpolated towards peer 0's where `locality` is below 1; or those that are given."""
    if settings.starts_as == "stranger":
        return stranger_network(settings, shape)
    network = _drawn(settings, shape, torch_seed(settings.seed, "weights", settings.index), settings.index != 0)
    _check_layout(settings, models.layout(network))
    return network


def stranger_network(settings: PeerSettings, shape: Shape) -> Network:
    """Other random weights for the peer's architecture, as far from peer 0's as those of any other peer."""
    return _drawn(settings, shape, torch_seed(settings.seed, "stranger", settings.index), True, "stranger")


def fresh_network(settings: PeerSettings, shape: Shape, count: int) -> Network:
    """New random weights for a peer that comes back for the `count`-th time having lost its own."""
    return _drawn(settings, shape, torch_seed(settings.seed, "returns", settings.index, count), settings.index != 0)


def empty_network(settings: PeerSettings, shape: Shape, peer: int) -> Network:
    """A network of any peer's kind, whose weights do not matter."""
    kind = settings.peers.kind_of(peer)
    with of_peer(peer):
        network = drawing.seeded(lambda: kind.build_network(shape, peer, "any"), 0)
    return network.to(settings.device).to(memory_format=settings.memory_format).train()


def seed_noise(settings: PeerSettings, network: Network, round_index: int, *further: int) -> None:
    """Let what a network draws in a round's forward pass depend on seed, peer and round alone; most draw nothing.

    further: what tells another pass of the round from the first.
    """
    if network.noise is not None:
        network.noise = torch_seed(settings.seed, "noise", settings.index, round_index, *further)


def _drawn(settings: PeerSettings, shape: Shape, seed: int, interpolated: bool, start: Start = "initial") -> Network:
    kind, peer = settings.peers.kind_of(settings.index), settings.index
    with of_peer(peer):
        network = drawing.seeded(lambda: kind.build_network(shape, peer, start), seed)
        if settings.peers.locality < 1 and interpolated:
            reference = drawing.seeded(lambda: kind.build_network(shape, peer), torch_seed(settings.seed, "weights", 0))
            models.interpolate_locality(network, reference, settings.peers.locality)
    if settings.peers.head_shared:
        share_head(settings.peers, peer, network, settings.seed)
    return network.to(settings.device).to(memory_format=settings.memory_format).train()


def _check_layout(settings: PeerSettings, built: tuple[str, ...]) -> None:
    """Raises: OtherNetwork, if the network differs from the coordinator's."""
    expected = settings.layout
    if not expected or built == expected:
        return
    actual = next((line for line in built if line not in expected), f"{len(built)} modules and tensors")
    wanted = next((line for line in expected if line not in built), f"{len(expected)} modules and tensors")
    raise OtherNetwork(
        f"peers.model: the process of peer {settings.index} builds another network than the coordinator ('{actual}', "
        f"here '{wanted}'): classes that were changed in one process only, or another version of the package, are not "
        "seen by the other; set hosting.pool to in-process, or install the same on all nodes"
    )
