"""Resizes the images of any data set."""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from peers.data.datasets import Dataset
from peers.data.formats.decoding import DECODING_BYTES, channels_first, resize
from peers.data.formats.images import require_memory
from peers.data.formats.shapes import described


def resize_dataset(dataset: Dataset, size: int) -> Dataset:
    """The data set with all images resized as those of files are; size 0: the data set itself.

    Raises: ValueError, if it has no images of 8 bits, or if the resized ones do not fit into memory.
    """
    if not size:
        return dataset
    shape = dataset.shape
    if len(shape) != 3 or shape[0] not in (1, 3) or dataset.train_images.dtype != np.uint8:
        raise ValueError(
            f"data.image_size: resizes images of 8 bits in grey or RGB, got {dataset.train_images.dtype} "
            f"{described(shape)}; set it to 0"
        )
    channels, height, width = shape
    if (height, width) == (size, size):
        return dataset
    count = len(dataset.train_images) + len(dataset.test_images)
    advice = "lower data.image_size, or set data.train_limit and data.test_limit"
    require_memory(count, channels, (size, size), DECODING_BYTES * max(height * width, size * size), advice)
    train, test = (_resize_all(split, size) for split in (dataset.train_images, dataset.test_images))
    return replace(dataset, train_images=train, test_images=test)


def _resize_all(
    images: UInt8[np.ndarray, "rows channel height width"], size: int
) -> UInt8[np.ndarray, "rows channel size size"]:
    """Images of one channel (greyscale) or three (RGB), each resized."""
    resized = np.empty((*images.shape[:2], size, size), dtype=np.uint8)
    for position, pixels in enumerate(images):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        resized[position] = channels_first(resize(image, size))
    return resized
