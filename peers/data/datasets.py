"""Data sets in memory, subsets of them, and statistics of their pixels."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from peers.base.seeds import child

Normalisation = tuple[Float32[np.ndarray, " channel"], Float32[np.ndarray, " channel"]]

AT_ONCE = 2**22  # pixels processed at a time where 8 bits become 64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images with values 0..255; the arrays may be read-only shared memory, and must not be modified."""

    name: str
    train_images: UInt8[np.ndarray, "train channel height width"]
    train_labels: Int64[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test channel height width"]
    test_labels: Int64[np.ndarray, " test"]
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of an image."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width


def limit(dataset: Dataset, train_limit: int, test_limit: int, seed: np.random.SeedSequence) -> Dataset:
    """A random subset of the training and test images, in their original order; a limit of 0 keeps all.

    Raises:
        ValueError: a limit is larger than the data.
    """
    train = chosen_rows("train", len(dataset.train_labels), train_limit, seed)
    test = chosen_rows("test", len(dataset.test_labels), test_limit, seed)
    return replace(
        dataset,
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        test_images=dataset.test_images[test],
        test_labels=dataset.test_labels[test],
    )


def stratified_holdout(
    labels: Int64[np.ndarray, " examples"], num_test: int, rng: np.random.Generator
) -> Bool[np.ndarray, " examples"]:
    """True for `num_test` random examples; each class has its proportional share, rounded up or down."""
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    picked = (np.arange(num_test) * 2 + 1) * len(labels) // (2 * num_test)
    test = np.zeros(len(labels), dtype=np.bool_)
    test[by_class[picked]] = True
    return test


def chosen_rows(
    split: Literal["train", "test"], num: int, most: int, seed: np.random.SeedSequence
) -> Int64[np.ndarray, " chosen"] | slice:
    """The examples within a limit, ascending; if that is all of them, a slice, which needs no copy."""
    if most > num:
        raise ValueError(f"data.{split}_limit: must be at most the {num} {split} images, got {most}; use 0 for all")
    if not most:
        return slice(None)
    rng = np.random.default_rng(child(seed, 1 if split == "train" else 2))
    return np.sort(rng.permutation(num)[:most])


def hold_out(dataset: Dataset, num_images: int, seed: np.random.SeedSequence) -> Dataset:
    """Replace the test images by `num_images` (stratified) training images; the original test images are dropped.

    Raises:
        ValueError: no training image of some class would be left.
    """
    labels = dataset.train_labels
    if num_images >= len(labels):
        raise ValueError(
            f"data.validation: must be below the {len(labels)} training images, got {num_images}; lower it"
        )
    held_out = stratified_holdout(labels, num_images, np.random.default_rng(seed))
    lost_classes = set(labels.tolist()) - set(labels[~held_out].tolist())
    if lost_classes:
        raise ValueError(
            f"data.validation: must leave a training image of every class, got {num_images} of {len(labels)}, which "
            f"leaves none of class {min(lost_classes)}; lower it"
        )
    images = dataset.train_images
    return replace(
        dataset,
        train_images=images[~held_out],
        train_labels=labels[~held_out],
        test_images=images[held_out],
        test_labels=labels[held_out],
    )


def images_to_tensor(
    pixels: UInt8[np.ndarray, "batch channel height width"],
    mean: Float32[np.ndarray, " channel"],
    std: Float32[np.ndarray, " channel"],
) -> Float32[Tensor, "batch channel height width"]:
    """(pixels / 255 - mean) / std per channel; `pixels` is not modified."""
    values = torch.from_numpy(pixels.astype(np.float32, order="C"))
    centre, scale = (torch.from_numpy(array.copy())[:, None, None] for array in (mean, std))
    return values.div_(255).sub_(centre).div_(scale)


def channel_statistics(pixels: UInt8[np.ndarray, "batch channel height width"]) -> Normalisation:
    """Mean and standard deviation of each channel of pixels / 255, from exact counts; the std of a constant is 1."""
    counts = np.zeros((pixels.shape[1], 256), dtype=np.int64)
    step = max(1, AT_ONCE // math.prod(pixels.shape[2:]))
    for start in range(0, len(pixels), step):
        for channel, row in enumerate(counts):
            values = pixels[start : start + step, channel].ravel()
            for first in range(0, len(values), AT_ONCE):  # bincount makes int64 copies, so count in parts
                row += np.bincount(values[first : first + AT_ONCE], minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
    return mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)
