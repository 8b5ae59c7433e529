"""Trace -> Trace: the same steps at the same times, with something else that they learn from. Used by control runs."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from topologies.network.trace import Cut, Fate, Publication, Step, TimedRound, Trace, Wave
from topologies.round import Edge
from topologies.schedule import round_rng


def alone(trace: Trace) -> Trace:
    """Every peer learns from its own outputs on the batches on which it would have heard others; nothing is sent.

    A step on several batches has an edge from the peer to itself for each, ascending by age, with the weight of all
    that it would have heard about that batch.
    """

    def silent(message: Publication) -> Publication:
        return message._replace(sent_to=(), useful=False)

    def changed(step: Step) -> Step:
        by_age: dict[int, float] = {}
        for edge in step.heard:
            age = 0 if trace.own_batches else edge.age
            by_age[age] = by_age.get(age, 0.0) + edge.weight
        if len(by_age) == 1:
            by_age = dict.fromkeys(by_age, 1.0)
        heard = tuple(Edge(step.peer, weight, age) for age, weight in sorted(by_age.items()))
        following = None if step.following is None else silent(step.following)
        return step._replace(heard=heard, following=following)

    def cut_at(start: int) -> Cut:
        cut = trace.cut_at(start)
        return replace(cut, due={peer: silent(message) for peer, message in cut.due.items()}, live={})

    def rounds_from(start: int) -> Iterator[TimedRound]:
        for timed in trace.rounds_from(start):
            told = tuple(each for each in timed.deliveries if each.fate is not Fate.REPLACED)  # bytes that are not sent
            yield replace(_each(timed, changed, silent), released={}, deliveries=told)

    return replace(trace, rounds_from=rounds_from, cut_at=cut_at)


def one_teacher(trace: Trace, seed: np.random.SeedSequence) -> Trace:
    """Every step learns from one of the messages of others that it has heard, drawn by weight, with the weight of all.

    What it takes of itself stays as it is. Everything is still sent.
    """

    def changed(step: Step) -> Step:
        own = [edge for edge in step.heard if edge.teacher == step.peer]
        others = [edge for edge in step.heard if edge.teacher != step.peer]
        if len(others) < 2:
            return step
        total = sum(edge.weight for edge in others)
        rng = round_rng(seed, step.version, step.peer, 0)
        chosen = others[rng.choice(len(others), p=[edge.weight / total for edge in others])]
        return step._replace(heard=tuple(sorted([*own, chosen._replace(weight=total)])))

    def rounds_from(start: int) -> Iterator[TimedRound]:
        for timed in trace.rounds_from(start):
            yield _each(timed, changed, lambda message: message)

    return replace(trace, rounds_from=rounds_from)


def _each(
    timed: TimedRound, step: Callable[[Step], Step], returned: Callable[[Publication], Publication]
) -> TimedRound:
    """A round with every step and every publication between steps changed."""
    waves = tuple(Wave(tuple(map(step, wave.steps)), tuple(map(returned, wave.returns))) for wave in timed.waves)
    return replace(timed, waves=waves)
