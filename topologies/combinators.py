"""Schedule -> Schedule: the same rounds with something changed in each of them.

A combinator replaces some fields of a `Round` (including edges and their ages) and keeps the others. All of them keep
`unheard`: a peer that only runs the batch still does so when other peers stop studying.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from topologies.round import Edge, Round
from topologies.schedule import Schedule, periodic, round_rng


def one_student(schedule: Schedule, seed: np.random.SeedSequence) -> Schedule:
    """Keep only one student per round, drawn uniformly; a round without students is unchanged."""

    def round_at(round_index: int) -> Round:
        full = schedule(round_index)
        if not full.students:
            return full
        # a longer spawn key, so that the draws are independent of a schedule with the same seed
        chosen = full.students[round_rng(seed, round_index, 0).integers(len(full.students))]
        return _without(full, frozenset(full.students) - {chosen})

    return Schedule(schedule.num_peers, None, round_at, exchangeable=schedule.exchangeable)


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


def self_taught(schedule: Schedule, peers: Collection[int] | None = None) -> Schedule:
    """A peer that nobody teaches in a round learns from itself: it is its own only teacher.

    peers: those of which this holds; None: all.
    """
    chosen = frozenset(range(schedule.num_peers) if peers is None else peers)

    def filled(full: Round) -> Round:
        untaught = chosen.difference(full.students)
        return replace(
            full,
            incoming=tuple((Edge(peer, 1.0),) if peer in untaught else row for peer, row in enumerate(full.incoming)),
        )

    return _every_round(schedule, filled, schedule.exchangeable) if chosen else schedule


def with_self_weight(schedule: Schedule, self_weight: float) -> Schedule:
    """Give every student's own outputs this weight in its target, and its teachers the rest.

    The gossip matrix W is then the pooling matrix P: its diagonal is `self_weight`. With 0 only the teachers count.
    Peers that are their own only teachers are unchanged.

    Raises:
        ValueError: when the weight is not in [0, 1), or a student among others already has a weight of its own.
    """
    if not 0 <= self_weight < 1:
        raise ValueError(f"topology.self_weight: must be in [0, 1), got {self_weight:g}; the rest is for the teachers")

    def mixed(full: Round) -> Round:
        @cache  # students that share an edge object keep sharing it
        def lowered(edge: Edge) -> Edge:
            return edge._replace(weight=edge.weight * (1 - self_weight))

        incoming, kept = list(full.incoming), list(full.kept)
        for student in full.students:
            if any(edge.teacher == student for edge in incoming[student]):
                if len(incoming[student]) == 1:
                    continue
                raise ValueError(
                    f"topology.self_weight: must be left out, since the matrix's diagonal has the self-weight of peer "
                    f"{student}, got {self_weight:g}; remove one of them"
                )
            own = [Edge(student, self_weight)] if self_weight else []
            incoming[student] = tuple(sorted([*map(lowered, incoming[student]), *own]))
            kept[student] = 0.0
        return replace(full, incoming=tuple(incoming), kept=tuple(kept))

    return _every_round(schedule, mixed, schedule.exchangeable)


def each_alone(schedule: Schedule) -> Schedule:
    """The control without exchange: every student in a round of `schedule` learns from its own outputs instead.

    Teachers still run the batch, so that their BatchNorm buffers move as in the run. Apply this combinator last, to the
    complete schedule of the run: the run's own students decide which peers run a batch.
    """

    def alone(full: Round) -> Round:
        return replace(
            full,
            incoming=tuple((Edge(peer, 1.0),) if edges else () for peer, edges in enumerate(full.incoming)),
            kept=tuple(0.0 if edges else 1.0 for edges in full.incoming),
            unheard=full.unheard | full.teaching,
        )

    return _every_round(schedule, alone)


def one_teacher(schedule: Schedule, seed: np.random.SeedSequence) -> Schedule:
    """Give every student one of its teachers in each round, drawn by weight, with the weight of all of them.

    What a student takes of itself stays as it is. Teachers without students still run the batch, as in the schedule.
    """

    def round_at(round_index: int) -> Round:
        full, rng = schedule(round_index), round_rng(seed, round_index, 0)
        incoming = list(full.incoming)
        for student in full.students:
            own = [edge for edge in incoming[student] if edge.teacher == student]
            others = [edge for edge in incoming[student] if edge.teacher != student]
            if others:
                total = sum(edge.weight for edge in others)
                chosen = others[rng.choice(len(others), p=[edge.weight / total for edge in others])]
                incoming[student] = tuple(sorted([*own, chosen._replace(weight=total)]))
        return replace(full, incoming=tuple(incoming), unheard=full.unheard | full.teaching)

    return Schedule(schedule.num_peers, None, round_at)


def among(schedule: Schedule | None, peers: Sequence[int], num_peers: int) -> Schedule:
    """The schedule of some of the `num_peers` peers, as if there were no others; without one, nobody is linked.

    peers: those that are linked, ascending; peer number k of `schedule` is `peers[k]`.
    """
    if schedule is None:
        return periodic((Round(((),) * num_peers, (1.0,) * num_peers),))

    def placed(full: Round) -> Round:
        incoming: list[tuple[Edge, ...]] = [()] * num_peers
        kept = [1.0] * num_peers
        for peer, edges, own in zip(peers, full.incoming, full.kept, strict=True):
            incoming[peer] = tuple(edge._replace(teacher=peers[edge.teacher]) for edge in edges)
            kept[peer] = own
        return Round(tuple(incoming), tuple(kept), frozenset(peers[peer] for peer in full.unheard))

    changed = _every_round(schedule, placed)
    return replace(changed, num_peers=num_peers)


def _every_round(schedule: Schedule, change: Callable[[Round], Round], exchangeable: bool = False) -> Schedule:
    """The schedule with `change` applied to every round, without the facts of the old one, which no longer hold.

    exchangeable: whether the drawn rounds still are after the change.
    """
    if schedule.period is None:
        return Schedule(schedule.num_peers, None, lambda index: change(schedule(index)), exchangeable=exchangeable)
    return periodic(tuple(change(schedule(round_index)) for round_index in range(schedule.period)))


def _without(full: Round, students: frozenset[int]) -> Round:
    """The round without these peers as students; `unheard` is unchanged."""
    return replace(
        full,
        incoming=tuple(() if peer in students else edges for peer, edges in enumerate(full.incoming)),
        kept=tuple(1.0 if peer in students else own for peer, own in enumerate(full.kept)),
    )
