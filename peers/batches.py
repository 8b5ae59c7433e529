"""The batches of the rounds, made once for all peers of a host."""

from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
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
        self._resident: tuple[Tensor, Tensor] | None = None
        if self._device.type == "cuda" and settings.data_on_device:
            images, labels = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
            self._resident = images.to(self._device), labels.to(self._device)
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
        seeds = stream(settings.seed, "batches"), stream(settings.seed, "flips") if settings.data.flip else None
        if self._resident is not None:
            images, labels = resident_batch(*self._resident, round_index, *seeds, settings)
        else:
            size, cpu = settings.data.batch_size, torch.device("cpu")
            images, labels = data.batch(self._dataset, size, round_index, *seeds, settings.normalisation, cpu)
            if self._device.type == "cuda":  # from pinned memory a copy does not hold up the host
                images, labels = (each.pin_memory().to(self._device, non_blocking=True) for each in (images, labels))
        return images.to(memory_format=settings.peers.memory_format), labels


def resident_batch(
    pixels: UInt8[Tensor, "train channel height width"],
    labels: Int64[Tensor, " train"],
    round_index: int,
    batches: np.random.SeedSequence,
    flips: np.random.SeedSequence | None,
    settings: PeerSettings,
) -> Batch:
    """What `data.batch` gives, from a data set that lies on the peers' device.

    The same numbers on a CPU; a GPU divides by 255 through its reciprocal, which may move the last bit.
    """
    size = settings.data.batch_size
    chosen = torch.from_numpy(data.batch_indices(len(labels), size, batches, round_index)).to(labels.device)
    images = pixels[chosen]
    if flips is not None:
        mask = torch.from_numpy(data.flip_mask(flips, round_index, size)).to(labels.device)
        images = torch.where(mask[:, None, None, None], images.flip(-1), images)
    centre, scale = (torch.tensor(each, device=labels.device)[:, None, None] for each in settings.normalisation)
    return images.to(torch.float32).div_(255).sub_(centre).div_(scale), labels[chosen]
