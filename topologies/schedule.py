"""round_index -> teachers and weights of every student: pure, seekable, without an internal clock."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from topologies.base_graph import base_rounds
from topologies.facts import TopologyFacts
from topologies.graphs import check_num_peers
from topologies.round import Round as Round


@dataclass(frozen=True)
class Schedule:
    """The rounds of a run.

    period is the number of rounds after which it repeats: 1 for a static one, None for one drawn anew each round. facts
    are given where they are known without looking at the rounds.
    """

    num_peers: int
    period: int | None
    round_at: Callable[[int], Round]
    facts: TopologyFacts | None = None

    def __call__(self, round_index: int) -> Round:
        """The round of this index, whatever was asked for before."""
        assert round_index >= 0
        return self.round_at(round_index)


def static(round_: Round) -> Schedule:
    """The same round for ever."""
    return periodic((round_,))


def periodic(rounds: tuple[Round, ...]) -> Schedule:
    """These rounds in turn, over and over."""
    return Schedule(len(rounds[0].teachers), len(rounds), lambda t: rounds[t % len(rounds)])


def self_taught(num_peers: int) -> Schedule:
    """Every peer is its own only teacher: the control without exchange."""
    check_num_peers(num_peers)
    return static(Round(tuple((i,) for i in range(num_peers)), ((1.0,),) * num_peers, (0.0,) * num_peers))


def complete(num_peers: int) -> Schedule:
    """Everyone learns from everyone else, with equal weights also on itself: agreed after one round.

    Its n (n - 1) links are made when they are first asked for.
    """
    check_num_peers(num_peers)
    others, links = num_peers - 1, float(num_peers * (num_peers - 1))

    @cache
    def round_() -> Round:
        everyone = tuple(range(num_peers))
        shares = np.full(others, 1 / num_peers)
        row = tuple((shares / shares.sum()).tolist())
        teachers = tuple(everyone[:i] + everyone[i + 1 :] for i in everyone)
        return Round(teachers, (row,) * num_peers, (1 / num_peers,) * num_peers)

    facts = TopologyFacts(
        num_peers, others, float(others), others, links, links, diameter=1, spectral_gap=1.0, rounds_to=1
    )
    return Schedule(num_peers, 1, lambda _: round_(), facts)


def random_teachers(num_peers: int, num_teachers: int, seed: np.random.SeedSequence) -> Schedule:
    """Every round each peer draws its teachers anew, all others being equally likely.

    Raises:
        ValueError: when there are not so many other peers.
    """
    _check_teachers(num_peers, num_teachers)

    def round_at(round_index: int) -> Round:
        rng = _round_rng(seed, round_index)
        draws = [rng.choice(num_peers - 1, num_teachers, replace=False) for _ in range(num_peers)]
        # skipping the student itself turns a draw among n-1 into one among the others
        return _uniform_round(num_peers, {i: (draw + (draw >= i)).tolist() for i, draw in enumerate(draws)})

    return Schedule(num_peers, None, round_at)


def random_matching(num_peers: int, seed: np.random.SeedSequence) -> Schedule:
    """Every round a uniformly drawn matching; partners teach each other, and an odd peer is idle.

    E||deviation||^2 shrinks by (n - 2) / (2 (n - 1)) a round if n is even, by half if odd.
    """
    check_num_peers(num_peers)

    def round_at(round_index: int) -> Round:
        order = _round_rng(seed, round_index).permutation(num_peers).tolist()
        pairs = list(zip(order[0:-1:2], order[1::2], strict=True))
        return _uniform_round(num_peers, {i: [j] for a, b in pairs for i, j in ((a, b), (b, a))})

    return Schedule(num_peers, None, round_at)


def random_pair(num_peers: int, num_teachers: int, seed: np.random.SeedSequence) -> Schedule:
    """Every round one random student learns from distinct random teachers; all others are idle.

    Raises:
        ValueError: when there are not so many other peers.
    Source: arXiv 2604.18390, the role sampling of its listing.
    """
    _check_teachers(num_peers, num_teachers)

    def round_at(round_index: int) -> Round:
        drawn = _round_rng(seed, round_index).choice(num_peers, num_teachers + 1, replace=False).tolist()
        return _uniform_round(num_peers, {drawn[0]: drawn[1:]})

    return Schedule(num_peers, None, round_at)


def one_peer_exponential(num_peers: int) -> Schedule:
    """In round t student i learns from i + 2^(t mod ceil(log2 n)), with half of its weight on itself.

    Source: Ying et al., 2021 (arXiv 2110.13363): the exact average after log2 n rounds if n is a power of two.
    """
    check_num_peers(num_peers)
    hops = [2**k for k in range((num_peers - 1).bit_length())]
    return periodic(
        tuple(_uniform_round(num_peers, {i: [(i + hop) % num_peers] for i in range(num_peers)}) for hop in hops)
    )


def base(num_peers: int, max_degree: int) -> Schedule:
    """Base-(k+1) graph of maximal degree k: the exact average after every period, for any number of peers."""
    check_num_peers(num_peers)
    if max_degree < 1:
        raise ValueError(f"topology.max_degree: must be at least 1, got {max_degree}; raise topology.max_degree")
    return periodic(
        tuple(Round.from_mixing(mixing) for mixing in base_rounds(num_peers, min(max_degree, num_peers - 1)))
    )


def one_student(schedule: Schedule, seed: np.random.SeedSequence) -> Schedule:
    """Of those who would study in a round only one, drawn uniformly, does; a round without students stays so."""

    def round_at(round_index: int) -> Round:
        full = schedule(round_index)
        if not full.students:
            return full
        # one level deeper, so that a seed shared with the schedule does not tie the draws together
        chosen = full.students[_round_rng(seed, round_index, 0).integers(len(full.students))]
        return _idle(full, frozenset(full.students) - {chosen})

    return Schedule(schedule.num_peers, None, round_at)


def without_students(schedule: Schedule, frozen: frozenset[int]) -> Schedule:
    """These peers teach and never study.

    Raises:
        ValueError: when a frozen peer does not exist.
    """
    unknown = sorted(i for i in frozen if not 0 <= i < schedule.num_peers)
    if unknown:
        raise ValueError(
            f"peers.frozen: must name peers from 0 to {schedule.num_peers - 1}, got {unknown[0]}; remove it"
        )
    return _each_round(schedule, lambda full: _idle(full, frozen))


def with_self_weight(schedule: Schedule, self_weight: float) -> Schedule:
    """Every student's target is its own outputs with this weight, its teachers' with the rest.

    So the mixing matrix is the one that is pooled with: the diagonal is `self_weight`. 0 leaves only the teachers.

    Raises:
        ValueError: when the weight is not in [0, 1).
    """
    if not 0 <= self_weight < 1:
        raise ValueError(f"topology.self_weight: must be in [0, 1), got {self_weight:g}; the rest is for the teachers")

    def mixed(full: Round) -> Round:
        teachers, weights, kept = list(full.teachers), list(full.weights), list(full.kept)
        for student in full.students:
            row = full.teachers[student]
            if student in row:
                continue
            shares = dict(zip(row, (weight * (1 - self_weight) for weight in full.weights[student]), strict=True))
            if self_weight:
                shares[student] = self_weight
            teachers[student] = tuple(sorted(shares))
            weights[student] = tuple(shares[teacher] for teacher in teachers[student])
            kept[student] = 0.0
        return replace(full, teachers=tuple(teachers), weights=tuple(weights), kept=tuple(kept))

    return _each_round(schedule, mixed)


def each_alone(schedule: Schedule) -> Schedule:
    """The control without exchange: whoever studies in a round of `schedule` learns from its own outputs instead.

    Whoever taught still looks at the batch, so that its BatchNorm buffers move as they did. It comes last, around the
    whole schedule of the run whose control it is: who looks at a batch is settled by the run's own students.
    """

    def alone(full: Round) -> Round:
        return replace(
            full,
            teachers=tuple((i,) if row else () for i, row in enumerate(full.teachers)),
            weights=tuple((1.0,) if row else () for row in full.teachers),
            kept=tuple(0.0 if row else 1.0 for row in full.teachers),
            unheard=full.unheard | full.teaching,
        )

    return _each_round(schedule, alone)


def _each_round(schedule: Schedule, change: Callable[[Round], Round]) -> Schedule:
    """The schedule with every round changed; facts of the old one say nothing of it."""
    if schedule.period is None:
        return Schedule(schedule.num_peers, None, lambda t: change(schedule(t)))
    return periodic(tuple(change(schedule(t)) for t in range(schedule.period)))


def _round_rng(seed: np.random.SeedSequence, *key: int) -> np.random.Generator:
    """A generator for one round; spawn() would count, and so forbid seeking."""
    return np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key)))


def _uniform_round(num_peers: int, teachers: dict[int, list[int]]) -> Round:
    """These students learn from these teachers with weights 1 / (d + 1), also on themselves; all others are idle."""
    rows: list[tuple[int, ...]] = [()] * num_peers
    weights: list[tuple[float, ...]] = [()] * num_peers
    kept = [1.0] * num_peers
    for student, row in teachers.items():
        rows[student] = tuple(sorted(row))
        weights[student] = (1 / len(row),) * len(row)
        kept[student] = 1 / (len(row) + 1)
    return Round(tuple(rows), tuple(weights), tuple(kept))


def _idle(full: Round, peers: frozenset[int]) -> Round:
    """The round without these students."""
    return replace(
        full,
        teachers=tuple(() if i in peers else row for i, row in enumerate(full.teachers)),
        weights=tuple(() if i in peers else row for i, row in enumerate(full.weights)),
        kept=tuple(1.0 if i in peers else own for i, own in enumerate(full.kept)),
    )


def _check_teachers(num_peers: int, num_teachers: int) -> None:
    check_num_peers(num_peers)
    if not 1 <= num_teachers < num_peers:
        raise ValueError(
            f"topology.teachers: must be from 1 to peers.count - 1 = {num_peers - 1}, got {num_teachers}; "
            "change topology.teachers or peers.count"
        )
