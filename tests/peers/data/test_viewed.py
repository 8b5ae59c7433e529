"""The normalisation of what sensors show, and what a network gets in a view's deterministic form."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from peers.data import datasets
from peers.data.datasets import channel_statistics, images_to_tensor
from peers.data.viewed import StillView, statistics_of_view
from peers.views.config import NamedStep
from peers.views.view import View

READ = TypeAdapter(tuple[NamedStep, ...])
PIXELS = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 8), dtype=np.uint8)
FLOATS = (PIXELS / 255).astype(np.float32)


def view(*steps: str) -> View:
    return View(READ.validate_python(steps), 1, 3)


@pytest.mark.parametrize("values", [PIXELS, FLOATS], ids=["pixels", "floats"])
def test_statistics_of_view__without_sensors_those_of_the_channels_bit_for_bit(values: np.ndarray) -> None:
    for seen in (view(), view("flip", "crop")):
        for found, wanted in zip(statistics_of_view(values, seen, 0), channel_statistics(values), strict=True):
            assert np.array_equal(found, wanted) and found.dtype == wanted.dtype


@pytest.mark.parametrize("names", [("luminance",), ("chroma",), ("left",), ("blurred", "noisy")])
def test_statistics_of_view__of_what_the_sensors_show_in_parts_of_any_size(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = view("flip", *names)
    shown = seen.still(torch.from_numpy(FLOATS), 2).double()
    for at_once in (datasets.AT_ONCE, 3 * 6 * 8 * 7):
        monkeypatch.setattr(datasets, "AT_ONCE", at_once)
        mean, std = statistics_of_view(PIXELS, seen, 2)
        np.testing.assert_allclose(mean, shown.mean(dim=(0, 2, 3)), atol=1e-6)
        np.testing.assert_allclose(std, shown.std(dim=(0, 2, 3), correction=0), rtol=1e-5)


def test_statistics_of_view__the_deviation_of_a_constant_is_1() -> None:
    grey = np.repeat(PIXELS[:, :1], 3, axis=1)
    mean, std = statistics_of_view(grey, view("chroma"), 0)
    assert mean.tolist() == [0, 0, 0] and std.tolist() == [1, 1, 1]


def test_still_view__without_sensors_the_bits_of_images_to_tensor() -> None:
    statistics = channel_statistics(PIXELS)
    for seen in (view(), view("flip")):
        assert torch.equal(StillView(seen, 0, statistics)(PIXELS), images_to_tensor(PIXELS, *statistics))


def test_still_view__is_what_the_sensors_show_with_mean_0_and_deviation_1() -> None:
    for names in (("luminance",), ("chroma",), ("left", "noisy")):
        seen = view(*names, "cutout")
        shown = StillView(seen, 1, statistics_of_view(PIXELS, seen, 1))(PIXELS).double()
        assert shown.mean(dim=(0, 2, 3)).abs().max() < 1e-5
        assert (shown.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5
