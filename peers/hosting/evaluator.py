"""The evaluator: probes copies of peers in a separate process, while the rounds continue."""

import os
from collections.abc import Sequence

import numpy as np
import torch

from peers.data.datasets import Dataset
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings
from peers.learning.sight import Sight
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.remembered import Remembered

State = dict[str, np.ndarray]
"""A network's parameters and buffers by name."""


class Evaluator:
    """Rebuilds peers from their settings and states, and probes them exactly as their hosts would."""

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int) -> None:
        """Store the settings of all peers; each peer is built when it is probed."""
        torch.set_num_threads(num_threads)
        self._settings = settings
        self._dataset = dataset
        self._sight = Sight(settings, dataset)
        self._probed: dict[int, Remembered] = {}

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        """Use these settings for the peers: those of the run, or of one of its control runs."""
        self._settings = settings
        self._sight = self._sight.for_run(settings)
        self._probed = {}

    def ready(self) -> int:
        """The process id, once the process can be called."""
        return os.getpid()

    def probe(
        self, peer: int, subject: ProbeSubject, rounds: Sequence[int], states: dict[int, State] | None
    ) -> dict[int, ProbeOutcome]:
        """`Peer.probe` of one peer, in the form of its host's answer; `states`: its host's states, None: untrained."""
        rebuilt = Peer(self._settings[peer], self._dataset, self._sight)
        rebuilt.probed = self._probed.setdefault(peer, rebuilt.probed)
        if states is not None:
            rebuilt.network.load_state_dict({name: torch.tensor(array) for name, array in states[peer].items()})
        return {peer: rebuilt.probe(subject, rounds)}
