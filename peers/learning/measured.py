"""How a peer is measured: its outputs on the probe batch, and what probes find in its features. Nothing is changed."""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings, initial_network
from peers.learning.sight import Sight
from peers.learning.snapshot import digest
from peers.networks.network import Network
from peers.probing import observing
from peers.probing.measuring import SHOWN_BATCHES, ProbeImages, ProbeOutcome, ProbeSubject, ProbeTask
from peers.probing.observing import Observation
from peers.probing.remembered import Remembered


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
    probed: Remembered


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
    has_outputs = peer.settings.exchange.uses_labels and subject is not ProbeSubject.RAW_PIXELS
    if not peer.settings.probes.names(has_outputs):
        return ProbeOutcome({})  # and no forward pass
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
    if subject is ProbeSubject.RAW_PIXELS:
        outcome = task.of_pixels()
    else:
        if subject in (ProbeSubject.RESET, ProbeSubject.RECALIBRATED):
            task = replace(task, network=_reset(peer))
        network = task.calibrated(_shown(peer, rounds)) if subject in SHOWN_BATCHES else task.network
        find = partial(task.of_network, network)
        # code of the user's may depend on more than weights and buffers
        outcome = find() if network.origin else peer.probed.outcome(digest(network), find)
    return replace(outcome, seconds=time.perf_counter() - start)


def _reset(peer: Measured) -> Network:
    """A copy of the peer's network with the buffers of the start; itself, if it has none."""
    if not any(True for _ in peer.network.buffers()):
        return peer.network
    network, untrained = copy.deepcopy(peer.network), initial_network(peer.settings, peer.dataset.shape)
    for buffer, before in zip(network.buffers(), untrained.buffers(), strict=True):
        buffer.copy_(before)
    return network


def _shown(peer: Measured, rounds: Sequence[int]) -> Iterator[Tensor]:
    """What the peer's network sees in some rounds: each batch, and its private one after it if it learns from that."""
    learns = peer.settings.terms.own and peer.index not in peer.settings.peers.frozen
    for round_index in rounds:
        yield peer.batches(round_index, peer.index)[0]
        private = peer.batches.private(round_index, peer.index) if learns else None
        if private is not None:
            yield private[0]
