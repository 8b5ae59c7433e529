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


class IntervalLog:
    """Collects the intervals of each peer from rounds, which have to be given in order."""

    def __init__(self, first: Cut) -> None:
        """first: the cut at round 0."""
        self._busy: list[list[Interval]] = [[] for _ in first.online]
        self._gone = {peer: 0.0 for peer, online in enumerate(first.online) if not online}
        self._end = 0.0

    def add(self, round_: TimedRound) -> None:
        """Add the next round."""
        self._end = round_.seconds
        for wave in round_.waves:
            for step in wave.steps:
                if step.finish > step.start:
                    computing = Interval(Doing.COMPUTING, step.start / SECOND, step.finish / SECOND)
                    self._busy[step.peer].append(computing)
        for peer, at, online in round_.presence:
            if online and peer in self._gone:
                self._busy[peer].append(Interval(Doing.OFFLINE, self._gone.pop(peer), at / SECOND))
            elif not online:
                self._gone.setdefault(peer, at / SECOND)

    def intervals(self) -> list[list[Interval]]:
        """By peer, in order of time: all of the time until its last step or until it is gone."""
        found = [list(busy) for busy in self._busy]
        for peer, since in self._gone.items():
            found[peer].append(Interval(Doing.OFFLINE, since, max(self._end, since)))
        return [_with_waits(sorted(busy, key=lambda each: each.start)) for busy in found]


def intervals_of(rounds: Iterable[TimedRound], first: Cut) -> list[list[Interval]]:
    """The intervals of each peer in the first rounds of a trace. first: the cut at round 0."""
    log = IntervalLog(first)
    for round_ in rounds:
        log.add(round_)
    return log.intervals()


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
