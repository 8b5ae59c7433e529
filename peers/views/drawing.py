"""What random steps draw, for each image of a batch: how many numbers are drawn depends on its size alone."""

import numpy as np
from jaxtyping import Bool, Float, Int64

TRIES = 10  # draws of a part's area and shape, until one lies within the image

Size = tuple[int, ...]  # height and width


def chosen(rng: np.random.Generator, count: int, probability: float) -> Bool[np.ndarray, " batch"]:
    """Which images a step is applied to."""
    return rng.random(count) < probability


def factors(rng: np.random.Generator, count: int, centre: float, most: float) -> Float[np.ndarray, " batch"]:
    """Numbers from `centre - most` to `centre + most`."""
    return rng.uniform(centre - most, centre + most, count)


def corners(rng: np.random.Generator, count: int, padding: int) -> Int64[np.ndarray, "batch 2"]:
    """Top and left corner, in the padded image, of a crop of the image's own size."""
    return rng.integers(0, 2 * padding + 1, (count, 2))


def pixels(rng: np.random.Generator, count: int, size: Size) -> Int64[np.ndarray, "batch 2"]:
    """Row and column of a pixel in an image of `size`."""
    return rng.integers(0, size, (count, 2))


def boxes(
    rng: np.random.Generator, count: int, size: Size, scale: tuple[float, float], ratio: tuple[float, float]
) -> Int64[np.ndarray, "batch 4"]:
    """Top, left, height and width of a part with an area and a shape within these bounds.

    As torchvision's RandomResizedCrop: the logarithm of width over height is uniform; after 10 tries that do not fit
    into the image, the largest part in its middle whose shape is within the bounds.
    """
    height, width = size
    area = height * width * rng.uniform(*scale, (count, TRIES))
    shape = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), (count, TRIES)))
    widths = np.rint(np.sqrt(area * shape)).astype(np.int64)
    heights = np.rint(np.sqrt(area / shape)).astype(np.int64)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, every = fits.argmax(axis=1), np.arange(count)
    middle = largest_within(size, ratio)
    fitting = fits.any(axis=1)
    parts_height = np.where(fitting, heights[every, first], middle[0])
    parts_width = np.where(fitting, widths[every, first], middle[1])
    places = rng.random((count, 2))
    top = np.where(fitting, places[:, 0] * (height - parts_height + 1), (height - parts_height) // 2)
    left = np.where(fitting, places[:, 1] * (width - parts_width + 1), (width - parts_width) // 2)
    found: Int64[np.ndarray, "batch 4"] = np.stack([top, left, parts_height, parts_width], axis=1).astype(np.int64)
    return found


def largest_within(size: Size, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest part of an image whose width over height is within these bounds."""
    height, width = size
    if width / height < ratio[0]:
        return max(1, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, max(1, round(height * ratio[1]))
    return height, width
