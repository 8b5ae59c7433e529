"""Data sets in memory, and the batch of every round as a pure function of (seed, round)."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from peers import images, memory, named_sets, splits, tables
from peers.labels import check_classes, read_labels
from peers.named_sets import TorchvisionKind

Normalisation = tuple[Float32[np.ndarray, " channel"], Float32[np.ndarray, " channel"]]

_DIGITS_TEST = 500
_AT_ONCE = 2**22  # pixels that are worked on at a time, where 8 bits become 64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, 0..255; the arrays may be read-only shared memory and are never written."""

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


# ---- sources ----


def load_digits(seed: np.random.SeedSequence) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels, 500 of them (stratified) for the test."""
    from sklearn.datasets import load_digits as read_digits  # here: an actor has no use for 140 MiB of scikit-learn

    digits = read_digits()
    pixels = np.rint(digits.images[:, None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    test = stratified_holdout(labels, _DIGITS_TEST, np.random.default_rng(seed))
    return Dataset("digits", pixels[~test], labels[~test], pixels[test], labels[test], 10)


def load_torchvision(kind: TorchvisionKind, root: str | Path, download: bool) -> Dataset:
    """A data set that torchvision knows, from the folder `root`; STL-10's labelled images only.

    Raises:
        ValueError: the files are absent or broken, or the download failed.
    """
    arrays = named_sets.read_torchvision(kind, Path(root), download)
    return Dataset(kind, *arrays, 100 if kind == "cifar100" else 10)


def load_parquet(
    path: str | Path,
    *,
    image_column: str = "image",
    label_column: str = "label",
    image_size: int = 0,
    train_limit: int = 0,
    test_limit: int = 0,
    test_fraction: float = 0.2,
    seed: np.random.SeedSequence,
) -> Dataset:
    """Images from a folder of train*.parquet and test*.parquet, or from one file with some rows held out.

    Only the rows that the limits leave are decoded: the same that `limit` would choose with the same seed.

    Raises:
        ValueError: see `splits.split_files`, `labels.read_labels`, `images.read_images`; or a limit is too large, or
            no label is common to both splits, or the memory does not hold the images.
    """
    train_files, test_files = splits.split_files(Path(path))
    files = [*train_files, *test_files]
    classes, num_classes = read_labels(files, label_column)
    if test_files:
        test = np.arange(len(classes)) >= tables.num_rows(train_files)
    else:
        num_test = max(1, round(test_fraction * len(classes)))
        test = stratified_holdout(classes, num_test, np.random.default_rng(_child(seed, 0)))
    if test.all() or not test.any():
        raise ValueError(f"data.path: '{path}' must hold images to train on and others to test on; add rows")
    train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
    train_rows = train_rows[_chosen("train", len(train_rows), train_limit, seed)]
    test_rows = test_rows[_chosen("test", len(test_rows), test_limit, seed)]
    like = images.check_images(files, (train_rows, test_rows), image_column, image_size)
    check_classes(classes[~test], classes[test], num_classes, label_column)
    pixels = images.read_images(files, train_rows, image_column, image_size, like)
    test_pixels = images.read_images(files, test_rows, image_column, image_size, like)
    if pixels.shape[1] != test_pixels.shape[1]:
        pixels, test_pixels = images.in_colour(pixels), images.in_colour(test_pixels)
    return Dataset(Path(path).resolve().stem, pixels, classes[train_rows], test_pixels, classes[test_rows], num_classes)


def load_synthetic(
    num_train: int, num_test: int, num_classes: int, shape: tuple[int, int, int], seed: np.random.SeedSequence
) -> Dataset:
    """Gaussian class means plus as much noise a pixel, in balanced classes: for tests and timings.

    Raises: ValueError, if the memory does not hold them.
    """
    rng = np.random.default_rng(seed)
    size, num_images = math.prod(shape), num_train + num_test
    what = f"data: {num_images:,} images and {num_classes:,} classes of {'x'.join(map(str, shape))}"
    needed = size * (num_images + 8 * num_classes) + 32 * num_images + 4 * 8 * max(size, _AT_ONCE)
    memory.require(needed, what, "lower data.num_train, data.num_test, data.num_classes or data.shape")
    means = rng.normal(128, 32, size=(num_classes, *shape))
    labels = rng.permutation(np.arange(num_images, dtype=np.int64) % num_classes)
    pixels = np.empty((num_images, *shape), dtype=np.uint8)
    step = max(1, _AT_ONCE // size)
    for start in range(0, num_images, step):  # the same draws as all at once, which would take 24 times the memory
        part = labels[start : start + step]
        noisy = means[part] + rng.normal(0, 32, size=(len(part), *shape))
        pixels[start : start + step] = np.clip(np.rint(noisy), 0, 255)
    return Dataset(
        "synthetic", pixels[:num_train], labels[:num_train], pixels[num_train:], labels[num_train:], num_classes
    )


# ---- subsets ----


def limit(dataset: Dataset, train_limit: int, test_limit: int, seed: np.random.SeedSequence) -> Dataset:
    """A random subset of so many images, in their order; 0 keeps all.

    Raises:
        ValueError: a limit is larger than the data.
    """
    train = _chosen("train", len(dataset.train_labels), train_limit, seed)
    test = _chosen("test", len(dataset.test_labels), test_limit, seed)
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
    """True for `num_test` random examples, of which each class has its share, rounded up or down."""
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    every = (np.arange(num_test) * 2 + 1) * len(labels) // (2 * num_test)
    test = np.zeros(len(labels), dtype=np.bool_)
    test[by_class[every]] = True
    return test


# ---- batches ----


def batch(
    dataset: Dataset,
    batch_size: int,
    round_index: int,
    batches: np.random.SeedSequence,
    flips: np.random.SeedSequence | None,
    normalisation: Normalisation,
    device: torch.device,
) -> tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, " batch"]]:
    """Normalised images and labels of a round: the same view for every peer that asks.

    Args:
        dataset: its training images are drawn from.
        batch_size: number of images.
        round_index: the round.
        batches: stream of the order of the images.
        flips: stream of the horizontal flips; None: no flips.
        normalisation: (mean, std) per channel, see `channel_statistics`.
        device: where the tensors go.
    """
    chosen = batch_indices(len(dataset.train_labels), batch_size, batches, round_index)
    pixels = dataset.train_images[chosen]
    if flips is not None:
        mask = flip_mask(flips, round_index, batch_size)
        pixels[mask] = pixels[mask][..., ::-1]
    labels = torch.from_numpy(dataset.train_labels[chosen])
    return images_to_tensor(pixels, *normalisation).to(device), labels.to(device)


def hold_out(dataset: Dataset, num_images: int, seed: np.random.SeedSequence) -> Dataset:
    """The same data with so many training images (stratified) in place of the test images, which are dropped.

    Raises:
        ValueError: no training image of some class would be left.
    """
    labels = dataset.train_labels
    if num_images >= len(labels):
        raise ValueError(
            f"data.validation: must be below the {len(labels)} training images, got {num_images}; lower it"
        )
    held = stratified_holdout(labels, num_images, np.random.default_rng(seed))
    gone = set(labels.tolist()) - set(labels[~held].tolist())
    if gone:
        raise ValueError(
            f"data.validation: must leave a training image of every class, got {num_images} of {len(labels)}, which "
            f"leaves none of class {min(gone)}; lower it"
        )
    images = dataset.train_images
    return replace(
        dataset,
        train_images=images[~held],
        train_labels=labels[~held],
        test_images=images[held],
        test_labels=labels[held],
    )


def batch_indices(
    num_examples: int, batch_size: int, seed: np.random.SeedSequence, round_index: int
) -> Int64[np.ndarray, " batch"]:
    """Examples of a round: a permutation per epoch is cut into batches, and its rest is dropped.

    Raises:
        ValueError: the batch is larger than the data.
    """
    if batch_size > num_examples:
        raise ValueError(
            f"data.batch_size: must be at most the {num_examples} training images, got {batch_size}; lower it"
        )
    epoch, position = divmod(round_index, num_examples // batch_size)
    words = _child(seed, epoch).generate_state(8).tolist()
    permutation = _permutation(num_examples, tuple(words))
    return permutation[position * batch_size : (position + 1) * batch_size].copy()


def flip_mask(seed: np.random.SeedSequence, round_index: int, batch_size: int) -> Bool[np.ndarray, " batch"]:
    """Which images of a round are mirrored: each with probability one half."""
    return np.random.default_rng(_child(seed, round_index)).random(batch_size) < 0.5


def images_to_tensor(
    pixels: UInt8[np.ndarray, "batch channel height width"],
    mean: Float32[np.ndarray, " channel"],
    std: Float32[np.ndarray, " channel"],
) -> Float32[Tensor, "batch channel height width"]:
    """(pixels / 255 - mean) / std per channel; `pixels` is left as it is."""
    values = torch.from_numpy(pixels.astype(np.float32, order="C"))
    centre, scale = (torch.from_numpy(array.copy())[:, None, None] for array in (mean, std))
    return values.div_(255).sub_(centre).div_(scale)


def channel_statistics(pixels: UInt8[np.ndarray, "batch channel height width"]) -> Normalisation:
    """Mean and standard deviation of each channel of pixels / 255, from exact counts; the std of a constant is 1."""
    counts = np.zeros((pixels.shape[1], 256), dtype=np.int64)
    step = max(1, _AT_ONCE // math.prod(pixels.shape[2:]))
    for start in range(0, len(pixels), step):
        for channel, row in enumerate(counts):
            values = pixels[start : start + step, channel].ravel()
            for at in range(0, len(values), _AT_ONCE):  # a count needs int64 copies: of a part, not of everything
                row += np.bincount(values[at : at + _AT_ONCE], minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
    return mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)


# ---- helpers ----


@lru_cache(maxsize=2)  # the last epochs only; a round's lookahead may straddle two
def _permutation(num_examples: int, words: tuple[int, ...]) -> Int64[np.ndarray, " examples"]:
    return np.random.default_rng(words).permutation(num_examples)


def _child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """A stream of its own; unlike `seed.spawn`, this leaves `seed` as it is."""
    return np.random.SeedSequence(entropy=seed.entropy, spawn_key=(*seed.spawn_key, *key))


def _chosen(
    split: Literal["train", "test"], num: int, most: int, seed: np.random.SeedSequence
) -> Int64[np.ndarray, " chosen"] | slice:
    """The examples that a limit leaves, ascending; a slice, which copies nothing, where that is all of them."""
    if most > num:
        raise ValueError(f"data.{split}_limit: must be at most the {num} {split} images, got {most}; use 0 for all")
    if not most:
        return slice(None)
    rng = np.random.default_rng(_child(seed, 1 if split == "train" else 2))
    return np.sort(rng.permutation(num)[:most])
