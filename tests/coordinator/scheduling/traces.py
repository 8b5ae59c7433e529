"""Traces made by hand, for tests of schedulers: they need no simulation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from topologies.network.trace import Cut, Publication, Step, TimedRound, Trace, Wave
from topologies.participation import participants
from topologies.round import Edge
from topologies.schedule import Schedule

MS = 1_000_000


def plain_trace(schedule: Schedule) -> Trace:
    """The schedule itself: every round takes a millisecond, and every message is used in its round."""

    def published(peer: int, at: int) -> Publication:
        """The peer's message for its first round from this index on."""
        while peer not in participants(schedule(at)):
            at += 1
        hearing = [each for each, edges in enumerate(schedule(at).incoming) if any(e.teacher == peer for e in edges)]
        others = tuple(each for each in hearing if each != peer)
        return Publication(peer, at, at, at * MS, others, bool(others))

    def rounds_from(start: int) -> Iterator[TimedRound]:
        index = start
        while True:
            round_, now = schedule(index), index * MS
            steps = tuple(
                Step(p, index, index, round_.incoming[p], now, now, now + MS, p, published(p, index + 1))
                for p in participants(round_)
            )
            released = {step.peer: (index,) for step in steps}
            yield TimedRound(index, now + MS, (Wave(steps),), released, (), (), schedule.num_peers)
            index += 1

    def cut_at(start: int) -> Cut:
        due = {peer: published(peer, start) for peer in range(schedule.num_peers)}
        return Cut(due, {}, (True,) * schedule.num_peers, start * MS)

    return Trace(schedule.num_peers, True, False, rounds_from, cut_at)


def in_waves(trace: Trace, change: Callable[[TimedRound], TimedRound]) -> Trace:
    """The trace with its rounds changed."""
    return replace(trace, plain=False, rounds_from=lambda start: map(change, trace.rounds(start)))


def one_at_a_time(timed: TimedRound) -> TimedRound:
    """The same steps, each in a wave of its own, in reverse."""
    waves = tuple(Wave((step,)) for wave in timed.waves for step in reversed(wave.steps))
    return replace(timed, waves=waves)


def aged(schedule: Schedule, ages: Callable[[int, int, int], int], most: int) -> Trace:
    """The schedule with older messages: `ages(round, student, teacher)` says how old, at most `most` rounds.

    A message that does not exist yet is replaced by that of round 0.
    """
    plain = plain_trace(schedule)

    def older(timed: TimedRound) -> TimedRound:
        def heard(step: Step) -> tuple[Edge, ...]:
            return tuple(
                edge._replace(age=min(ages(step.version, step.peer, edge.teacher), step.version)) for edge in step.heard
            )

        waves = tuple(Wave(tuple(s._replace(heard=heard(s)) for s in wave.steps)) for wave in timed.waves)
        oldest = timed.index - most
        released = {peer: (oldest,) for peer in range(schedule.num_peers)} if oldest >= 0 else {}
        return replace(timed, waves=waves, released=released)

    def cut_at(start: int) -> Cut:
        cut = plain.cut_at(start)
        live = {(p, v): v * MS for p in range(schedule.num_peers) for v in range(max(0, start - most), start)}
        return replace(cut, live=live)

    return replace(in_waves(plain, older), cut_at=cut_at)


def first(trace: Trace, count: int) -> list[TimedRound]:
    return list(islice(trace.rounds(), count))
