import itertools

from tests.topologies.network.hand_made import neighbours, schedule_of, start_of
from topologies.accounts.intervals import Doing, Interval, intervals_of, strip
from topologies.network.trace import SECOND, Presence, TimedRound

COMPUTING, WAITING, OFFLINE = Doing.COMPUTING, Doing.WAITING, Doing.OFFLINE


def test_intervals__all_of_the_time() -> None:
    """Peer 0 waits 2 s for peer 1's message, in each round; peer 1 waits for nobody."""
    schedule = schedule_of({0: [1]}, 2)
    waits, computes = intervals_of(itertools.islice(neighbours(schedule, [1.0, 1.0], 2.0), 2), start_of(schedule))
    assert waits == [
        Interval(WAITING, 0, 2),
        Interval(COMPUTING, 2, 3),
        Interval(COMPUTING, 3, 4),  # peer 1's second message arrives at 3 s
    ]
    assert computes == [Interval(COMPUTING, 0, 1), Interval(COMPUTING, 1, 2)]


def test_intervals__offline() -> None:
    schedule = schedule_of({0: [1]}, 3)
    away = (Presence(1, 2 * SECOND, True), Presence(0, 3 * SECOND, False))
    found = intervals_of([TimedRound(0, 5 * SECOND, (), {}, (), away, 1)], start_of(schedule, {1}))
    assert found == [[Interval(WAITING, 0, 3), Interval(OFFLINE, 3, 5)], [Interval(OFFLINE, 0, 2)], []]


def test_strip__what_takes_most_of_each_part() -> None:
    row = [Interval(COMPUTING, 0, 1.2), Interval(WAITING, 1.2, 3), Interval(OFFLINE, 3, 3.6)]
    assert strip(row, 0.0, 5.0, 5) == [COMPUTING, WAITING, WAITING, OFFLINE, None]
    assert strip(row, 0.0, 4.0, 1) == [WAITING]
    assert strip([], 0.0, 1.0, 2) == [None, None]
