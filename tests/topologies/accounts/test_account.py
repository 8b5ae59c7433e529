import itertools

import numpy as np
import pytest

from tests.topologies.network.hand_made import neighbours, schedule_of, start_of
from topologies.accounts.account import Account
from topologies.graphs import ring
from topologies.mixing import uniform
from topologies.network.trace import (
    SECOND,
    Delivery,
    Fate,
    Presence,
    Publication,
    Return,
    Step,
    TimedRound,
    Wave,
    Weights,
)
from topologies.round import Edge, Round
from topologies.schedule import Schedule, complete, static

PAIR = schedule_of({0: [1], 1: [0]}, 2)


def accounted(schedule: Schedule, rounds: int, *arguments: object, clock: str = "neighbours") -> Account:
    account = Account(schedule, start_of(schedule), clock)
    for round_ in itertools.islice(neighbours(schedule, *arguments), rounds):  # type: ignore[arg-type]
        account.add(round_)
    return account


def test_account__two_peers_that_wait_for_each_other() -> None:
    """Computing 1 s and 0.5 s, 2 s on the way: a round takes 3 s from the slower peer's view."""
    found = accounted(PAIR, 10, [1.0, 1.0], 2.0).summary()
    assert found["virtual_seconds"] == 30 and found["seconds_per_round"] == 3
    assert found["use"] == pytest.approx({"compute": 1 / 3, "wait": 2 / 3, "offline": 0})
    assert found["age_rounds"] == {"mean": 0, "p50": 0, "p95": 0, "max": 0}
    assert found["age_seconds"] == pytest.approx({"mean": 2, "p50": 2, "p95": 2, "max": 2})
    assert found["delivery_seconds"]["mean"] == 2
    path = found["critical_path"]
    assert (path["compute"], path["latency"], path["idle"]) == pytest.approx((1 / 3, 2 / 3, 0))
    assert path["peers"]["0"]["compute"] == pytest.approx(1 / 6) == path["peers"]["1"]["compute"]


def test_account__a_straggler_is_the_critical_path() -> None:
    """Of peers that compute for 1, 1, 1 and 5 s, everybody waits for the last: a round of 5 s, without delays."""
    account = accounted(complete(4), 20, [1.0, 1.0, 1.0, 5.0], 0.0)
    found = account.summary()
    assert found["virtual_seconds"] == 100
    assert found["critical_path"]["peers"] == {"3": {"compute": 1.0, "latency": 0.0}}
    assert found["critical_path"]["sentence"] == "100% of the time was waiting for peer 3: 100% its computing"
    rows = account.peers()
    assert [row["compute_seconds"] for row in rows] == [20, 20, 20, 100]
    assert [row["wait_seconds"] for row in rows] == [76, 76, 76, 0]  # the last step ends at 96 s: the next would wait
    assert rows[3]["waited_for_seconds"] == 3 * 76 and rows[0]["waited_for_seconds"] == 0
    assert [row["critical_path_share"] for row in rows] == [0, 0, 0, 1]


def test_account__a_straggler_far_away_shares_the_path_with_its_messages() -> None:
    """Peer 1 computes for 3 s, and its messages take 4 s; peer 0 needs 1 s, and its messages none.

    Two rounds of the cycle through both take 3 + 4 + 1 = 8 s; peer 1 by itself would need 3 s a round.
    """
    delay = {(1, 0): 4.0, (0, 1): 0.0}
    found = accounted(PAIR, 801, [1.0, 3.0], lambda sender, receiver: delay[sender, receiver]).summary()
    assert found["seconds_per_round"] == pytest.approx(4, rel=1e-2)
    path = found["critical_path"]
    assert path["peers"]["1"] == pytest.approx({"compute": 3 / 8, "latency": 4 / 8}, rel=1e-2)
    assert path["peers"]["0"] == pytest.approx({"compute": 1 / 8, "latency": 0}, rel=1e-2)
    assert path["sentence"] == ("87% of the time was waiting for peer 1: 50% its messages under way, 37% its computing")


def test_account__effective_matrix_of_a_complete_graph_with_loss() -> None:
    """Each message is lost with p. The others share the weight; if all are lost, a peer keeps its own outputs."""
    n, p, rounds = 5, 0.4, 1500
    draws = np.random.default_rng(0).random((n, n, rounds)) < p
    account = accounted(complete(n), rounds, [1.0] * n, 0.0, lambda a, b, k: bool(draws[a, b, k]))
    effective = account.effective().toarray()
    alone = p ** (n - 1)
    expected = np.full((n, n), (1 - alone) / (n - 1)) * (1 - np.eye(n)) + alone * np.eye(n)
    assert np.abs(effective - expected).max() < 4 * np.sqrt(0.25 / rounds)
    assert np.allclose(effective.sum(axis=1), 1)
    found = account.summary({"loss": p})
    assert found["loss"]["asked"] == p and found["loss"]["seen"] == pytest.approx(draws[~np.eye(n, dtype=bool)].mean())
    assert found["nominal_gap"] == pytest.approx(n / (n - 1))  # 1 + 1 / (n - 1)
    assert found["effective_gap"] == pytest.approx(n / (n - 1) * (1 - alone), abs=0.02)


def test_account__nominal_is_the_mean_pooling_matrix() -> None:
    """Of rounds that alternate between a ring and nobody but peer 0: its row is of all rounds, the others' of half."""
    whole = Round.from_mixing(uniform(ring(4)))
    single = Round((whole.incoming[0], (), (), ()), (1 / 3, 1.0, 1.0, 1.0))
    schedule = Schedule(4, 2, lambda index: (whole, single)[index % 2])
    account = Account(schedule, start_of(static(whole)), "neighbours")
    for round_ in itertools.islice(neighbours(schedule, [1.0] * 4, 0.0), 10):
        account.add(round_)
    nominal = account.nominal().toarray()
    assert np.allclose(nominal[0], [0, 0.5, 0, 0.5]) and np.allclose(nominal[2], [0, 0.5, 0, 0.5])
    assert np.allclose(nominal[1], [0.25, 0.5, 0.25, 0])  # it teaches in all rounds, and studies in half of them


def stale() -> Account:
    """Peer 1 studies peer 0's message of round 0, published at second 0, at 3 s on its own round 2; then it leaves."""
    schedule = schedule_of({1: [0]}, 2)
    account = Account(schedule, start_of(schedule), "free-running")
    steps = (
        Step(0, 0, 0, (), 0, 0, 1 * SECOND, 0, Publication(0, 1, 1, 1 * SECOND, (1,), True)),
        Step(1, 2, 2, (Edge(0, 1.0, 2),), 2 * SECOND, 3 * SECOND, 4 * SECOND, -1, None),
    )
    lost = Delivery(0, 1, 1, SECOND, 5 * SECOND, Fate.RECEIVER_OFFLINE)
    gone = Presence(1, 4 * SECOND, False)
    account.add(TimedRound(0, 8 * SECOND, (Wave(steps),), {0: (0,)}, (lost,), (gone,), 1))
    return account


def test_account__ages_in_rounds_and_seconds_and_absence() -> None:
    account = stale()
    found = account.summary({"availability": 0.75})
    assert found["age_rounds"]["mean"] == 2 and found["age_seconds"]["max"] == 3
    assert found["availability"] == {"asked": 0.75, "seen": 1 - 4 / 16}
    assert found["messages"] == {"arrived": 0, "lost": 0, "offline": 1, "crashed": 0} and found["loss"]["seen"] == 0
    assert found["use"] == pytest.approx({"compute": 2 / 9, "wait": 3 / 9, "offline": 4 / 9})
    (edge,) = account.edges()
    assert (edge["student"], edge["teacher"], edge["heard"], edge["offline"]) == (1, 0, 1, 1)
    assert (edge["mean_age"], edge["mean_age_seconds"], edge["nominal_weight"]) == (2, 3, 1)
    assert account.peers()[1]["times_offline"] == 1
    assert account.age_bins() == {"rounds": [[2.0, 1.0]], "seconds": [[3.0, 1.0]]}


def test_account__a_peer_that_comes_back() -> None:
    """It is online from 0 to 2 and from 5 s on: three of eight seconds offline, which are on its path."""
    schedule = schedule_of({0: [1]}, 2)
    account = Account(schedule, start_of(schedule), "free-running")
    back = Publication(1, 1, 1, 5 * SECOND, (0,), True, Return(Weights.OWN, 1))
    steps = (Step(1, 1, 1, (), 5 * SECOND, 5 * SECOND, 8 * SECOND, 1, None),)
    away = (Presence(1, 2 * SECOND, False), Presence(1, 5 * SECOND, True))
    account.add(TimedRound(0, 8 * SECOND, (Wave(steps, (back,)),), {}, (), away, 2))
    row = account.peers()[1]
    assert (row["offline_seconds"], row["compute_seconds"], row["wait_seconds"]) == (3, 3, 2)
    assert account.summary()["critical_path"]["offline"] == pytest.approx(5 / 8)  # until it published anew


def test_account__memory_does_not_grow_with_rounds() -> None:
    account = accounted(complete(4), 300, [1.0, 1.5, 2.0, 2.5], 0.1)
    assert len(account.path._of_message) == len(account._published) == 4  # the messages that are due
    account.messages.add_up()
    assert len(account.messages.delivery_seconds.bins()) == 1
