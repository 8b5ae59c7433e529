"""Data sets in memory, subsets of them, and statistics of their values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from peers.base.seeds import stream
from peers.data.formats import arrays, table_arrays, torch_sets
from peers.data.formats.arrays import Arrays
from peers.data.formats.holdout import chosen_rows, held_out_share, stratified_holdout
from peers.data.formats.shapes import Shape, described, noun

Normalisation = tuple[Float32[np.ndarray, " channel"], Float32[np.ndarray, " channel"]]

AT_ONCE = 2**22  # values processed at a time where they become 64 bits wide; a constant, since sums depend on it


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled examples: images, vectors, series, volumes; arrays may be read-only shared memory, never to be modified.

    After the first axis, that of examples, there may be any others: images have (channel, height, width), series
    (channel, time), vectors (features). uint8 values are pixels, 0..255; float32 values are taken as they are, and are
    finite. A run normalises each channel (of vectors: each feature), which is axis 1, by its own mean and deviation.
    Labels are 0..num_classes - 1. others: further data sets of a run, by the section that names them: "public",
    "irrelevant".
    """

    name: str
    train_images: UInt8[np.ndarray, "train *shape"] | Float32[np.ndarray, "train *shape"]
    train_labels: Int64[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test *shape"] | Float32[np.ndarray, "test *shape"]
    test_labels: Int64[np.ndarray, " test"]
    num_classes: int
    others: Mapping[str, "Dataset"] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The sizes of an example's axes: of images channels, height, width."""
        return self.train_images.shape[1:]

    def __repr__(self) -> str:
        """What it holds, without the values."""
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test {described(self.shape)}"
        return f"Dataset('{self.name}': {counts}, {self.train_images.dtype}, {self.num_classes} classes)"

    @classmethod
    def from_arrays(
        cls,
        train_images: Any,
        train_labels: Any,
        test_images: Any = None,
        test_labels: Any = None,
        *,
        name: str = "mine",
        num_classes: int | None = None,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> "Dataset":
        """A data set of NumPy arrays, torch tensors of any device, or lists.

        Args:
            train_images: examples of any shape; uint8 for pixels (images without a channel axis get one), or
                floating-point numbers, which become float32. Channels come first.
            train_labels: integers 0..k-1 that all occur (or, with `num_classes`, any below it), or strings, which are
                numbered in sorted order.
            test_images: None: a stratified share of the examples is held out.
            test_labels: likewise.
            name: shown in reports.
            num_classes: None: the number of different labels.
            test_fraction: the share that is held out.
            seed: which examples are held out; that of `parquet` in a run of this seed.

        Raises: ValueError, of one line.
        """
        test = None if test_images is None and test_labels is None else (test_images, test_labels)
        made = arrays.paired((train_images, train_labels), test, num_classes)
        return cls._made(name, made, test_fraction, seed)

    @classmethod
    def from_torch(
        cls,
        train: Any,
        test: Any = None,
        *,
        name: str = "mine",
        num_classes: int | None = None,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> "Dataset":
        """A data set of map-style torch data sets, whose items are (tensor, array or PIL image, label).

        Every item is read once: what a transform draws at random stays as it was drawn. The other arguments are those
        of `from_arrays`.

        Raises: ValueError, of one line.
        """
        made = arrays.paired(
            torch_sets.read(train, "train"), None if test is None else torch_sets.read(test, "test"), num_classes
        )
        return cls._made(name, made, test_fraction, seed)

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        test: Any = None,
        *,
        image_column: str = "image",
        label_column: str = "label",
        feature_columns: Sequence[str] = (),
        image_size: int = 0,
        name: str = "mine",
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> "Dataset":
        """A data set of pyarrow Tables (or RecordBatches, or a RecordBatchReader): what `kind = "parquet"` reads.

        Args:
            table: the training rows; without `test`, those held out as well.
            test: the test rows.
            image_column: encoded images; or lists of numbers, which are vectors (nested ones: series, ...).
            label_column: integers or strings; classes are the labels that occur, in sorted order.
            feature_columns: columns of numbers that make up vectors, instead of `image_column`.
            image_size: side in pixels to which images are resized; 0: they keep their size.
            name: shown in reports.
            test_fraction: the share that is held out.
            seed: which examples are held out.

        Raises: ValueError, of one line.
        """
        arrays.check_seed(seed)
        features = (feature_columns,) if isinstance(feature_columns, str) else tuple(feature_columns)
        columns = table_arrays.Columns(image_column, label_column, features, image_size)
        return cls(name, *table_arrays.from_tables(table, test, columns, test_fraction, stream(seed, "data")))

    @classmethod
    def _made(cls, name: str, made: Arrays, test_fraction: float, seed: int) -> "Dataset":
        """The data set of these arrays; without test examples, a share is held out. Raises: ValueError."""
        arrays.check_seed(seed)
        images, labels, test_images, test_labels, num_classes = made
        if test_images is None or test_labels is None:
            arrays.check_share(test_fraction, len(labels))
            test = held_out_share(labels, test_fraction, stream(seed, "data"))
            images, labels, test_images, test_labels = images[~test], labels[~test], images[test], labels[test]
        arrays.check_known(labels, test_labels)
        return cls(name, images, labels, test_images, test_labels, num_classes)


def limit(dataset: Dataset, train_limit: int, test_limit: int, seed: np.random.SeedSequence) -> Dataset:
    """A random subset of the training and test examples, in their original order; a limit of 0 keeps all.

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


def hold_out(dataset: Dataset, num_images: int, seed: np.random.SeedSequence) -> Dataset:
    """Replace the test examples by `num_images` (stratified) training examples; the original ones are dropped.

    Raises:
        ValueError: no training example of some class would be left.
    """
    labels = dataset.train_labels
    if num_images >= len(labels):
        raise ValueError(
            f"data.validation: must be below the {len(labels)} training {noun(dataset.shape)}, got {num_images}; lower "
            "it"
        )
    held_out = stratified_holdout(labels, num_images, np.random.default_rng(seed))
    lost_classes = set(labels.tolist()) - set(labels[~held_out].tolist())
    if lost_classes:
        raise ValueError(
            f"data.validation: must leave a training example of every class, got {num_images} of {len(labels)}, which "
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
    values: UInt8[np.ndarray, "batch *shape"] | Float32[np.ndarray, "batch *shape"],
    mean: Float32[np.ndarray, " channel"],
    std: Float32[np.ndarray, " channel"],
) -> Float32[Tensor, "batch *shape"]:
    """(values - mean) / std per index of axis 1, of pixels (uint8) after division by 255; `values` is not modified."""
    return normalised(pixels_of(values), mean, std)


def pixels_of(
    values: UInt8[np.ndarray, "batch *shape"] | Float32[np.ndarray, "batch *shape"],
) -> Float32[Tensor, "batch *shape"]:
    """The values as floats in memory of their own: of pixels (uint8) divided by 255."""
    tensor = torch.from_numpy(values.astype(np.float32, order="C"))
    return tensor.div_(255) if values.dtype == np.uint8 else tensor


def normalised(
    tensor: Float32[Tensor, "batch *shape"],
    mean: Float32[np.ndarray, " channel"],
    std: Float32[np.ndarray, " channel"],
) -> Float32[Tensor, "batch *shape"]:
    """(values - mean) / std per index of axis 1, which takes the place of the values."""
    given = (torch.from_numpy(array.copy()).to(tensor.device, non_blocking=True) for array in (mean, std))
    centre, scale = (along_channels(values, tensor.ndim) for values in given)
    return tensor.sub_(centre).div_(scale)


def along_channels(values: Float32[Tensor, " channel"], num_axes: int) -> Tensor:
    """A value per channel, broadcast along axis 1 of examples with this number of axes."""
    return values.reshape(-1, *[1] * (num_axes - 2))


def channel_statistics(
    values: UInt8[np.ndarray, "batch *shape"] | Float32[np.ndarray, "batch *shape"],
) -> Normalisation:
    """Mean and standard deviation of each index of axis 1 (of pixels: of pixels / 255); the std of a constant is 1.

    Of uint8 from exact counts, of float32 from sums in double precision, in parts that depend on the shape alone.
    """
    return _of_pixels(values) if values.dtype == np.uint8 else _of_numbers(values)


def _of_pixels(pixels: UInt8[np.ndarray, "batch *shape"]) -> Normalisation:
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


def _of_numbers(values: Float32[np.ndarray, "batch *shape"]) -> Normalisation:
    return statistics_of_parts(lambda first, last: values[first:last], values.shape)


def statistics_of_parts(
    part_of: Callable[[int, int], Float32[np.ndarray, "part *shape"]], shape: tuple[int, ...]
) -> Normalisation:
    """`channel_statistics` of float32 values of this shape that are made a part at a time, from one index to another.

    Every part is asked for twice, and must be the same both times.
    """
    channels, per_channel = shape[1], math.prod(shape[2:])
    step, count = max(1, AT_ONCE // (channels * per_channel)), shape[0] * per_channel
    mean, axes = np.zeros(channels), (0, *range(2, len(shape)))
    sums, low, high = np.zeros((2, channels, per_channel)), np.full(channels, np.inf), np.full(channels, -np.inf)
    for power, total in enumerate(sums):  # first of the values, then of the squares of what is above the mean
        for first in range(0, shape[0], step):
            values = part_of(first, first + step)
            part = values.astype(np.float64, order="C")  # the order of sums must not depend on
            part = part.reshape(-1, channels, per_channel)  # the order of the axes in memory
            total += np.square(part - mean[:, None]).sum(axis=0) if power else part.sum(axis=0)
            low, high = np.minimum(low, values.min(axis=axes)), np.maximum(high, values.max(axis=axes))
        if not power:
            mean = total.sum(axis=1) / count
    low, high = low.astype(np.float32), high.astype(np.float32)
    std = np.sqrt(sums[1].sum(axis=1) / count).astype(np.float32)
    constant = (low == high) | (std == 0)  # the mean of equal values may be off by rounding
    return np.where(constant, low, mean.astype(np.float32)), np.where(constant, np.float32(1), std)
