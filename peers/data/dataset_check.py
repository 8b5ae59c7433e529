"""Validates data sets from any source, and computes a digest to compare them."""

import hashlib
from dataclasses import fields

import numpy as np

from peers.data.datasets import Dataset
from peers.data.formats.arrays import check_finite
from peers.data.formats.shapes import Shape, noun, require_images, sizes

MAX_NAME = 200


def check(dataset: object) -> None:
    """Check the properties of examples and labels that every part of a run relies on.

    Raises:
        ValueError: an array is of another type, dtype or shape, lengths differ, a number is not finite, or a label is
            not in 0..num_classes - 1.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"dataset: must be a Dataset, got {type(dataset).__name__}; make one: Dataset.from_arrays(images, labels)"
        )
    name = dataset.name
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"dataset: name must be text of 1 to {MAX_NAME} printable characters, got {ascii(name)[:80]}")
    _check_splits(dataset)
    if not isinstance(dataset.num_classes, int):
        raise ValueError(f"dataset: num_classes must be an int, got {dataset.num_classes!r}; convert it")
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= dataset.num_classes:
        raise ValueError(
            f"dataset: labels must be in 0..{dataset.num_classes - 1} for num_classes = {dataset.num_classes}, got "
            f"{low} to {high}; number the classes from 0 (numpy.unique with return_inverse) and drop images without"
        )
    for other in dataset.others.values():
        check(other)


def digest_of(dataset: Dataset) -> bytes:
    """SHA-256 over all images and labels with their shapes and dtypes, and the number of classes, without the name.

    Other data sets that it has count, by their names, if there are any.
    """
    sha = hashlib.sha256(f"num_classes {dataset.num_classes}".encode())
    for field in fields(dataset):
        value = getattr(dataset, field.name)
        if isinstance(value, np.ndarray):
            sha.update(f"{field.name} {value.shape} {value.dtype}".encode())
            sha.update(np.ascontiguousarray(value).data)
    for name, other in sorted(dataset.others.items()):
        sha.update(f"other {name}".encode() + digest_of(other))
    return sha.digest()


def check_settings(shape: Shape, *, flip: bool, layout: str) -> None:
    """Raises: ValueError, if settings that concern images are on, and examples are of another shape."""
    if flip:
        require_images("data.flip: mirrors", shape, "set it to false")
    if layout == "channels-last":
        require_images("hosting.layout: channels-last lays out", shape, "leave it out")


def _check_splits(dataset: Dataset) -> None:
    for split in ("train", "test"):
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        _check_examples(f"{split}_images", images)
        _check_labels(f"{split}_labels", labels)
        if len(images) != len(labels):
            raise ValueError(
                f"dataset: {split}_labels must have a label for each of the {len(images):,} {split} "
                f"{noun(images.shape[1:])}, got {len(labels):,}; drop what has no partner"
            )
    shape, test_shape = dataset.train_images.shape[1:], dataset.test_images.shape[1:]
    if shape != test_shape:
        raise ValueError(
            f"dataset: test_images must be of {sizes(shape)} like the training {noun(shape)}, got {sizes(test_shape)}; "
            "bring them to one size"
        )
    if dataset.train_images.dtype != dataset.test_images.dtype:
        raise ValueError(
            f"dataset: test_images must hold {dataset.train_images.dtype} like train_images, got "
            f"{dataset.test_images.dtype}; convert one of them"
        )


def _check_examples(name: str, array: object) -> None:
    _check_is_array(name, array)
    assert isinstance(array, np.ndarray)
    if array.dtype not in (np.uint8, np.float32) or array.ndim < 2 or not array.size:
        raise ValueError(
            f"dataset: {name} must hold uint8 or float32 on 2 axes or more, got {array.dtype} of shape {array.shape}; "
            "convert it, or use Dataset.from_arrays"
        )
    if array.dtype == np.float32:
        check_finite(array, f"dataset: {name}")


def _check_labels(name: str, array: object) -> None:
    _check_is_array(name, array)
    assert isinstance(array, np.ndarray)
    if array.dtype != np.int64 or array.ndim != 1 or not array.size:
        raise ValueError(
            f"dataset: {name} must hold int64 on 1 axis, got {array.dtype} of shape {array.shape}; convert it"
        )


def _check_is_array(name: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise ValueError(f"dataset: {name} must be a NumPy array, got {type(array).__name__}; convert it")
