"""Other data sets beside a run's own: public images, and what the teachers of the control irrelevant learn from."""

from dataclasses import replace

import numpy as np

from peers.data.datasets import Dataset
from peers.data.formats.shapes import noun, sizes

COLOURS = 3
IMAGE_AXES = 3  # channel, height, width


def fitted(other: Dataset, dataset: Dataset, section: str) -> Dataset:
    """The other data set with examples of the run's shape and dtype; of grey images the channel is repeated.

    section: the section that names it. Raises: ValueError, of one line, if its examples have another form.
    """
    images = len(dataset.shape) == len(other.shape) == IMAGE_AXES
    if images and (other.shape[0], dataset.shape[0]) == (1, COLOURS):
        other = replace(other, train_images=_in_colour(other.train_images), test_images=_in_colour(other.test_images))
    shape, dtype = other.shape, other.train_images.dtype
    if shape != dataset.shape:
        size = f"set {section}.image_size, or " if images else ""
        raise ValueError(
            f"{section}: its {noun(shape)} must be of {sizes(dataset.shape)} like those of data, got {sizes(shape)}: "
            f"{size}name another data set"
        )
    if dtype != dataset.train_images.dtype:
        raise ValueError(
            f"{section}: its {noun(shape)} must hold {dataset.train_images.dtype} like those of data, got {dtype}: "
            "convert one of them"
        )
    return other


def _in_colour(images: np.ndarray) -> np.ndarray:
    """Grey images with their channel repeated."""
    return np.repeat(images, COLOURS, axis=1)
