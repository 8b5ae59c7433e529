"""The batches of the rounds, made once for all peers of a host."""

from collections import OrderedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from peers import data
from peers.data import Dataset
from peers.seeds import stream
from peers.settings import PeerSettings

KEPT = 2  # rounds: the one that is studied and the one that is published

Batch = tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, " batch"]]


class Batches:
    """Images and labels of a round, a pure function of (seed, round); nobody may write to them."""

    def __init__(self, settings: PeerSettings, dataset: Dataset) -> None:
        self._settings = settings
        self._dataset = dataset
        self._device = torch.device(settings.device)
        self._kept: OrderedDict[int, Batch] = OrderedDict()

    def __call__(self, round_index: int) -> Batch:
        """The normalised images of a round and their labels, on the peers' device."""
        if round_index not in self._kept:
            if len(self._kept) == KEPT:
                self._kept.popitem(last=False)
            self._kept[round_index] = self._make(round_index)
        return self._kept[round_index]

    def _make(self, round_index: int) -> Batch:
        settings = self._settings
        images, labels = data.batch(
            self._dataset,
            settings.data.batch_size,
            round_index,
            stream(settings.seed, "batches"),
            stream(settings.seed, "flips") if settings.data.flip else None,
            settings.normalisation,
            self._device,
        )
        return images.to(memory_format=settings.peers.memory_format), labels
