"""The random steps of views as functions of images and of what was drawn, equal to torchvision's of each image.

Images are float [batch, channels, height, width]; parameters are arrays with an entry for each image.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "batch channels height width"]

GREY = (0.2989, 0.587, 0.114)  # red, green and blue in the luminance of ITU-R BT.601, as torchvision rounds them


def grey(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """The luminance of images of 3 channels; those of one channel are their own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(dim=1)
    return red.mul(GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).unsqueeze(1)


def size_of(images: Images) -> tuple[int, int]:
    """Height and width, as plain numbers also where torch traces."""
    return int(images.shape[-2]), int(images.shape[-1])


def per_image(values: np.ndarray, images: Images) -> Float[Tensor, "batch 1 1 1"]:
    """A number for each image, on the images' device."""
    return torch.from_numpy(values).to(images.device, images.dtype)[:, None, None, None]


def chosen_of(images: Images, changed: Images, chosen: Bool[np.ndarray, " batch"]) -> Images:
    """The changed ones of the chosen images, the others as they are."""
    return torch.where(torch.from_numpy(chosen).to(images.device)[:, None, None, None], changed, images)


def crop(images: Images, padding: int, corners: Int64[np.ndarray, "batch 2"]) -> Images:
    """Crops of the images' own size, with these top left corners in the images padded by zeros."""
    batch, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    top, left = torch.from_numpy(corners).to(images.device).unbind(dim=1)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    every = torch.arange(batch, device=images.device)[:, None, None]
    return padded.movedim(1, -1)[every, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()


def resized_crop(images: Images, boxes: Int64[np.ndarray, "batch 4"]) -> Images:
    """The parts at (top, left, height, width), resized to the images' own size: bilinear, with antialiasing."""
    size = list(size_of(images))
    parts = (
        image[:, top : top + height, left : left + width].unsqueeze(0)
        for image, (top, left, height, width) in zip(images, boxes.tolist(), strict=True)
    )
    return torch.cat([resized(part, size) for part in parts])


def resized(images: Images, size: list[int]) -> Float[Tensor, "batch channels new_height new_width"]:
    """The images in another (height, width): bilinear, with antialiasing."""
    if list(size_of(images)) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def flip(images: Images, chosen: Bool[np.ndarray, " batch"]) -> Images:
    """The chosen images mirrored, left to right."""
    return chosen_of(images, images.flip(-1), chosen)


def brightness(images: Images, factors: Float[np.ndarray, " batch"]) -> Images:
    """The images times their factors, clipped to 0..1."""
    return images.mul(per_image(factors, images)).clamp_(0, 1)


def contrast(images: Images, factors: Float[np.ndarray, " batch"]) -> Images:
    """The differences from each image's mean luminance times its factor, clipped to 0..1."""
    return _blend(images, grey(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def saturation(images: Images, factors: Float[np.ndarray, " batch"]) -> Images:
    """The differences from each pixel's luminance times the image's factor, clipped to 0..1."""
    return _blend(images, grey(images), factors)


def _blend(images: Images, other: Tensor, factors: Float[np.ndarray, " batch"]) -> Images:
    share = per_image(factors, images)
    return images.mul(share).add_(other * (1 - share)).clamp_(0, 1)


def hue(images: Images, shifts: Float[np.ndarray, " batch"]) -> Images:
    """Each image's hue shifted by so many turns of the colour circle."""
    from torchvision.transforms.v2 import functional  # imported here because it costs 160 MiB and a second

    changed = [functional.adjust_hue(image, shift) for image, shift in zip(images, shifts.tolist(), strict=True)]
    return torch.stack(changed)


def cutout(images: Images, size: int, centres: Int64[np.ndarray, "batch 2"]) -> Images:
    """Zeros in a square of this side around each image's centre, as far as it lies in the image."""
    first = torch.from_numpy(centres - size // 2).to(images.device)
    inside = []
    for axis, length in enumerate(images.shape[-2:]):
        places = torch.arange(length, device=images.device)
        start = first[:, axis, None]
        inside.append((places >= start) & (places < start + size))
    hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hidden, 0.0)


def blur(images: Images, sigmas: Float[np.ndarray, " batch"], largest: float) -> Images:
    """Gaussian blurs of these standard deviations in pixels; borders are reflected.

    largest: the kernel reaches three of these, or as far as the image does.
    """
    batch, channels, height, width = images.shape
    reach = blur_reach(largest, (height, width))
    kernels = gaussian(torch.from_numpy(sigmas).to(images.device, torch.float32), reach)
    kernels = kernels.repeat_interleave(channels, dim=0)
    padded = F.pad(images, [reach] * 4, mode="reflect").reshape(1, batch * channels, height + 2 * reach, -1)
    return F.conv2d(padded, kernels, groups=batch * channels).reshape(images.shape)


def gaussian(sigmas: Float[Tensor, " kernels"], reach: int) -> Float[Tensor, "kernels 1 side side"]:
    """Gaussian kernels of these standard deviations, as far as `reach` pixels from the middle, that sum to 1."""
    places = torch.linspace(-reach, reach, 2 * reach + 1, device=sigmas.device) / math.sqrt(2)
    lines = torch.softmax(places.div(sigmas[:, None]).square().neg(), dim=1)
    return (lines[:, :, None] * lines[:, None, :])[:, None]


def blur_reach(largest: float, size: tuple[int, ...]) -> int:
    """How many pixels a blur's kernel reaches to each side."""
    return min(math.ceil(3 * largest), min(size) - 1)
