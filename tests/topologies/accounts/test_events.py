import itertools
from collections import Counter

import numpy as np
import pytest

from tests.topologies.network.hand_made import neighbours, schedule_of, start_of
from topologies.accounts.account import Account
from topologies.accounts.events import Event, EventLog
from topologies.network.trace import SECOND, Delivery, Fate, Presence, Publication, Return, TimedRound, Wave, Weights
from topologies.schedule import complete


def test_events__one_round_of_two_peers() -> None:
    """Peer 0 learns from peer 1, whose message takes 2 s; both compute for 1 s."""
    schedule = schedule_of({0: [1]}, 2)
    log = EventLog()
    assert log.at_start(start_of(schedule)) == [
        Event(0.0, "publish", 0, -1, 0, 0),
        Event(0.0, "publish", 1, -1, 0, 0),
        Event(0.0, "send", 1, 0, 0, 0),
    ]
    (round_,) = itertools.islice(neighbours(schedule, [1.0, 1.0], 2.0), 1)
    assert log.of_round(round_) == [
        Event(0.0, "wait", 0, 1, 0, 0, until=2.0),
        Event(1.0, "publish", 1, -1, 1, 1),
        Event(1.0, "send", 1, 0, 1, 1),
        Event(2.0, "study", 0, 1, 0, 0, 0, 2.0, 3.0),
        Event(2.0, "arrive", 0, 1, 0),
        Event(3.0, "publish", 0, -1, 1, 1),
    ]


def test_events__those_who_come_and_go() -> None:
    schedule = schedule_of({0: [1]}, 2)
    log = EventLog()
    assert [event for event in log.at_start(start_of(schedule, {1})) if event.peer == 1] == [Event(0.0, "offline", 1)]
    back = Publication(1, 3, 3, 2 * SECOND, (0,), True, Return(Weights.FRESH, 1))
    changes = (Presence(1, 2 * SECOND, True), Presence(0, 3 * SECOND, False))
    lost = Delivery(1, 0, 3, 2 * SECOND, 4 * SECOND, Fate.RECEIVER_OFFLINE)
    assert log.of_round(TimedRound(0, 4 * SECOND, (Wave((), (back,)),), {}, (lost,), changes, 1)) == [
        Event(2.0, "online", 1),
        Event(2.0, "publish", 1, -1, 3, 3),
        Event(2.0, "send", 1, 0, 3, 3),
        Event(3.0, "offline", 0),
        Event(4.0, "lost", 0, 1, 3, reason="receiver offline"),
    ]


def test_events__count_what_the_account_counts() -> None:
    n, rounds = 4, 60
    schedule, draws = complete(n), np.random.default_rng(1).random((n, n, rounds)) < 0.3
    account, log = Account(schedule, start_of(schedule), "neighbours"), EventLog()
    events = log.at_start(start_of(schedule))
    traced = neighbours(schedule, [1.0, 1.5, 2.0, 0.5], 0.25, lambda a, b, k: bool(draws[a, b, k]))
    for round_ in itertools.islice(traced, rounds):
        account.add(round_)
        events += log.of_round(round_)
    kinds, found, rows = Counter(event.kind for event in events), account.summary(), account.peers()
    assert (kinds["arrive"], kinds["lost"]) == (found["messages"]["arrived"], found["messages"]["lost"])
    assert kinds["lost"] == draws[~np.eye(n, dtype=bool)].sum()
    assert kinds["send"] == sum(row["messages_sent"] for row in rows)
    assert kinds["study"] == sum(edge["heard"] for edge in account.edges())
    studied = [event for event in events if event.kind == "study"]
    assert np.mean([event.age_seconds for event in studied if event.age_seconds is not None]) == pytest.approx(
        found["age_seconds"]["mean"]
    )
    for peer, row in enumerate(rows):
        waits = [event for event in events if event.kind == "wait" and event.peer == peer]
        assert sum(event.until - event.seconds for event in waits if event.until) == pytest.approx(row["wait_seconds"])
