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
    """Rebuilds a peer from its settings and its state, and asks it what the peer itself would answer."""

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int) -> None:
        """Get to know the peers; none is made yet."""
        torch.set_num_threads(num_threads)
        self._settings = settings
        self._dataset = dataset
        self._batches = settings[0].batches(dataset)

    def ready(self) -> int:
        """This process's number, once it can be called."""
        return os.getpid()

    def probe(
        self, index: int, subject: ProbeSubject, rounds: Sequence[int], states: dict[int, State] | None
    ) -> ProbeOutcome:
        """`Peer.probe` of the untrained peer, or of the one in `states`, which its host has given."""
        peer = Peer(self._settings[index], self._dataset, self._batches)
        if states is not None:
            peer.network.load_state_dict({name: torch.tensor(each) for name, each in states[index].items()})
        return peer.probe(subject, rounds)
