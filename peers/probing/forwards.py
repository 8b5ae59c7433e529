"""Forward passes over all images of a probe, in chunks that stay in the processor's caches."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

CHUNK = 256  # images that a network gets at once, and at the end up to 15 more
LEAST = 16  # from so many on, convolutions compute each image by the same kernels, hence the same bits
_VALUES = 2**20  # of the first map of the images in a chunk, if only convolutions see them: about the caches' size


def chunk_of(network: nn.Module, num_pixels: int, device: torch.device) -> int:
    """How many images of so many pixels a network gets at once.

    Convolutions are computed image by image, so that a small chunk gives the same bits; products with a matrix of
    weights need not, and a GPU is idle with a small one.
    """
    modules = list(network.modules())
    first = next((module for module in modules if isinstance(module, _ConvNd)), None)
    if first is None or device.type != "cpu" or any(isinstance(module, nn.Linear) for module in modules):
        return CHUNK
    return min(CHUNK, max(LEAST, 1 << (_VALUES // (num_pixels * first.out_channels)).bit_length() >> 1))


def bounds(count: int, chunk: int) -> Iterator[tuple[int, int]]:
    """First and last index (exclusive) of each chunk; fewer than `LEAST` that are left belong to the last one."""
    starts = range(0, max(count - min(chunk, LEAST), 0) + 1, chunk)
    return zip(starts, [*starts[1:], count], strict=True)


def in_chunks(function: Callable[[int, int], Tensor], count: int, chunk: int) -> Float[Tensor, "examples dim"]:
    """The rows that `function` gives for first and last index (exclusive) of each chunk, together."""
    rows: Tensor | None = None
    for start, stop in bounds(count, chunk):
        part = function(start, stop)
        rows = part.new_empty(count, *part.shape[1:]) if rows is None else rows
        rows[start:stop] = part
    assert rows is not None, "there is an image at least"
    return rows
