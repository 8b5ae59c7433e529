"""The batch of every round, a pure function of (seed, round), created once for all peers of a host."""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from peers.base.seeds import child, stream
from peers.data.datasets import Dataset, Normalisation, along_channels, images_to_tensor

KEPT = 2  # rounds memoised: the one being studied and the one being published

Batch = tuple[Float[Tensor, "batch *shape"], Int64[Tensor, " batch"]]


class Batches:
    """Images and labels of a round, a pure function of (seed, round). Callers must not write to them.

    flip: mirror half of the images. on_device: keep the data set on the GPU and assemble batches there.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        batch_size: int,
        flip: bool,
        normalisation: Normalisation,
        device: str = "cpu",
        on_device: bool = True,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._seeds = stream(seed, "batches"), stream(seed, "flips") if flip else None
        self._normalisation = normalisation
        self._memory_format = memory_format
        self._device = torch.device(device)
        self._resident: tuple[Tensor, Tensor] | None = None
        if self._device.type == "cuda" and on_device:
            images, labels = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
            self._resident = images.to(self._device), labels.to(self._device)
        self._kept: OrderedDict[int, Batch] = OrderedDict()
        self._most = KEPT

    def keep(self, count: int) -> None:
        """Memoise so many batches at least, as where peers of one process are at different rounds."""
        self._most = max(self._most, count)

    def __call__(self, round_index: int) -> Batch:
        """The normalised images of a round and their labels, on the peers' device."""
        if round_index not in self._kept:
            if len(self._kept) == self._most:
                self._kept.popitem(last=False)
            self._kept[round_index] = self._make(round_index)
        self._kept.move_to_end(round_index)
        return self._kept[round_index]

    def _make(self, round_index: int) -> Batch:
        size, seeds, normalisation = self._batch_size, self._seeds, self._normalisation
        if self._resident is not None:
            images, labels = resident_batch(*self._resident, size, round_index, *seeds, normalisation)
        else:
            images, labels = batch(self._dataset, size, round_index, *seeds, normalisation, torch.device("cpu"))
            if self._device.type == "cuda":  # copies from pinned memory do not block the host
                images, labels = (part.pin_memory().to(self._device, non_blocking=True) for part in (images, labels))
        return images.to(memory_format=self._memory_format), labels


def batch(
    dataset: Dataset,
    batch_size: int,
    round_index: int,
    batches: np.random.SeedSequence,
    flips: np.random.SeedSequence | None,
    normalisation: Normalisation,
    device: torch.device,
) -> Batch:
    """Normalised images and labels of a round, the same view for every peer.

    Args:
        dataset: the source of the training examples, which are images if they are flipped.
        batch_size: number of images.
        round_index: the round.
        batches: stream of the order of the images.
        flips: stream of the horizontal flips; None: no flips.
        normalisation: (mean, std) per channel, see `datasets.channel_statistics`.
        device: where the tensors go.
    """
    chosen = batch_indices(len(dataset.train_labels), batch_size, batches, round_index)
    pixels = dataset.train_images[chosen]
    if flips is not None:
        mask = flip_mask(flips, round_index, batch_size)
        pixels[mask] = pixels[mask][..., ::-1]
    labels = torch.from_numpy(dataset.train_labels[chosen])
    return images_to_tensor(pixels, *normalisation).to(device), labels.to(device)


def resident_batch(
    examples: UInt8[Tensor, "train *shape"] | Float[Tensor, "train *shape"],
    labels: Int64[Tensor, " train"],
    batch_size: int,
    round_index: int,
    batches: np.random.SeedSequence,
    flips: np.random.SeedSequence | None,
    normalisation: Normalisation,
) -> Batch:
    """The result of `batch`, from a data set on the peers' device.

    On a CPU the numbers are identical; a GPU multiplies by 1 / 255, which may change the last bit.
    """
    chosen = torch.from_numpy(batch_indices(len(labels), batch_size, batches, round_index)).to(labels.device)
    images = examples[chosen]
    if flips is not None:
        mask = torch.from_numpy(flip_mask(flips, round_index, batch_size)).to(labels.device)
        images = torch.where(mask[:, None, None, None], images.flip(-1), images)
    centre, scale = (along_channels(torch.tensor(part, device=labels.device), images.ndim) for part in normalisation)
    values = images.to(torch.float32)  # a copy either way, since indices were chosen
    if images.dtype == torch.uint8:
        values.div_(255)
    return values.sub_(centre).div_(scale), labels[chosen]


def batch_indices(
    num_examples: int,
    batch_size: int,
    seed: np.random.SeedSequence,
    round_index: int,
    permutation: Callable[[int, tuple[int, ...]], Int64[np.ndarray, " examples"]] | None = None,
) -> Int64[np.ndarray, " batch"]:
    """Indices of a round's examples: a permutation per epoch is cut into batches; the incomplete last one is dropped.

    permutation: of so many examples, by the words of a seed; None: one that keeps the last two.

    Raises:
        ValueError: the batch is larger than the data.
    """
    if batch_size > num_examples:
        raise ValueError(
            f"data.batch_size: must be at most the {num_examples} training images, got {batch_size}; lower it"
        )
    epoch, position = divmod(round_index, num_examples // batch_size)
    words = child(seed, epoch).generate_state(8).tolist()
    order = (permutation or _permutation)(num_examples, tuple(words))
    return order[position * batch_size : (position + 1) * batch_size].copy()


def flip_mask(seed: np.random.SeedSequence, round_index: int, batch_size: int) -> Bool[np.ndarray, " batch"]:
    """Which images of a round are mirrored: each with probability one half."""
    return np.random.default_rng(child(seed, round_index)).random(batch_size) < 0.5


@lru_cache(maxsize=2)  # the lookahead of rounds may span two epochs
def _permutation(num_examples: int, words: tuple[int, ...]) -> Int64[np.ndarray, " examples"]:
    return np.random.default_rng(words).permutation(num_examples)
