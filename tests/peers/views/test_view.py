"""What a view draws is a function of seed, peer, batch and number; what probes get, of the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from peers.base.brought_errors import BroughtError
from peers.base.section import examples
from peers.base.seeds import stream
from peers.views import own_steps
from peers.views.config import AnyStep, ImportedStep, NamedStep, NoisySensor, Sensor
from peers.views.section import Step
from peers.views.view import View

READ = TypeAdapter(tuple[NamedStep, ...])
PIXELS = torch.rand(5, 3, 9, 10, generator=torch.Generator().manual_seed(0))
RANDOM: list[Any] = [
    "crop",
    "resized-crop",
    "flip",
    {"kind": "colour-jitter", "hue": 0.1},
    "greyscale",
    "cutout",
    "blur",
]
SENSORS = ["luminance", "chroma", "left", "right", "top", "bottom", "even-rows", "odd-rows", "blurred"]


def view(*steps: Any, seed: int = 1, peers: int = 4, shared: bool = False) -> View:
    return View(READ.validate_python(steps), seed, peers, shared)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 3))
def test_draw__pure_in_seed_peer_batch_and_number(seed: int, peer: int, batch: int, number: int) -> None:
    steps = ("flip", "cutout", "noisy")
    seen, before = view(*steps, seed=seed), PIXELS.clone()
    first = seen.draw(PIXELS, peer, batch, number)
    seen.draw(PIXELS, (peer + 1) % 4, batch, number)
    assert torch.equal(seen.draw(PIXELS, peer, batch, number), first)
    assert torch.equal(view(*steps, seed=seed).draw(PIXELS, peer, batch, number), first)
    others = [(peer ^ 1, batch, number), (peer, batch + 1, number), (peer, batch, number ^ 1)]
    assert not any(torch.equal(seen.draw(PIXELS, *other), first) for other in others)
    assert not torch.equal(view(*steps, seed=seed + 1).draw(PIXELS, peer, batch, number), first)
    assert torch.equal(PIXELS, before)


@pytest.mark.parametrize("step", examples(AnyStep), ids=lambda step: step.name)
def test_draw__keeps_shape_and_dtype_and_the_pixels_it_is_given(step: Step) -> None:
    before = PIXELS.clone()
    seen = View([step], 1, 2)
    for found in (seen.draw(PIXELS, 0, 0, 0), seen.still(PIXELS, 0)):
        assert found.shape == PIXELS.shape and found.dtype == torch.float32 and found.is_contiguous()
    assert torch.equal(PIXELS, before)


@pytest.mark.parametrize("step", RANDOM, ids=str)
def test_draw__joint_steps_are_the_same_for_all_peers_and_others_are_not(step: Any) -> None:
    table = {"kind": step} if isinstance(step, str) else step

    def seen_by(seen: View) -> list[Tensor]:
        return [torch.cat([seen.draw(PIXELS, peer, batch, 0) for batch in range(4)]) for peer in (0, 1)]

    for same, seen in (
        (True, view({**table, "joint": True})),
        (True, view(table, shared=True)),
        (False, view(table)),
    ):
        one, other = seen_by(seen)
        assert torch.equal(one, other) is same and seen.same_for_all is same
        assert not torch.equal(one[:5], one[5:10])  # another batch


def test_draw__a_step_draws_by_its_place_and_not_by_what_is_before_it() -> None:
    """The stream of a step is that of the contract; the oracle is the step alone with that generator."""
    seen = view("flip", {"kind": "noisy", "sigma": 0.1})
    flipped, noisy = seen.steps
    wanted = flipped(PIXELS, np.random.default_rng(stream(1, "views", 2, 7, 1, 0)))
    wanted = noisy(wanted, np.random.default_rng(stream(1, "views", 2, 7, 1, 1)))
    assert torch.equal(seen.draw(PIXELS, 2, 7, 1), wanted)
    joint = view("flip", {"kind": "crop", "joint": True})
    wanted = flipped(PIXELS, np.random.default_rng(stream(1, "views", 2, 7, 0, 0)))
    wanted = joint.steps[1](wanted, np.random.default_rng(stream(1, "views", 4, 7, 0, 1)))
    assert torch.equal(joint.draw(PIXELS, 2, 7, 0), wanted)


# ---- the deterministic form ----


@pytest.mark.parametrize("name", SENSORS)
def test_still__sensors_alone(name: str) -> None:
    seen = view(*RANDOM[:4], name)
    assert torch.equal(seen.still(PIXELS, 0), view(name).draw(PIXELS, 3, 9, 1))
    assert [step.name for step in seen.still_steps] == [name] and view(name).same_for_all
    assert torch.equal(view(*RANDOM).still(PIXELS, 0), PIXELS) and view(*RANDOM).still_steps == ()


@settings(deadline=None)
@given(st.integers(1, 4), st.booleans())
def test_still__noise_is_of_the_image_and_the_peer_whatever_the_chunks(cut: int, shared: bool) -> None:
    seen = view("flip", "noisy", shared=shared)
    whole = seen.still(PIXELS, 0, 10)
    parts = [seen.still(PIXELS[:cut], 0, 10), seen.still(PIXELS[cut:], 0, 10 + cut)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(seen.still(PIXELS, 1, 10), whole) is shared
    assert not torch.equal(seen.still(PIXELS, 0, 11), whole)
    assert not torch.equal(seen.draw(PIXELS, 0, 10, 0), whole)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 3), st.integers(0, 100))
def test_leak__a_peer_that_sees_the_left_half_is_untouched_by_the_right(peer: int, batch: int) -> None:
    """Whatever steps come after the sensor, which may move pixels from one half to the other."""
    others = PIXELS.clone()
    others[..., 5:] = torch.rand(5, 3, 9, 5, generator=torch.Generator().manual_seed(batch))
    left, right = view("left", *RANDOM, "blurred"), view("right", *RANDOM, "blurred")
    assert torch.equal(left.draw(PIXELS, peer, batch, 0), left.draw(others, peer, batch, 0))
    assert torch.equal(left.still(PIXELS, peer), left.still(others, peer))
    assert not torch.equal(right.draw(PIXELS, peer, batch, 0), right.draw(others, peer, batch, 0))


# ---- as settings, as JSON ----


def test_from_json__sees_the_same() -> None:
    seen = view("noisy", {"kind": "crop", "padding": 2, "joint": True}, "left", seed=2**40, shared=False)
    again = View.from_json(seen.to_json() | {"peer": 3})
    assert again.steps == seen.steps
    assert torch.equal(again.draw(PIXELS, 1, 2, 0), seen.draw(PIXELS, 1, 2, 0))
    assert torch.equal(again.still(PIXELS, 1), seen.still(PIXELS, 1))


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            {"kind": "resized-crop", "scale": [0.5, 0.1]},
            "scale must be [least, largest], got [0.5, 0.1]: put them in order",
        ),
        ({"kind": "resized-crop", "scale": [0.5, 1.5]}, "less than or equal to 1"),
        ({"kind": "resized-crop", "ratio": [0, 1]}, "greater than or equal to 0.001"),
        ({"kind": "resized-crop", "ratio": [2, 1]}, "ratio must be"),
        ({"kind": "blur", "sigma": [2, 1]}, "sigma must be"),
        ({"kind": "colour-jitter", "brightness": 0}, "changes nothing"),
        ({"kind": "crop", "padding": 0}, "greater than or equal to 1"),
        ({"kind": "flip", "probability": 0}, "greater than 0"),
    ],
)
def test_settings__what_means_nothing_is_refused(step: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as error:
        READ.validate_python([step])
    assert line in str(error.value)


# ---- steps of the user's own ----


def darker(images: Tensor, rng: np.random.Generator) -> Tensor:
    return images * float(rng.random())


def edges(images: Tensor) -> Tensor:
    return images - images.roll(1, -1)


def test_imported__functions_modules_and_classes() -> None:
    here = __name__
    own = view({"kind": "import", "target": f"{here}:darker"})
    assert not torch.equal(own.draw(PIXELS, 0, 0, 0), own.draw(PIXELS, 1, 0, 0))
    assert torch.equal(own.still(PIXELS, 0), PIXELS)
    sensor = view({"kind": "import", "target": f"{here}:edges", "sensor": True})
    assert torch.equal(sensor.still(PIXELS, 0), edges(PIXELS)) and sensor.same_for_all
    erasing = {"kind": "import", "target": "torchvision.transforms.v2:RandomErasing", "args": {"p": 1.0}}
    state = torch.get_rng_state()
    first = view(erasing).draw(PIXELS, 0, 0, 0)
    assert torch.equal(view(erasing).draw(PIXELS, 0, 0, 0), first) and (first == 0).any()
    assert not torch.equal(view(erasing).draw(PIXELS, 0, 1, 0), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda images: images.numpy(), "must return a tensor of images, got a ndarray: return that"),
        (lambda images: images[:, :1], "must return 5x3x9x10 values in float32, as it gets, got 5x1x9x10 in float32"),
        (lambda images: images.double(), "in float64: keep shape and dtype"),
        (lambda images: images / 0, "must return finite values"),
        (lambda images: images.nothing(), "raised AttributeError"),
    ],
)
def test_imported__what_it_returns_is_checked(function: Callable[[Tensor], Any], line: str) -> None:
    with pytest.raises(BroughtError) as error:
        own_steps.apply("peers.view 'mine:step'", function, PIXELS, np.random.default_rng(0))
    assert str(error.value).startswith("peers.view 'mine:step': ") and line in str(error.value)


def test_imported__may_not_change_what_it_gets() -> None:
    before = PIXELS.clone()
    own_steps.apply("mine", lambda images: images.zero_(), PIXELS, np.random.default_rng(0))
    assert torch.equal(PIXELS, before)


def test_steps__equal_settings_are_equal_views() -> None:
    assert view("left", "noisy").steps == (Sensor(kind="left"), NoisySensor())
    assert hash(READ.validate_python(["flip", "left"])) == hash(READ.validate_python([{"kind": "flip"}, "left"]))
    assert hash(ImportedStep.example()) == hash(ImportedStep(target="torch.nn:ReLU"))


def test_imported__a_sensor_that_takes_a_generator_is_refused() -> None:
    """It would be kept where peers are probed, and there it must give always the same."""
    step = {"kind": "import", "target": f"{__name__}:darker", "sensor": True}
    with pytest.raises(BroughtError, match=r"darker': takes a generator, but a step with sensor = true draws nothing"):
        view(step).still(PIXELS, 0)


def test_imported__a_step_that_cannot_be_called_is_told_what_it_gets() -> None:
    with pytest.raises(BroughtError, match=r"must take \(images\), or \(images, rng\), but takes \(\w+, \w+, \w+"):
        view({"kind": "import", "target": "peers.views.steps:chosen_of"}).draw(PIXELS, 0, 0, 0)
