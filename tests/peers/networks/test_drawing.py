"""Draws from generators of their own, one within the other, and never from torch's global one."""

import contextlib
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, wrap_torch_function

from peers.networks import drawing
from peers.networks.drawing import OwnGenerator
from peers.networks.network import blank_pass
from peers.networks.variants import MLP, ResNet18, SmallCNN, TorchvisionModel


def some() -> list[Tensor]:
    """Functions that take a generator, and such that do not."""
    return [torch.rand(3), nn.Linear(3, 2).weight.detach(), nn.functional.dropout(torch.ones(8)), torch.randperm(5)]


def plainly(seed: int) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return some()


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


class Watched(TorchFunctionMode):
    """Which of torch's functions were called, and which of them changed the state of its global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()
        self.drew: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = torch.get_rng_state()
        made = func(*args, **(kwargs or {}))
        self.called.add(func.__name__)
        if not torch.equal(torch.get_rng_state(), before):
            self.drew.add(func.__name__)
        return made


KINDS = [
    SmallCNN(),
    MLP(),
    ResNet18(),
    TorchvisionModel(name="convnext_tiny"),
    TorchvisionModel(name="shufflenet_v2_x0_5"),
]


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: getattr(kind, "name", kind.kind))
def test_seeded__draws_what_torch_would_after_manual_seed(kind: Any, norm: Any) -> None:
    """Also in forward passes, and with functions that are passed on since they draw nothing."""

    def values() -> list[Tensor]:
        network = nn.Sequential(kind.build((3, 32, 32), norm), nn.Dropout())
        with torch.no_grad():
            return [*network.state_dict().values(), network(torch.ones(4, 3, 32, 32)), blank_pass(network, (3, 32, 32))]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        with Watched() as watched:
            expected = values()
    assert equal(drawing.seeded(values, 3), expected)
    assert watched.drew & drawing.DRAW_NOTHING == set()
    assert {"zeros", "__get__"} <= watched.called & drawing.DRAW_NOTHING and "dropout" in watched.drew


def test_seeded__within_another_changes_neither() -> None:
    before = torch.get_rng_state()

    def outer() -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return some(), drawing.seeded(some, 2), some()

    first, inner, second = drawing.seeded(outer, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert equal(first, some()) and equal(second, some())
    assert equal(inner, plainly(2)) and torch.equal(torch.get_rng_state(), before)


def test_seeded__three_deep_and_after_an_error() -> None:
    def fails() -> None:
        some()
        raise KeyError

    def outer() -> list[Tensor]:
        torch.rand(1)
        with contextlib.suppress(KeyError):
            drawing.seeded(fails, 5)
        return [torch.rand(2), *drawing.seeded(lambda: drawing.seeded(some, 3), 4), torch.rand(2)]

    found = drawing.seeded(outer, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.rand(1)
        expected = [torch.rand(2), torch.rand(2)]
    assert equal([found[0], found[-1]], expected) and equal(found[1:-1], plainly(3))


def test_seeded__a_generator_that_is_given_is_used() -> None:
    def draw() -> list[Tensor]:
        return [torch.rand(2, generator=torch.Generator().manual_seed(7)), torch.rand(2)]

    given, own = drawing.seeded(draw, 1)
    assert torch.equal(given, torch.rand(2, generator=torch.Generator().manual_seed(7)))
    assert torch.equal(own, plainly(1)[0][:2])


def test_noise__within_a_seeded_one_in_two_threads() -> None:
    found: dict[int, list[Tensor]] = {}

    def work(seed: int) -> None:
        for _ in range(50):
            with drawing.noise(seed, torch.device("cpu")):
                found[seed] = drawing.seeded(lambda: some() and some(), seed + 10) + some()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 10)
            some()
            assert equal(found[seed][:4], some()) and equal(found[seed][4:], plainly(seed))


def test_state__tells_whether_anything_was_drawn() -> None:
    generator = OwnGenerator(0)
    before = generator.state
    with generator:
        torch.ones(3).sum()
        nn.functional.dropout(torch.ones(3), training=False)
    assert torch.equal(generator.state, before)
    with generator:
        nn.functional.dropout(torch.ones(3))
    assert not torch.equal(generator.state, before)


@wrap_torch_function(lambda value: (value,))
def linear(value: Tensor) -> Tensor:
    """A user's function with the name of one of torch's."""
    return value + torch.rand(2)


class Rows:
    """A sequence whose items are drawn when torch reads them."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> float:
        if index >= 2:
            raise IndexError
        return torch.rand(1).item()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: linear(torch.ones(2)),
        lambda: torch.tensor(Rows()),
    ],
    ids=["function", "sequence"],
)
def test_seeded__what_only_looks_like_a_function_that_draws_nothing(draw: Any) -> None:
    def values() -> list[Tensor]:
        return [draw(), torch.rand(2)]

    before = torch.get_rng_state()
    found = drawing.seeded(values, 4)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        assert equal(found, values())
