"""How a peer is measured: its outputs on the probe batch, and what probes find in its features. Nothing is changed."""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings, initial_network
from peers.learning.sight import Sight
from peers.networks.network import Network
from peers.probing import observing
from peers.probing.measuring import ProbeImages, ProbeOutcome, ProbeSubject, ProbeTask
from peers.probing.observing import Observation


@runtime_checkable
class Measured(Protocol):
    """What is read of a peer."""

    index: int
    settings: PeerSettings
    dataset: Dataset
    batches: Sight
    device: torch.device
    network: Network
    initial: list[Tensor]
    failure: str
    probe_images: ProbeImages


def observe(peer: Measured, keep: bool) -> Observation:
    """See `Peer.observe`."""
    start = time.perf_counter()
    pixels = peer.dataset.test_images[peer.probe_images.batch]
    images = peer.settings.still_view(pixels).to(peer.device)
    exchange, failed = peer.settings.exchange, bool(peer.failure)
    with of_peer(peer.index):
        seen = observing.observe(peer.network, peer.initial, images, exchange, failed, keep)
    return replace(seen, seconds=time.perf_counter() - start)


def probe(peer: Measured, subject: ProbeSubject, rounds: Sequence[int]) -> ProbeOutcome:
    """See `Peer.probe`."""
    start = time.perf_counter()
    task = ProbeTask(
        peer.network,
        peer.dataset,
        peer.probe_images,
        peer.settings.probes,
        peer.settings.seed,
        peer.index,
        peer.settings.still_view,
        peer.device,
        peer.settings.exchange.uses_labels,
    )
    if subject in (ProbeSubject.RESET, ProbeSubject.RECALIBRATED):
        network = copy.deepcopy(peer.network)
        untrained = initial_network(peer.settings, peer.dataset.shape)
        for buffer, before in zip(network.buffers(), untrained.buffers(), strict=True):
            buffer.copy_(before)
        task = replace(task, network=network)
    outcome = task.outcome(subject, _shown(peer, rounds))
    return replace(outcome, seconds=time.perf_counter() - start)


def _shown(peer: Measured, rounds: Sequence[int]) -> Iterator[Tensor]:
    """What the peer's network sees in some rounds: each batch, and its private one after it if it learns from that."""
    learns = peer.settings.terms.own and peer.index not in peer.settings.peers.frozen
    for round_index in rounds:
        yield peer.batches(round_index, peer.index)[0]
        private = peer.batches.private(round_index, peer.index) if learns else None
        if private is not None:
            yield private[0]
