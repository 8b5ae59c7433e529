"""How fast averaging reaches agreement over rounds drawn at random: measured on a sample of rounds."""

import math
from collections.abc import Sequence

import numpy as np

from topologies.analysis.agreement import EXACT, MAX_ROUNDS, Agreement, Path, deviation, mixed
from topologies.analysis.structure import is_split
from topologies.analysis.tally import Tally
from topologies.facts import EPSILON
from topologies.schedule import Round, Schedule

FEW_PEERS = 128  # up to this many peers, the worst start over at least 200 rounds; above, random starts
MAX_STUDENTS = 400_000  # students simulated at most, summed over all rounds
MAX_PEERS = 20_000_000  # peers simulated at most, students or not, summed over all rounds


def measured(schedule: Schedule, num_rounds: int | None, tally: Tally) -> Agreement:
    """The agreement over `num_rounds` rounds (None: as many as needed), which are added to `tally`.

    Up to FEW_PEERS, both figures are for the worst start: the gap over the sampled rounds, `rounds_to` within
    MAX_ROUNDS. Above, the gap is for random starts, which shrink at the same rate asymptotically; `rounds_to` is still
    for the worst start, by power iteration on the product of the simulated rounds. Simulation stops early if, after
    enough rounds, two groups of peers have received nothing from outside.
    """
    students = float(np.mean([len(schedule(index).students) for index in range(20)]))
    enough = _enough_rounds(schedule.num_peers, students) if num_rounds is None else num_rounds
    if schedule.num_peers <= FEW_PEERS:
        seen = [schedule(index) for index in range(enough)]
        for round_ in seen:
            tally.add(round_)
        limit = enough if num_rounds is None and is_split(tally.links()) else MAX_ROUNDS
        count = _worst_rounds_to(schedule, limit)
        return Agreement(_worst_gap(seen), count, limit if count is None else None)

    def round_at(index: int) -> Round:
        round_ = schedule(index)
        if index == tally.num_rounds:
            tally.add(round_)
        return round_

    path = Path(round_at, schedule.num_peers)
    path.follow(enough, least=enough)
    if not is_split(tally.links()):
        path.follow(max(enough, int(min(MAX_STUDENTS / max(students, 1), _most_rounds(schedule.num_peers)))))
    count = path.rounds_to()
    return Agreement(path.gap, count, path.num_rounds if count is None else None)


def _enough_rounds(num_peers: int, students: float) -> int:
    """The number of rounds in which every peer studies several times, even with few students (coupon collector)."""
    least = int(np.clip(200 * FEW_PEERS // num_peers, 32, 200))
    return int(np.clip(4 * num_peers * math.log(num_peers) / max(students, 1 / 20), least, _most_rounds(num_peers)))


def _most_rounds(num_peers: int) -> int:
    return min(MAX_ROUNDS, MAX_PEERS // num_peers)


def _worst_gap(seen: Sequence[Round]) -> float:
    """1 - geometric mean of the rounds' worst-case contraction, rescaled each round so that it never underflows."""
    num_peers = seen[0].num_peers
    remaining, log_contraction = np.eye(num_peers) - 1 / num_peers, 0.0
    for round_ in seen:
        remaining = deviation(mixed(round_, remaining))
        scale = float(np.linalg.norm(remaining))
        if scale < EXACT:
            return 1.0
        remaining, log_contraction = remaining / scale, log_contraction + math.log(scale)
    log_contraction += math.log(np.linalg.norm(remaining, 2))
    return float(np.clip(1 - math.exp(log_contraction / len(seen)), 0, 1))


def _worst_rounds_to(schedule: Schedule, limit: int) -> int | None:
    product = np.eye(schedule.num_peers)
    probe = np.linspace(-1, 1, schedule.num_peers)
    for round_index in range(limit):
        product = mixed(schedule(round_index), product)
        remaining = deviation(product)
        image = remaining @ probe
        # power iteration is a lower bound of the norm, and saves the decomposition in most rounds
        if np.linalg.norm(image) <= EPSILON * np.linalg.norm(probe) and np.linalg.norm(remaining, 2) <= EPSILON:
            return round_index + 1
        probe = remaining.T @ image
        probe /= max(float(np.linalg.norm(probe)), EXACT)
    return None
