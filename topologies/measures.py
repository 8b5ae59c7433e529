"""What a schedule amounts to: degrees, links, diameter, and how fast plain averaging over it agrees."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csgraph

from topologies.mixing import contraction, spectral_gap
from topologies.schedule import Round, Schedule

EPSILON = 1e-3  # the disagreement that counts as agreed, relative to the worst possible start
MAX_ROUNDS = 10_000
EXACT = 1e-12  # what rounding leaves of an exact average


@dataclass(frozen=True)
class TopologyFacts:
    """The figures of a topology; degrees count the teachers of a peer that studies in a round."""

    num_peers: int
    min_degree: int
    mean_degree: float
    max_degree: int
    edges: float  # teacher -> student links a round, mean
    messages_per_round: float  # the same without a peer's link to itself
    diameter: (
        int | None
    )  # longest shortest path teacher -> student over all rounds' links; None: some peer is unreached
    spectral_gap: float  # 1 - contraction a round: asymptotic if periodic, measured on the rounds looked at if random
    rounds_to: int | None  # rounds until any disagreement is down to EPSILON; None: not within MAX_ROUNDS


def describe(schedule: Schedule, rounds: int | None = None) -> TopologyFacts:
    """The facts, exact over one period, or measured on `rounds` rounds (None: enough) if each is drawn anew."""
    seen = [schedule(t) for t in range(schedule.period or rounds or _enough_rounds(schedule))]
    degrees = [len(row) for round_ in seen for row in round_.teachers if row]
    links = [edge for round_ in seen for edge in round_.edges]
    random = schedule.period is None
    return TopologyFacts(
        num_peers=schedule.num_peers,
        min_degree=min(degrees, default=0),
        mean_degree=float(np.mean(degrees)) if degrees else 0.0,
        max_degree=max(degrees, default=0),
        edges=len(links) / len(seen),
        messages_per_round=sum(student != teacher for student, teacher in links) / len(seen),
        diameter=_diameter(schedule.num_peers, links),
        spectral_gap=_measured_gap(seen) if random else _periodic_gap(seen),
        rounds_to=_measured_rounds_to(schedule) if random else _periodic_rounds_to(seen),
    )


def _enough_rounds(schedule: Schedule) -> int:
    """So many that every peer studies several times, however few do in a round (coupon collector)."""
    students = float(np.mean([sum(map(bool, schedule(t).teachers)) for t in range(20)]))
    peers = schedule.num_peers
    return int(np.clip(4 * peers * math.log(peers) / max(students, 1 / 20), 200, MAX_ROUNDS))


def _diameter(num_peers: int, links: list[tuple[int, int]]) -> int | None:
    adjacency: Bool[np.ndarray, "peers peers"] = np.zeros((num_peers, num_peers), dtype=bool)
    for student, teacher in links:
        adjacency[teacher, student] = True
    longest = float(np.max(csgraph.shortest_path(adjacency, method="D", unweighted=True)))
    return int(longest) if math.isfinite(longest) else None


def _periodic_gap(seen: list[Round]) -> float:
    product = _product(seen)
    if contraction(product) < EXACT:
        return 1.0
    return 1 - math.pow(1 - spectral_gap(product), 1 / len(seen))


def _measured_gap(seen: list[Round]) -> float:
    """1 - geometric mean of the rounds' worst-case contraction, rescaled each round so that it never underflows."""
    num_peers = len(seen[0].teachers)
    deviation, log_contraction = np.eye(num_peers) - 1 / num_peers, 0.0
    for round_ in seen:
        deviation = _mixed(round_, deviation)
        deviation = deviation - deviation.mean(axis=0)
        scale = float(np.linalg.norm(deviation))
        if scale < EXACT:
            return 1.0
        deviation, log_contraction = deviation / scale, log_contraction + math.log(scale)
    log_contraction += math.log(np.linalg.norm(deviation, 2))
    return float(np.clip(1 - math.exp(log_contraction / len(seen)), 0, 1))


def _periodic_rounds_to(seen: list[Round]) -> int | None:
    """Whole periods by bisection over powers of their product, then round by round through the last one.

    Exact where disagreement never grows, as in doubly stochastic rounds.
    """
    powers = [_product(seen)]  # its powers 1, 2, 4, ...
    while contraction(powers[-1]) > EPSILON:
        if len(seen) * 2 ** len(powers) > 2 * MAX_ROUNDS:
            return None
        powers.append(powers[-1] @ powers[-1])
    periods, product = 0, np.eye(len(seen[0].teachers))
    for exponent in reversed(range(len(powers) - 1)):
        longer = powers[exponent] @ product
        if contraction(longer) > EPSILON:
            periods, product = periods + 2**exponent, longer
    for place, round_ in enumerate(seen, start=1):
        product = _mixed(round_, product)
        if contraction(product) <= EPSILON:
            count = periods * len(seen) + place
            return count if count <= MAX_ROUNDS else None
    raise AssertionError("the product of all periods agrees")


def _measured_rounds_to(schedule: Schedule) -> int | None:
    product = np.eye(schedule.num_peers)
    probe = np.linspace(-1, 1, schedule.num_peers)
    for round_index in range(MAX_ROUNDS):
        product = _mixed(schedule(round_index), product)
        deviation = product - product.mean(axis=0)
        image = deviation @ probe
        # a power iteration bounds the norm from below, which spares most rounds the decomposition
        if np.linalg.norm(image) <= EPSILON * np.linalg.norm(probe) and np.linalg.norm(deviation, 2) <= EPSILON:
            return round_index + 1
        probe = deviation.T @ image
        probe /= max(float(np.linalg.norm(probe)), EXACT)
    return None


def _product(seen: list[Round]) -> Float[np.ndarray, "peers peers"]:
    product = np.eye(len(seen[0].teachers))
    for round_ in seen:
        product = _mixed(round_, product)
    return product


def _mixed(round_: Round, values: Float[np.ndarray, "peers columns"]) -> Float[np.ndarray, "peers columns"]:
    """W @ values, computing the students' rows only."""
    students = [i for i, row in enumerate(round_.teachers) if row]
    mixed = values.copy()
    mixed[students] = round_.mixing[students] @ values
    return mixed
