"""Loads data sets from scikit-learn, torchvision or Parquet files, or draws them at random."""

import math
from pathlib import Path

import numpy as np

from peers.base import memory
from peers.base.seeds import child
from peers.data import images, named_sets, splits, tables
from peers.data.datasets import AT_ONCE, Dataset, chosen_rows, stratified_holdout
from peers.data.labels import check_classes, read_labels
from peers.data.named_sets import TorchvisionKind

_DIGITS_TEST = 500


def load_digits(seed: np.random.SeedSequence) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels, of which 500 (stratified) are test images."""
    from sklearn.datasets import load_digits as read_digits  # imported here: actors do not need scikit-learn's 140 MiB

    digits = read_digits()
    pixels = np.rint(digits.images[:, None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    test = stratified_holdout(labels, _DIGITS_TEST, np.random.default_rng(seed))
    return Dataset("digits", pixels[~test], labels[~test], pixels[test], labels[test], 10)


def load_torchvision(kind: TorchvisionKind, root: str | Path, download: bool) -> Dataset:
    """A data set of torchvision, from the folder `root`; of STL-10 only the labelled images.

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

    Only the rows within the limits are decoded: those that `limit` would choose with the same seed.

    Raises:
        ValueError: see `splits.split_files`, `labels.read_labels`, `images.read_images`; or a limit is too large, or
            the splits have no common label, or the images do not fit into memory.
    """
    train_files, test_files = splits.split_files(Path(path))
    files = [*train_files, *test_files]
    classes, num_classes = read_labels(files, label_column)
    if test_files:
        test = np.arange(len(classes)) >= tables.num_rows(train_files)
    else:
        num_test = max(1, round(test_fraction * len(classes)))
        test = stratified_holdout(classes, num_test, np.random.default_rng(child(seed, 0)))
    if test.all() or not test.any():
        raise ValueError(f"data.path: '{path}' must hold images to train on and others to test on; add rows")
    train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
    train_rows = train_rows[chosen_rows("train", len(train_rows), train_limit, seed)]
    test_rows = test_rows[chosen_rows("test", len(test_rows), test_limit, seed)]
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
    """Random class means plus noise of equal deviation in every pixel, in balanced classes: for tests and timings.

    Raises: ValueError, if the images do not fit into memory.
    """
    rng = np.random.default_rng(seed)
    size, num_images = math.prod(shape), num_train + num_test
    subject = f"data: {num_images:,} images and {num_classes:,} classes of {'x'.join(map(str, shape))}"
    needed = size * (num_images + 8 * num_classes) + 32 * num_images + 4 * 8 * max(size, AT_ONCE)
    memory.require(needed, subject, "lower data.num_train, data.num_test, data.num_classes or data.shape")
    means = rng.normal(128, 32, size=(num_classes, *shape))
    labels = rng.permutation(np.arange(num_images, dtype=np.int64) % num_classes)
    pixels = np.empty((num_images, *shape), dtype=np.uint8)
    step = max(1, AT_ONCE // size)
    for start in range(0, num_images, step):  # the same draws as in one call, which would take 24 times the memory
        part = labels[start : start + step]
        noisy = means[part] + rng.normal(0, 32, size=(len(part), *shape))
        pixels[start : start + step] = np.clip(np.rint(noisy), 0, 255)
    return Dataset(
        "synthetic", pixels[:num_train], labels[:num_train], pixels[num_train:], labels[num_train:], num_classes
    )
