"""Draws: pure functions of their numbers, with the laws that they name."""

import numpy as np
from scipy import stats

from topologies.worlds import draws


def test_stream__uniform_over_numbers_and_over_links() -> None:
    along = [draws.uniform(draws.stream(3, 0, 1), number) for number in range(4000)]
    across = [draws.uniform(draws.stream(3, first, second), 7) for first in range(64) for second in range(64)]
    for found in (along, across):
        assert min(found) > 0 and max(found) < 1
        assert stats.kstest(found, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 4 / len(found) ** 0.5


def test_stream__of_both_directions_and_of_two_keys_have_nothing_in_common() -> None:
    def numbers(key: int, first: int, second: int) -> np.ndarray:
        return np.array([draws.uniform(draws.stream(key, first, second), number) for number in range(4000)])

    first = numbers(3, 0, 1)
    for other in (numbers(3, 1, 0), numbers(4, 0, 1), numbers(3, 0, 2)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / 4000**0.5


def test_normal__is_standard_normal() -> None:
    link = draws.stream(5, 2, 1)
    assert stats.kstest([draws.normal(link, number) for number in range(4000)], "norm").pvalue > 0.01


def test_uniform__of_splitmix_as_published() -> None:
    """Its first three outputs from the seed 1234567, as in the implementations of Steele, Lea and Flood's algorithm."""
    golden = 0x9E3779B97F4A7C15
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [draws._mixed(1234567 + number * golden) for number in (1, 2, 3)] == expected


def test_draws__of_a_block_are_those_of_the_generator_in_any_order() -> None:
    seed = np.random.SeedSequence(1)

    def exponential(peer: int, rng: np.random.Generator, count: int) -> np.ndarray:
        return (1 + peer) * rng.exponential(1.0, count)

    found = draws.Draws(3, seed, exponential)
    numbers = [0, 700, 255, 256, 1, 699, 0]
    for peer in (2, 0):
        blocks = {
            block: np.random.default_rng(draws.child(seed, peer, block)).exponential(1.0, draws.BLOCK)
            for block in range(3)
        }
        for number in numbers:
            seconds = (1 + peer) * blocks[number // draws.BLOCK][number % draws.BLOCK]
            assert found.at(peer, number) == round(seconds * 1e9)
