"""Probes peers in a process of its own, while they go on."""

import os
from collections.abc import Sequence

import numpy as np
import torch

from peers.data.datasets import Dataset
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings
from peers.probing.measuring import ProbeOutcome, ProbeSubject

State = dict[str, np.ndarray]
"""A network's parameters and buffers by name."""


class Evaluator:
    """Rebuilds peers from their settings and states, and probes them as they would be probed in their hosts."""

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int) -> None:
        """Take the settings of all peers; each is made when it is probed."""
        torch.set_num_threads(num_threads)
        self._settings = settings
        self._dataset = dataset
        self._batches = settings[0].batches(dataset)

    def ready(self) -> int:
        """The process id, once the process can be called."""
        return os.getpid()

    def probe(
        self, peer: int, subject: ProbeSubject, rounds: Sequence[int], states: dict[int, State] | None
    ) -> dict[int, ProbeOutcome]:
        """`Peer.probe` of one peer, as its host would answer: untrained, or in its state among those of its host."""
        rebuilt = Peer(self._settings[peer], self._dataset, self._batches)
        if states is not None:
            rebuilt.network.load_state_dict({name: torch.tensor(array) for name, array in states[peer].items()})
        return {peer: rebuilt.probe(subject, rounds)}
