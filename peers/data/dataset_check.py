"""Validates data sets from any source, and computes a digest to compare them."""

import hashlib
from dataclasses import fields

import numpy as np

from peers.data.datasets import Dataset

MAX_NAME = 200


def check(dataset: object) -> None:
    """Check the properties of images and labels that every part of a run relies on.

    Raises:
        ValueError: an array is of another type, dtype or shape, lengths differ, or a label is not in
            0..num_classes - 1.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f"dataset: must be a peers.data.datasets.Dataset, got {type(dataset).__name__}; make one")
    name = dataset.name
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"dataset: name must be text of 1 to {MAX_NAME} printable characters, got {ascii(name)[:80]}")
    for split in ("train", "test"):
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        _check_array(f"{split}_images", images, np.uint8, 4)
        _check_array(f"{split}_labels", labels, np.int64, 1)
        if len(images) != len(labels):
            raise ValueError(
                f"dataset: {split}_labels must have a label for each of the {len(images):,} {split} images, got "
                f"{len(labels):,}; drop what has no partner"
            )
    shape, test_shape = dataset.train_images.shape[1:], dataset.test_images.shape[1:]
    if shape != test_shape:
        raise ValueError(
            f"dataset: test_images must be of {'x'.join(map(str, shape))} like the training images, got "
            f"{'x'.join(map(str, test_shape))}; bring them to one size"
        )
    if not isinstance(dataset.num_classes, int):
        raise ValueError(f"dataset: num_classes must be an int, got {dataset.num_classes!r}; convert it")
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= dataset.num_classes:
        raise ValueError(
            f"dataset: labels must be in 0..{dataset.num_classes - 1} for num_classes = {dataset.num_classes}, got "
            f"{low} to {high}; number the classes from 0 (numpy.unique with return_inverse) and drop images without"
        )


def digest_of(dataset: Dataset) -> bytes:
    """SHA-256 over all images and labels with their shapes and dtypes, and the number of classes, without the name."""
    sha = hashlib.sha256(f"num_classes {dataset.num_classes}".encode())
    for field in fields(dataset):
        value = getattr(dataset, field.name)
        if isinstance(value, np.ndarray):
            sha.update(f"{field.name} {value.shape} {value.dtype}".encode())
            sha.update(np.ascontiguousarray(value).data)
    return sha.digest()


def _check_array(name: str, array: object, dtype: type, axes: int) -> None:
    if not isinstance(array, np.ndarray):
        raise ValueError(f"dataset: {name} must be a NumPy array, got {type(array).__name__}; convert it")
    if array.dtype != dtype or array.ndim != axes or not array.size:
        wanted = f"{np.dtype(dtype)} on {axes} {'axes' if axes > 1 else 'axis'}"
        raise ValueError(f"dataset: {name} must hold {wanted}, got {array.dtype} of shape {array.shape}; convert it")
