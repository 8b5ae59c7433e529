"""How fast plain averaging reaches agreement in repeating rounds: exact where possible, else by power iteration."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from topologies.analysis.spectrum import group_moduli, second_modulus, whole_modulus
from topologies.analysis.structure import agrees
from topologies.facts import EPSILON
from topologies.mixing import contraction, spectral_gap
from topologies.schedule import Round

MAX_ROUNDS = 10_000  # simulated at most
EXACT = 1e-12  # rounding error of an exact average
SLOWEST = int(-math.log(EPSILON) / EXACT)  # rounds needed at a gap of EXACT; smaller gaps are lost in rounding
DENSE_PEERS = 512  # up to this many peers, products of rounds are dense matrices
FOLLOWED = 1_000  # repeating rounds simulated if neither an eigenvalue nor dense products are available
STARTS = 8  # random opinions that are simulated in parallel
KEPT = 512  # rounds of a path that are memoised; later ones are recomputed when needed

Columns = Float[np.ndarray, "peers columns"]


class Agreement(NamedTuple):
    """1 - contraction per round, and the rounds until EPSILON, as in `TopologyFacts`."""

    spectral_gap: float
    rounds_to: int | None
    rounds_over: int | None = None


def repeated(rounds: Sequence[Round], digits: tuple[int, ...] | None) -> Agreement:
    """The agreement of repeating rounds; digits: the result of `structure.translations`.

    Both figures are exact if translations leave the rounds unchanged, or if W is a single symmetric matrix: its
    contraction is then its second eigenvalue. Otherwise the gap comes from the second eigenvalue if that is known
    (`second_modulus`), else from the mean contraction over the simulated rounds, which up to DENSE_PEERS are all rounds
    until agreement. Up to DENSE_PEERS, `rounds_to` is exact, by products of rounds, if disagreement never grows. Above,
    it comes from power iteration, or has a lower bound: from a known eigenvalue (no norm is below it), or from the
    number of simulated rounds.
    """
    if not agrees(rounds):
        return Agreement(0.0, None)
    if digits is not None:
        return _of_modes(np.array([group_moduli(round_.mixing, digits) for round_ in rounds]))
    first = rounds[0].mixing
    if len(rounds) == 1 and abs(first - first.T).max() < EXACT:
        dense = rounds[0].num_peers <= DENSE_PEERS
        modulus = 1 - spectral_gap(first.toarray()) if dense else second_modulus(rounds, symmetric=True)
        if modulus is not None:
            return _of_modes(np.array([[modulus]]))
    return _dense(rounds) if rounds[0].num_peers <= DENSE_PEERS else _sparse(rounds)


def _of_modes(moduli: Float[np.ndarray, "rounds modes"]) -> Agreement:
    """The agreement from the factor of each mode in each round of a period, by bisection over the rounds."""
    period = len(moduli)
    logs = np.log(np.maximum(moduli, np.finfo(float).tiny))
    so_far = np.concatenate([np.zeros_like(logs[:1]), np.cumsum(logs, axis=0)])
    slowest = float(so_far[-1].max())
    gap = 1.0 if slowest < math.log(EXACT) else -math.expm1(slowest / period)

    def agreed(count: int) -> bool:
        periods, rest = divmod(count, period)
        # an exact 0.001 must not fail because of its last bit
        return float((periods * so_far[-1] + so_far[rest]).max()) <= math.log(EPSILON) + 1e-9

    if slowest > -EXACT * period:
        return Agreement(max(gap, 0.0), None, SLOWEST)
    return Agreement(gap, first_true(agreed, 0, period * math.ceil(math.log(EPSILON) / slowest)))


def _dense(rounds: Sequence[Round]) -> Agreement:
    """Find the last whole period before agreement by bisection over matrix powers, then go on round by round."""
    powers = [product_of(rounds)]  # its powers 1, 2, 4, ...
    gap = _dense_gap(powers[0], len(rounds))
    while not is_small(powers[-1]):
        if len(rounds) * 2 ** len(powers) > SLOWEST:
            return Agreement(0.0 if gap is None else gap, None, SLOWEST)
        powers.append(powers[-1] @ powers[-1])
    periods, product = 0, np.eye(rounds[0].num_peers)
    for exponent in reversed(range(len(powers) - 1)):
        longer = powers[exponent] @ product
        if not is_small(longer):
            periods, product = periods + 2**exponent, longer
    for place, round_ in enumerate(rounds, start=1):
        product = mixed(round_, product)
        if is_small(product):
            count = periods * len(rounds) + place
            return Agreement(1 - math.pow(EPSILON, 1 / count) if gap is None else gap, count)
    raise AssertionError("the product of all periods agrees")


def _dense_gap(product: Float[np.ndarray, "peers peers"], period: int) -> float | None:
    """The gap from the eigenvalues of a period's product; None if rounding errors dominate."""
    modulus = 0.0 if contraction(product) < EXACT else whole_modulus(product)
    return None if modulus is None else 1 - math.pow(modulus, 1 / period)


def _sparse(rounds: Sequence[Round]) -> Agreement:
    """The gap from an eigenvalue, or measured over FOLLOWED rounds; `rounds_to` by simulating the rounds."""
    path = Path(lambda index: rounds[index % len(rounds)], rounds[0].num_peers)
    path.follow(len(rounds), least=len(rounds))
    if path.gap == 1:  # an exact average
        return Agreement(1.0, path.rounds_to())
    modulus = second_modulus(rounds, symmetric=False)
    if modulus is not None:
        gap = -math.expm1(math.log(max(modulus, EXACT)) / len(rounds))
        at_least = math.ceil(math.log(EPSILON) / math.log1p(-gap)) - 1 if gap > EXACT else SLOWEST
        if at_least >= FOLLOWED:
            return Agreement(gap, None, at_least)
    path.follow(FOLLOWED, least=FOLLOWED if modulus is None else 0)
    count = path.rounds_to()
    return Agreement(path.gap if modulus is None else gap, count, path.num_rounds if count is None else None)


class Path:
    """Simulates averaging of a few random opinions through many rounds, which are created one at a time."""

    def __init__(self, round_at: Callable[[int], Round], num_peers: int) -> None:
        self.num_rounds = 0  # simulated so far
        self._round_at = round_at
        self._kept: list[Round] = []
        self._opinions = deviation(np.random.default_rng(0).standard_normal((num_peers, STARTS)))
        self._start = np.linalg.norm(self._opinions, axis=0)
        self._scale = 0.0  # logarithm of the product of all rescaling factors
        self._below: int | None = None  # rounds after which all these starts have agreed
        self._above: int | None = None  # rounds after which every possible start has very probably agreed
        self._worst = np.random.default_rng(1).standard_normal((num_peers, 1))

    @property
    def gap(self) -> float:
        """1 - the geometric mean of the contraction per round of these starts."""
        return 1.0 if self._scale == -math.inf else -math.expm1(self._scale / self.num_rounds)

    def follow(self, limit: int, least: int = 0) -> None:
        """Simulate rounds until every start has agreed, for at least `least` and at most `limit` rounds in total."""
        while self.num_rounds < limit and (self.num_rounds < least or self._above is None):
            round_ = self._round(self.num_rounds)
            if self.num_rounds < KEPT:
                self._kept.append(round_)
            self.num_rounds += 1
            if self._scale > -math.inf:
                self._step(round_)

    def rounds_to(self) -> int | None:
        """The rounds until every start is at EPSILON; None: more than were simulated.

        Uses bisection over the norm of the rounds' product, which assumes that disagreement never grows.
        """
        if self._below is None:
            return None
        # _above is a safe over-estimate, so the simulated rounds may suffice even if it is None
        if self._above is None and not self._agreed(self.num_rounds):
            return None
        return first_true(self._agreed, self._below - 1, self._above or self.num_rounds)

    def _round(self, index: int) -> Round:
        return self._kept[index] if index < len(self._kept) else self._round_at(index)

    def _step(self, round_: Round) -> None:
        before = float(np.linalg.norm(self._opinions))
        self._opinions = deviation(mixed(round_, self._opinions))
        ratio = float(np.linalg.norm(self._opinions)) / before
        self._scale += math.log(ratio) if ratio > EXACT else -math.inf
        self._opinions /= ratio or 1.0
        remaining = math.exp(self._scale) * np.linalg.norm(self._opinions, axis=0)
        if self._below is None and (remaining / self._start).max() <= EPSILON:
            self._below = self.num_rounds
        # for random starts this estimates the Frobenius norm, an upper bound of the largest singular value
        if self._above is None and 2 * math.sqrt(float(np.mean(remaining**2))) <= EPSILON:
            self._above = self.num_rounds

    def _agreed(self, count: int, tolerance: float = 1e-3, most: int = 200) -> bool:
        """Whether ||(I - J) W||_2 of the product W of the first `count` rounds is at most EPSILON.

        Uses power iteration through the rounds and back, starting from the worst start found before.
        """
        norm = 0.0
        for _ in range(most):
            image = self._worst / np.linalg.norm(self._worst)
            for index in range(count):
                image = mixed(self._round(index), image)
            image = deviation(image)
            last, norm = norm, float(np.linalg.norm(image))
            if norm > EPSILON or norm - last <= tolerance * norm:
                break
            for index in reversed(range(count)):
                image = mixed_back(self._round(index), image)
            self._worst = image
        return norm <= EPSILON


def first_true(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first count above `low` for which `holds` is true, if it is monotone and true at `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def product_of(rounds: Sequence[Round]) -> Float[np.ndarray, "peers peers"]:
    """The product of the rounds' mixing matrices, with the first round rightmost."""
    product = np.eye(rounds[0].num_peers)
    for round_ in rounds:
        product = mixed(round_, product)
    return product


def is_small(product: Float[np.ndarray, "peers peers"]) -> bool:
    """Whether at most EPSILON of any disagreement remains; the Frobenius norm, which is cheap, decides most cases."""
    remaining = deviation(product)
    total = float(np.linalg.norm(remaining))
    if total <= EPSILON or total > EPSILON * math.sqrt(len(remaining)):
        return total <= EPSILON
    return float(np.linalg.norm(remaining, 2)) <= EPSILON


def deviation(values: Columns) -> Columns:
    """(I - J) @ values."""
    away: Columns = values - values.mean(axis=0)
    return away


def mixed(round_: Round, values: Columns) -> Columns:
    """W @ values; computed row by row if few peers study, because most rows are then unchanged."""
    if len(round_.students) * 16 > round_.num_peers:
        product: Columns = round_.mixing @ values
        return product
    result = values.copy()
    for student in round_.students:
        kept, (teachers, weights, _) = round_.kept[student], zip(*round_.incoming[student], strict=True)
        result[student] = kept * values[student] + (1 - kept) * (np.array(weights) @ values[list(teachers)])
    return result


def mixed_back(round_: Round, values: Columns) -> Columns:
    """W.T @ values, computed in the same way as `mixed`."""
    if len(round_.students) * 16 > round_.num_peers:
        product: Columns = round_.mixing.T @ values
        return product
    result = values.copy()
    for student in round_.students:
        result[student] -= (1 - round_.kept[student]) * values[student]
    for student in round_.students:
        teachers, weights, _ = zip(*round_.incoming[student], strict=True)
        result[list(teachers)] += ((1 - round_.kept[student]) * np.array(weights))[:, None] * values[student]
    return result
