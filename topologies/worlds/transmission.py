"""When a message arrives, or whether it is lost: the laws of `latency.py` and `loss.py` at work."""

import math
from typing import Protocol, runtime_checkable

import numpy as np

from topologies.worlds import draws
from topologies.worlds.draws import SECOND, Purpose
from topologies.worlds.latency import (
    MARGIN,
    ConstantLatency,
    LatencyConfig,
    LognormalLatency,
    ParetoLatency,
)
from topologies.worlds.loss import BernoulliLoss, GilbertElliottLoss, LossConfig, NoLoss
from topologies.worlds.places import LatencyTable

MOST_LINKS = 1 << 17  # whose last state is kept; the others' are found again


@runtime_checkable
class LatencyLaw(Protocol):
    """Nanoseconds that the number-th message of a link is under way."""

    def ns(self, sender: int, receiver: int, number: int) -> int: ...


@runtime_checkable
class LossLaw(Protocol):
    """How many of the attempts to send the number-th message of a link fail, at most `attempts`."""

    def failed(self, sender: int, receiver: int, number: int) -> int: ...


class Constant:
    """Always the same."""

    def __init__(self, seconds: float) -> None:
        self.value = round(seconds * SECOND)

    def ns(self, sender: int, receiver: int, number: int) -> int:
        return self.value


class Lognormal:
    """One law for all links."""

    def __init__(self, key: int, seconds: float, sigma: float) -> None:
        self._key, self._median, self._sigma = key, seconds * SECOND, sigma

    def ns(self, sender: int, receiver: int, number: int) -> int:
        link = draws.stream(self._key, sender, receiver)
        return round(self._median * math.exp(self._sigma * draws.normal(link, number)))


class Pareto:
    """SimBlock's: scale / U^(1 / shape)."""

    def __init__(self, key: int, seconds: float) -> None:
        self._key, self._scale = key, (seconds - MARGIN) * SECOND
        self._power = -1 / (0.2 * seconds * 1000)

    def ns(self, sender: int, receiver: int, number: int) -> int:
        draw = draws.uniform(draws.stream(self._key, sender, receiver), number)
        return round(self._scale * math.pow(draw, self._power))


class Between:
    """By the places of sender and receiver. rows: the place of each peer in the table. jitter: None: the table's."""

    def __init__(self, key: int, table: LatencyTable, rows: list[int], jitter: float | None) -> None:
        self._key, self._rows = key, rows
        self._medians: list[list[float]] = (table.seconds * SECOND).tolist()
        self._sigmas: list[list[float]] = (
            table.sigmas if jitter is None else np.full(table.seconds.shape, jitter)
        ).tolist()

    def ns(self, sender: int, receiver: int, number: int) -> int:
        source, target = self._rows[sender], self._rows[receiver]
        median, sigma = self._medians[source][target], self._sigmas[source][target]
        if sigma == 0:
            return round(median)
        link = draws.stream(self._key, sender, receiver)
        return round(median * math.exp(sigma * draws.normal(link, number)))


class Bernoulli:
    """Each attempt fails by itself."""

    def __init__(self, key: int, law: BernoulliLoss) -> None:
        self._key, self._probability, self._attempts = key, law.probability, law.retries + 1

    def failed(self, sender: int, receiver: int, number: int) -> int:
        link = draws.stream(self._key, sender, receiver)
        first = number * self._attempts
        for attempt in range(self._attempts):
            if draws.uniform(link, first + attempt) >= self._probability:
                return attempt
        return self._attempts


class GilbertElliott:
    """A chain of two states on each link, from its long-run law on.

    A uniform draw U takes a link to bad if U < p (from good) or U < 1 - r (from bad). A U below or above both decides
    without the state before, so that the state at any message is found by going back to such a draw.
    """

    def __init__(self, key: int, law: GilbertElliottLoss) -> None:
        self._key, self._law, self._attempts = key, law, law.retries + 1
        self._low, self._high = sorted((law.p, 1 - law.r))
        self._swaps = law.p > 1 - law.r  # what a draw between the two does to the state
        self._last: dict[int, tuple[int, bool]] = {}  # (number, whether bad) by link: saves going back, changes nothing

    def failed(self, sender: int, receiver: int, number: int) -> int:
        bad = self.is_bad(sender, receiver, number)
        probability = self._law.bad if bad else self._law.good
        link = draws.stream(self._key + 1, sender, receiver)
        first = number * self._attempts
        for attempt in range(self._attempts):
            if draws.uniform(link, first + attempt) >= probability:
                return attempt
        return self._attempts

    def is_bad(self, sender: int, receiver: int, number: int) -> bool:
        """Whether the link is bad at its number-th message."""
        link = draws.stream(self._key, sender, receiver)
        last, state = self._last.get(link, (-1, False))
        at, turned = number, False
        while at != last:
            draw = draws.uniform(link, at)
            if at == 0:
                state = draw < self._law.bad_share
                break
            if draw < self._low or draw >= self._high:
                state = draw < self._low
                break
            turned ^= self._swaps
            at -= 1
        if len(self._last) >= MOST_LINKS:
            self._last.clear()
        self._last[link] = (number, state ^ turned)
        return state ^ turned


class Transmission:
    """Latency, losses and retries by sender; laws: of each peer. no_loss: None in `losses`."""

    def __init__(self, latencies: list[LatencyLaw], losses: list[tuple[LossLaw, int, int] | None]) -> None:
        self._latencies, self._losses = latencies, losses

    def at(self, sender: int, receiver: int, number: int) -> int:
        """Nanoseconds until the message arrives; `~nanoseconds` (below 0) until it would have, if it is lost."""
        ns = self._latencies[sender].ns(sender, receiver, number)
        loss = self._losses[sender]
        if loss is None:
            return ns
        law, retries, retry_after = loss
        failed = law.failed(sender, receiver, number)
        if failed == 0:
            return ns
        if failed > retries:
            return ~(ns + retries * retry_after)
        return ns + failed * retry_after


class ConstantTransmission:
    """Nothing is lost, and all are equally long under way."""

    def __init__(self, ns: int) -> None:
        self._ns = ns

    def at(self, sender: int, receiver: int, number: int) -> int:
        return self._ns


def latency_law(
    law: LatencyConfig, seed: np.random.SeedSequence, placed: tuple[LatencyTable, list[int]] | None
) -> LatencyLaw:
    """The law that the settings name. placed: the table and the row of each peer, for the kinds with places."""
    key = draws.key_of(seed, Purpose.LATENCY)
    if isinstance(law, ConstantLatency):
        return Constant(law.seconds)
    if isinstance(law, LognormalLatency):
        return Lognormal(key, law.seconds, law.sigma)
    if isinstance(law, ParetoLatency):
        return Pareto(key, law.seconds)
    assert placed is not None, "kinds with places come with them"
    return Between(key, *placed, law.jitter)


def loss_law(law: LossConfig, seed: np.random.SeedSequence) -> tuple[LossLaw, int, int] | None:
    """The law that the settings name, the retries, and the nanoseconds before each; None: nothing is lost."""
    key = draws.key_of(seed, Purpose.LOSS)
    if isinstance(law, NoLoss) or (law.share == 0 and isinstance(law, BernoulliLoss)):
        return None
    made = Bernoulli(key, law) if isinstance(law, BernoulliLoss) else GilbertElliott(key, law)
    return made, law.retries, round(law.retry_after * SECOND)
