"""Schedule -> Schedule: the same rounds with something changed in each of them.

A combinator replaces fields of a `Round` (and edges with their ages) and leaves the others as they are. `unheard`
survives all of them: who only looks at a batch still does when others stop to study.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from topologies.round import Edge, Round
from topologies.schedule import Schedule, periodic, round_rng


def one_student(schedule: Schedule, seed: np.random.SeedSequence) -> Schedule:
    """Of those who would study in a round only one, drawn uniformly, does; a round without students stays so."""

    def round_at(round_index: int) -> Round:
        full = schedule(round_index)
        if not full.students:
            return full
        # one level deeper, so that a seed shared with the schedule does not tie the draws together
        chosen = full.students[round_rng(seed, round_index, 0).integers(len(full.students))]
        return _without(full, frozenset(full.students) - {chosen})

    return Schedule(schedule.num_peers, None, round_at)


def without_students(schedule: Schedule, frozen: frozenset[int]) -> Schedule:
    """These peers teach and never study.

    Raises:
        ValueError: when a frozen peer does not exist.
    """
    unknown = sorted(peer for peer in frozen if not 0 <= peer < schedule.num_peers)
    if unknown:
        raise ValueError(
            f"peers.frozen: must name peers from 0 to {schedule.num_peers - 1}, got {unknown[0]}; remove it"
        )
    return _every_round(schedule, lambda full: _without(full, frozen))


def with_self_weight(schedule: Schedule, self_weight: float) -> Schedule:
    """Every student's target is its own outputs with this weight, its teachers' with the rest.

    So the mixing matrix is the one that is pooled with: the diagonal is `self_weight`. 0 leaves only the teachers.
    Peers that teach themselves already are left as they are.

    Raises:
        ValueError: when the weight is not in [0, 1).
    """
    if not 0 <= self_weight < 1:
        raise ValueError(f"topology.self_weight: must be in [0, 1), got {self_weight:g}; the rest is for the teachers")

    def mixed(full: Round) -> Round:
        @cache  # students that share an edge go on sharing it
        def lowered(edge: Edge) -> Edge:
            return edge._replace(weight=edge.weight * (1 - self_weight))

        incoming, kept = list(full.incoming), list(full.kept)
        for student in full.students:
            if any(edge.teacher == student for edge in incoming[student]):
                continue
            own = [Edge(student, self_weight)] if self_weight else []
            incoming[student] = tuple(sorted([*map(lowered, incoming[student]), *own]))
            kept[student] = 0.0
        return replace(full, incoming=tuple(incoming), kept=tuple(kept))

    return _every_round(schedule, mixed)


def each_alone(schedule: Schedule) -> Schedule:
    """The control without exchange: whoever studies in a round of `schedule` learns from its own outputs instead.

    Whoever taught still looks at the batch, so that its BatchNorm buffers move as they did. It comes last, around the
    whole schedule of the run whose control it is: who looks at a batch is settled by the run's own students.
    """

    def alone(full: Round) -> Round:
        return replace(
            full,
            incoming=tuple((Edge(peer, 1.0),) if edges else () for peer, edges in enumerate(full.incoming)),
            kept=tuple(0.0 if edges else 1.0 for edges in full.incoming),
            unheard=full.unheard | full.teaching,
        )

    return _every_round(schedule, alone)


def _every_round(schedule: Schedule, change: Callable[[Round], Round]) -> Schedule:
    """The schedule with every round changed; facts of the old one say nothing of it."""
    if schedule.period is None:
        return Schedule(schedule.num_peers, None, lambda round_index: change(schedule(round_index)))
    return periodic(tuple(change(schedule(round_index)) for round_index in range(schedule.period)))


def _without(full: Round, students: frozenset[int]) -> Round:
    """The round in which these peers do not study; who looks at its batch unheard still does."""
    return replace(
        full,
        incoming=tuple(() if peer in students else edges for peer, edges in enumerate(full.incoming)),
        kept=tuple(1.0 if peer in students else own for peer, own in enumerate(full.kept)),
    )
