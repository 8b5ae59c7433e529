"""Draws from generators of their own, one within the other, and never from torch's global one."""

import contextlib
import threading

import torch
from torch import Tensor, nn

from peers.networks import drawing
from peers.networks.drawing import OwnGenerator


def some() -> list[Tensor]:
    """Functions that take a generator, and such that do not."""
    return [torch.rand(3), nn.Linear(3, 2).weight.detach(), nn.functional.dropout(torch.ones(8)), torch.randperm(5)]


def plainly(seed: int) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return some()


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


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
