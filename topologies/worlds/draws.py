"""Random draws as pure functions of (seed, purpose, peer or link, number): in any order, and without a state to save.

Draws of a peer come from NumPy's generators in blocks, of which the last of each peer is kept. Draws of a link are
hashed one by one (SplitMix64: Steele, Lea and Flood, 2014), since there may be a million links with few messages each.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

BLOCK_BITS = 8
BLOCK = 1 << BLOCK_BITS
SECOND = 1_000_000_000  # nanoseconds
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_quantile = NormalDist().inv_cdf

Draw = Callable[[int, np.random.Generator, int], Float[np.ndarray, " draws"]]
"""Seconds, from (peer, generator, count)."""


class Purpose(IntEnum):
    """What a draw is for; each has streams of its own."""

    COMPUTE = 0
    SPEED = 1
    STRAGGLERS = 2
    LATENCY = 3
    LOSS = 4
    CHURN = 5
    WAKE = 6
    CHOICE = 7


def child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """An independent stream of `seed`, which is not modified."""
    return np.random.SeedSequence(entropy=seed.entropy, spawn_key=(*seed.spawn_key, *key))


def key_of(seed: np.random.SeedSequence, purpose: Purpose) -> int:
    """64 bits from which the streams of all links are hashed."""
    return int(child(seed, purpose).generate_state(1, np.uint64)[0])


@lru_cache(maxsize=1 << 16)
def stream(key: int, first: int, second: int) -> int:
    """The stream of a directed link, as 64 bits."""
    return _mixed(_mixed(key + (first << 32 | second) * _GOLDEN) + _GOLDEN)


def uniform(stream: int, number: int) -> float:
    """The number-th draw of a stream, uniform in (0, 1): never 0 or 1."""
    return ((_mixed(stream + number * _GOLDEN) >> 12) + 0.5) * 2.0**-52


def normal(stream: int, number: int) -> float:
    """The number-th draw of a stream, standard normal."""
    return _quantile(uniform(stream, number))


def _mixed(value: int) -> int:
    """SplitMix64's finaliser."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Draws:
    """Whole nanoseconds by peer and number."""

    def __init__(self, num_peers: int, seed: np.random.SeedSequence, draw: Draw) -> None:
        self._seed, self._draw = seed, draw
        self._blocks = [-1] * num_peers
        self._values: list[list[int]] = [[] for _ in range(num_peers)]

    def at(self, peer: int, number: int) -> int:
        """The number-th draw of a peer, from 0."""
        block = number >> BLOCK_BITS
        if self._blocks[peer] != block:
            self._values[peer] = self.block(peer, block)
            self._blocks[peer] = block
        return self._values[peer][number & (BLOCK - 1)]

    def block(self, peer: int, block: int) -> list[int]:
        """The draws of a peer from number block x BLOCK on, BLOCK of them."""
        rng = np.random.default_rng(child(self._seed, peer, block))
        return nanoseconds(self._draw(peer, rng, BLOCK))


def nanoseconds(seconds: Float[np.ndarray, " draws"]) -> list[int]:
    """Whole nanoseconds; a year at most, so that sums of times stay exact."""
    found: list[int] = np.rint(np.minimum(seconds, 3.2e7) * SECOND).astype(np.int64).tolist()
    return found
