"""Views that do not suit the images are refused in one line, which names the key."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from peers.views.checks import check_view
from peers.views.config import NamedStep

READ = TypeAdapter(tuple[NamedStep, ...])
COLOUR, GREY = (3, 8, 10), (1, 8, 10)


def check(steps: list[Any], shape: tuple[int, ...]) -> None:
    check_view(READ.validate_python(steps), shape, "peers.groups[1].view")


@pytest.mark.parametrize(
    ("steps", "shape", "line"),
    [
        (["flip"], (13,), "needs images (channel x height x width), got examples of 13; leave it out"),
        (["flip"], (1, 4, 4, 4), "needs images (channel x height x width), got examples of 1x4x4x4"),
        (["luminance"], GREY, "'luminance' needs colour images of 3 channels, got 1; leave it out"),
        (["chroma"], GREY, "'chroma' needs colour images of 3 channels, got 1; leave it out"),
        (["greyscale"], GREY, "'greyscale' needs colour images of 3 channels, got 1; leave it out"),
        ([{"kind": "colour-jitter", "hue": 0.1}], GREY, "'colour-jitter' with saturation or hue needs colour images"),
        (
            [{"kind": "colour-jitter", "contrast": 0.1}],
            (2, 8, 8),
            "'colour-jitter' with contrast needs images of 1 or",
        ),
        (["left"], (3, 8, 1), "'left' leaves no pixel of images of 1x8 pixels; leave it out"),
        (["odd-rows"], (3, 1, 8), "'odd-rows' leaves no pixel of images of 8x1 pixels; leave it out"),
        (["top"], (3, 1, 8), "'top' leaves no pixel of images of 8x1 pixels; leave it out"),
        (["low-resolution"], COLOUR, "'low-resolution' must have a size below the images' 8 pixels, got 8; lower it"),
        ([{"kind": "cutout", "size": 8}], COLOUR, "'cutout' must have a size below the images' 8 pixels, got 8"),
        ([{"kind": "crop", "padding": 8}], COLOUR, "'crop' must have a padding below the images' 8 pixels, got 8"),
        (["blurred"], (3, 1, 8), "'blurred' changes nothing in images of 8x1 pixels; leave it out"),
        (["luminance", "chroma"], COLOUR, "'luminance' and 'chroma' leave nothing of an image together; keep one"),
        (["chroma", "luminance"], COLOUR, "'luminance' and 'chroma' leave nothing of an image together; keep one"),
        (["greyscale", "chroma"], COLOUR, "'greyscale' and 'chroma' leave nothing of an image together; keep one"),
        (["right", "flip", "left"], COLOUR, "'left' and 'right' leave nothing of an image together; keep one of them"),
        (["flip", "left"], COLOUR, "'flip' before 'left' moves pixels into the part that is seen; put it after"),
        (["crop", "luminance", "top"], COLOUR, "'crop' before 'top' moves pixels into the part that is seen"),
        (["blurred", "odd-rows"], COLOUR, "'blurred' before 'odd-rows' moves pixels into the part that is seen"),
        (["chroma", "colour-jitter"], COLOUR, "'colour-jitter' clips values to 0..1, and 'chroma' before it makes"),
        (
            ["noisy", "colour-jitter"],
            COLOUR,
            "'colour-jitter' clips values to 0..1, and 'noisy' before it makes",
        ),
    ],
)
def test_check_view__one_line(steps: list[Any], shape: tuple[int, ...], line: str) -> None:
    with pytest.raises(ValueError) as error:
        check(steps, shape)
    assert str(error.value).startswith(f"peers.groups[1].view: {line}") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        ([], (13,)),
        (["colour-jitter", "flip", "crop", "chroma"], COLOUR),
        ([{"kind": "colour-jitter", "contrast": 0.2}, "left", "noisy", "blurred"], GREY),
        (["even-rows", "resized-crop", "blur", {"kind": "low-resolution", "size": 7}], (2, 8, 10)),
        ([{"kind": "cutout", "size": 7}, {"kind": "crop", "padding": 7}], COLOUR),
        (["left"], (3, 8, 2)),
    ],
)
def test_check_view__what_suits_passes(steps: list[Any], shape: tuple[int, ...]) -> None:
    check(steps, shape)


@pytest.mark.parametrize("sigma", [1e308, 1e3, 1e-3, 1e-320])
@pytest.mark.parametrize("kind", ["blurred", "blur"])
def test_blurs__of_any_width_that_is_taken_give_finite_images(kind: str, sigma: float) -> None:
    """Beyond, three times the largest width is infinite in float64, and the least is 0 in float32."""
    given = {"kind": kind, "sigma": sigma if kind == "blurred" else [sigma, sigma]}
    images = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    if not 1e-3 <= sigma <= 1e3:
        with pytest.raises(ValidationError, match="equal to 0.001" if sigma < 1 else "equal to 1000"):
            READ.validate_python([given])
        return
    (step,) = READ.validate_python([given])
    assert bool(step(images, np.random.default_rng(0)).isfinite().all())
