"""Every step of views against torchvision's functions with the same parameters, image by image."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from peers.views import drawing, sensors, steps

COUNT, HEIGHT, WIDTH = 6, 9, 12
IMAGES = torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def one_by_one(function: Callable[..., Tensor], *parameters: np.ndarray, images: Tensor = IMAGES) -> Tensor:
    """The function of each image alone, with its own parameters."""
    rows = zip(images, *(each.tolist() for each in parameters), strict=True)
    return torch.stack([function(image, *own) for image, *own in rows])


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


def test_crop__as_padding_and_cropping_each() -> None:
    corners = drawing.corners(rng(), COUNT, 3)
    wanted = one_by_one(lambda image, at: reference.crop(reference.pad(image, [3]), *at, HEIGHT, WIDTH), corners)
    assert torch.equal(steps.crop(IMAGES, 3, corners), wanted)
    assert {*drawing.corners(rng(), 400, 1).ravel().tolist()} == {0, 1, 2}


def test_resized_crop__as_torchvisions() -> None:
    boxes = drawing.boxes(rng(), COUNT, (HEIGHT, WIDTH), (0.2, 1.0), (0.75, 4 / 3))
    wanted = one_by_one(lambda image, box: reference.resized_crop(image, *box, size=[HEIGHT, WIDTH]), boxes)
    close(steps.resized_crop(IMAGES, boxes), wanted)


@pytest.mark.parametrize("size", [(9, 12), (32, 32), (3, 40)])
def test_boxes__within_the_image_and_the_bounds(size: tuple[int, int]) -> None:
    height, width = size
    boxes = drawing.boxes(rng(), 500, size, (0.2, 0.45), (0.5, 2.0))
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= size).all() and (boxes[:, 2:] > 0).all()
    if size == (32, 32):  # where all fit; bounds are met up to rounding to whole pixels
        area = boxes[:, 2] * boxes[:, 3] / (height * width)
        ratio = boxes[:, 3] / boxes[:, 2]
        assert area.min() > 0.18 and area.max() < 0.48 and ratio.min() > 0.45 and ratio.max() < 2.2
        assert area.mean() == pytest.approx(0.325, abs=0.01) and np.log(ratio).mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("size", [(9, 12), (3, 40), (40, 3)])
def test_boxes__what_never_fits_is_torchvisions_middle(size: tuple[int, int]) -> None:
    wanted = v2.RandomResizedCrop(4, scale=(2.0, 2.0), ratio=(0.75, 4 / 3)).make_params([torch.zeros(3, *size)])
    (box,) = drawing.boxes(rng(), 1, size, (2.0, 2.0), (0.75, 4 / 3)).tolist()
    assert box == [wanted[name] for name in ("top", "left", "height", "width")]


def test_flip_and_greyscale__the_chosen_ones_alone() -> None:
    chosen = drawing.chosen(rng(), COUNT, 0.5)
    assert 0 < chosen.sum() < COUNT
    wanted = one_by_one(lambda image, yes: reference.horizontal_flip(image) if yes else image, chosen)
    assert torch.equal(steps.flip(IMAGES, chosen), wanted)
    wanted = one_by_one(lambda image, yes: reference.rgb_to_grayscale(image, 3) if yes else image, chosen)
    assert torch.equal(steps.chosen_of(IMAGES, sensors.luminance(IMAGES), chosen), wanted)
    assert drawing.chosen(rng(), 4000, 0.2).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter__as_torchvisions(name: str, channels: int) -> None:
    centre, most = (0.0, 0.3) if name == "hue" else (1.0, 0.6)
    factors = drawing.factors(rng(), COUNT, centre, most)
    assert (np.abs(factors - centre) <= most).all() and np.unique(factors).size == COUNT
    images = IMAGES[:, :channels]
    if channels == 1 and name in ("saturation", "hue"):
        pytest.skip("refused for one channel")
    wanted = one_by_one(getattr(reference, f"adjust_{name}"), factors, images=images)
    close(getattr(steps, name)(images, factors), wanted)


def test_cutout__as_erasing_what_lies_in_the_image() -> None:
    centres = np.array([[0, 0], [8, 11], [4, 5], [0, 11], [3, 1], [8, 0]])

    def erased(image: Tensor, centre: list[int]) -> Tensor:
        top, left = (max(0, at - 2) for at in centre)
        bottom, right = min(HEIGHT, centre[0] + 3), min(WIDTH, centre[1] + 3)
        return reference.erase(image, top, left, bottom - top, right - left, torch.tensor(0.0))

    assert torch.equal(steps.cutout(IMAGES, 5, centres), one_by_one(erased, centres))
    assert (steps.cutout(IMAGES, 4, centres[2:3].repeat(COUNT, 0)) == 0).sum() == COUNT * 3 * 16
    assert drawing.pixels(rng(), 500, (HEIGHT, WIDTH)).max(axis=0).tolist() == [HEIGHT - 1, WIDTH - 1]


def test_blur__as_torchvisions() -> None:
    widths = rng().uniform(0.1, 1.5, COUNT)
    reach = steps.blur_reach(1.5, (HEIGHT, WIDTH))
    assert reach == 5 and steps.blur_reach(9.0, (HEIGHT, WIDTH)) == HEIGHT - 1
    side = [2 * reach + 1] * 2
    wanted = one_by_one(lambda image, sigma: reference.gaussian_blur(image, side, [sigma]), widths)
    close(steps.blur(IMAGES, widths, 1.5), wanted)


# ---- sensors ----


def test_luminance__as_torchvisions_in_all_channels() -> None:
    assert torch.equal(sensors.luminance(IMAGES), reference.rgb_to_grayscale(IMAGES, 3))


def test_chroma__has_no_mean_over_channels_and_adds_up_with_it() -> None:
    chroma = sensors.chroma(IMAGES)
    close(chroma.mean(dim=1), torch.zeros(COUNT, HEIGHT, WIDTH))
    close(chroma + IMAGES.mean(dim=1, keepdim=True), IMAGES)
    assert not sensors.chroma(IMAGES[:, :1].expand(-1, 3, -1, -1)).any()  # exactly


@pytest.mark.parametrize("pair", [("left", "right"), ("top", "bottom"), ("even-rows", "odd-rows")])
@pytest.mark.parametrize("size", [(9, 12), (8, 7), (2, 2)])
def test_halves__do_not_overlap_and_add_up_to_the_image(pair: tuple[str, str], size: tuple[int, int]) -> None:
    images = IMAGES[:, :, : size[0], : size[1]] + 0.1
    one, other = (sensors.SENSORS[name](images) for name in pair)
    assert torch.equal(one + other, images)
    assert not ((one != 0) & (other != 0)).any() and one.any() and other.any()


def test_halves__are_where_they_are_called() -> None:
    names = ("left", "top", "even-rows")
    left, top, even = (sensors.SENSORS[name](IMAGES + 0.1) != 0 for name in names)
    assert left[..., :6].all() and not left[..., 6:].any()
    assert top[..., :4, :].all() and not top[..., 4:, :].any()
    assert even[..., ::2, :].all() and not even[..., 1::2, :].any()


def test_blurred_and_low_resolution__as_torchvisions() -> None:
    close(sensors.blurred(IMAGES, 1.2), reference.gaussian_blur(IMAGES, [9, 9], [1.2]))
    small = reference.resize(IMAGES, [4, 4], antialias=True)
    close(sensors.low_resolution(IMAGES, 4), reference.resize(small, [HEIGHT, WIDTH], antialias=True))


def test_noisy__gaussian_of_its_deviation_and_not_clipped() -> None:
    noise = sensors.noisy(torch.zeros(40, 3, 16, 16), 0.3, rng())
    assert noise.mean().item() == pytest.approx(0, abs=0.01) and noise.std().item() == pytest.approx(0.3, rel=0.02)
