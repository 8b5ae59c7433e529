"""Sensors: what a peer measures of an image, in an image of the same shape; what it does not measure is 0."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from peers.views.steps import Images, blur_reach, gaussian, grey, resized, size_of

ROUNDING = 1e-6  # above the error of a mean of three numbers in 0..1


def luminance(images: Images) -> Images:
    """The luminance of ITU-R BT.601 in all three channels."""
    return grey(images).expand(images.shape).contiguous()


def chroma(images: Images) -> Images:
    """Each channel less the mean over channels: what is left of an image without its brightness."""
    rest = images - images.mean(dim=1, keepdim=True)
    return rest.masked_fill(rest.abs() < ROUNDING, 0.0)  # a grey pixel has none


def left(images: Images) -> Images:
    """The left half, less the middle column of an odd width."""
    return _columns(images, range(size_of(images)[1] // 2))


def right(images: Images) -> Images:
    """The rest of `left`."""
    return _columns(images, range(size_of(images)[1] // 2, size_of(images)[1]))


def top(images: Images) -> Images:
    """The upper half, less the middle row of an odd height."""
    return _rows(images, range(size_of(images)[0] // 2))


def bottom(images: Images) -> Images:
    """The rest of `top`."""
    return _rows(images, range(size_of(images)[0] // 2, size_of(images)[0]))


def even_rows(images: Images) -> Images:
    """The rows 0, 2, 4, ..."""
    return _rows(images, range(0, size_of(images)[0], 2))


def odd_rows(images: Images) -> Images:
    """The rows 1, 3, 5, ..."""
    return _rows(images, range(1, size_of(images)[0], 2))


def _columns(images: Images, kept: range) -> Images:
    return images.masked_fill(_hidden(images, size_of(images)[1], kept), 0.0)


def _rows(images: Images, kept: range) -> Images:
    return images.masked_fill(_hidden(images, size_of(images)[0], kept)[:, None], 0.0)


def _hidden(images: Images, length: int, kept: range) -> Bool[Tensor, " places"]:
    return torch.tensor([place not in kept for place in range(length)], device=images.device)


SENSORS: dict[str, Callable[[Images], Images]] = {
    "luminance": luminance,
    "chroma": chroma,
    "left": left,
    "right": right,
    "top": top,
    "bottom": bottom,
    "even-rows": even_rows,
    "odd-rows": odd_rows,
}


def noisy(images: Images, sigma: float, rng: np.random.Generator) -> Images:
    """Images with Gaussian noise on every value, of this standard deviation; not clipped."""
    noise: Tensor = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32))
    return images + sigma * noise.to(images.device)


def blurred(images: Images, sigma: float) -> Images:
    """Gaussian blurs of one standard deviation in pixels; borders are reflected."""
    channels, reach = int(images.shape[1]), blur_reach(sigma, size_of(images))
    kernel = gaussian(torch.tensor([sigma], device=images.device), reach).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(images, [reach] * 4, mode="reflect"), kernel, groups=channels)


def low_resolution(images: Images, size: int) -> Images:
    """Images as `size` x `size` pixels see them (bilinear, antialiased), enlarged to their own size."""
    return resized(resized(images, [size, size]), list(size_of(images)))
