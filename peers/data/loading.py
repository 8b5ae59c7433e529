"""Loads data sets from scikit-learn, torchvision or tables (Parquet, Arrow), or draws them at random."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peers.base import memory
from peers.data.datasets import AT_ONCE, Dataset
from peers.data.formats import named_sets, splits
from peers.data.formats.holdout import stratified_holdout
from peers.data.formats.named_sets import TorchvisionKind
from peers.data.formats.shapes import Shape, noun, sizes
from peers.data.formats.table_arrays import Columns, read_tables

_DIGITS_TEST = 500


def load_digits(seed: np.random.SeedSequence) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels, of which 500 (stratified) are test images."""
    table = _digits()
    pixels = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    test = stratified_holdout(labels, _DIGITS_TEST, np.random.default_rng(seed))
    return Dataset("digits", pixels[~test], labels[~test], pixels[test], labels[test], 10)


def _digits() -> np.ndarray:
    """A row for each of the digits: 64 pixels, then its class; out of scikit-learn's file, without its imports."""
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits as read_digits  # a release that keeps it elsewhere

    digits = read_digits()
    return np.column_stack([digits.data, digits.target])


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
    feature_columns: Sequence[str] = (),
    image_size: int = 0,
    train_limit: int = 0,
    test_limit: int = 0,
    test_fraction: float = 0.2,
    seed: np.random.SeedSequence,
) -> Dataset:
    """Images or vectors from a folder of train*.parquet and test*.parquet, or from one file with some rows held out.

    Arrow files (.arrow, .feather) are read as well. Only the rows within the limits are decoded: those that `limit`
    would choose with the same seed.

    Raises:
        ValueError: see `splits.split_files`, `table_arrays.read_tables`.
    """
    columns = Columns(image_column, label_column, tuple(feature_columns), image_size)
    limits = train_limit, test_limit
    train, test = splits.split_files(Path(path))
    whole = read_tables(train, test, columns, limits=limits, test_fraction=test_fraction, seed=seed)
    return Dataset(Path(path).resolve().stem, *whole)


def load_synthetic(
    num_train: int, num_test: int, num_classes: int, shape: Shape, seed: np.random.SeedSequence
) -> Dataset:
    """Random class means plus noise of equal deviation in every pixel, in balanced classes: for tests and timings.

    shape: of an example, with any number of axes.


    Raises: ValueError, if the images do not fit into memory.
    """
    rng = np.random.default_rng(seed)
    size, num_images = math.prod(shape), num_train + num_test
    subject = f"data: {num_images:,} {noun(shape)} and {num_classes:,} classes of {sizes(shape)}"
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
