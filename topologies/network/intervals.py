"""What each peer does from when to when: computing, waiting, offline; for a Gantt chart."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from topologies.network.trace import SECOND, Cut, TimedRound


class Doing(StrEnum):
    """What a peer does with its time."""

    COMPUTING = "computing"
    WAITING = "waiting"
    OFFLINE = "offline"


class Interval(NamedTuple):
    """From when to when, in seconds."""

    doing: Doing
    start: float
    end: float


def intervals_of(rounds: Iterable[TimedRound], first: Cut) -> list[list[Interval]]:
    """By peer, its intervals in order of time: all of the time until its last step or until it is gone.

    rounds: the first ones of a trace. first: its cut at round 0.
    """
    computing: list[list[Interval]] = [[] for _ in first.online]
    offline: list[list[Interval]] = [[] for _ in first.online]
    gone = {peer: 0.0 for peer, online in enumerate(first.online) if not online}
    end = 0.0
    for round_ in rounds:
        end = round_.seconds
        for step in (step for wave in round_.waves for step in wave.steps):
            computing[step.peer].append(Interval(Doing.COMPUTING, step.start / SECOND, step.finish / SECOND))
        for peer, at, online in round_.presence:
            if online and peer in gone:
                offline[peer].append(Interval(Doing.OFFLINE, gone.pop(peer), at / SECOND))
            elif not online:
                gone.setdefault(peer, at / SECOND)
    for peer, since in gone.items():
        offline[peer].append(Interval(Doing.OFFLINE, since, max(end, since)))
    return [_with_waits(sorted(both, key=lambda each: each.start)) for both in map(list.__add__, computing, offline)]


def strip(intervals: Sequence[Interval], start: float, end: float, width: int) -> list[Doing | None]:
    """What a peer does most in each of `width` equal parts of the time from start to end; None: not known."""
    step, found = (end - start) / width, []
    place = 0
    for column in range(width):
        low, high = start + column * step, start + (column + 1) * step
        while place < len(intervals) and intervals[place].end <= low:
            place += 1
        times = dict.fromkeys(Doing, 0.0)
        for each in intervals[place:]:
            if each.start >= high:
                break
            times[each.doing] += min(each.end, high) - max(each.start, low)
        most = max(Doing, key=lambda doing: times[doing])
        found.append(most if times[most] > 0 else None)
    return found


def _with_waits(busy: Sequence[Interval]) -> list[Interval]:
    """The intervals, with waiting in all time between them."""
    found, last = [], 0.0
    for each in busy:
        if each.start > last:
            found.append(Interval(Doing.WAITING, last, each.start))
        found.append(each)
        last = max(last, each.end)
    return found
