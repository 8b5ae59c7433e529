"""The host of one or more peers: the same class in this process and as a Ray actor."""

import os
from typing import Any

import ray
import torch

from peers.data import Dataset
from peers.peer import Peer, PeerSettings


class PeerHost:
    """Holds peers and passes calls on to them, one at a time and in order."""

    def __init__(self, settings: list[PeerSettings], dataset: Dataset, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        if any(each.device != "cpu" for each in settings):
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may not repeat itself
            torch.use_deterministic_algorithms(True)
        self.peers = {each.index: Peer(each, dataset) for each in settings}

    def ready(self) -> int:
        """This process's number, once the peers exist."""
        return os.getpid()

    def call(self, peer: int, method: str, *args: Any) -> Any:
        """`method` of one peer. References among `args` have become values by the time this runs."""
        return getattr(self.peers[peer], method)(*args)


RemotePeerHost = ray.remote(PeerHost)
