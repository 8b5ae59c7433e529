"""What is accounted of traces that are simulated: nothing is counted twice, and no time is left out."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from topologies.accounts.account import Account
from topologies.accounts.events import Event, EventLog
from topologies.graphs import ring
from topologies.mixing import uniform
from topologies.network.simulation import trace_of
from topologies.round import Round
from topologies.schedule import Schedule, complete, random_matching, static
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

CLOCKS = ("synchronous", "neighbours", "deadline", "free-running", "gossip")
HARSH: dict[str, Any] = {
    "compute": {"kind": "lognormal", "seconds": 1.0, "sigma": 0.6},
    "latency": {"kind": "lognormal", "seconds": 0.5, "sigma": 0.5},
    "loss": {"kind": "bernoulli", "probability": 0.2},
    "churn": {"kind": "exponential", "up": 20, "down": 5},
}
LINKS = {
    "ring": static(Round.from_mixing(uniform(ring(6)))),
    "complete": complete(6),
    "random-matching": random_matching(6, np.random.SeedSequence(3)),
}


def accounted(clock: str, schedule: Schedule, rounds: int = 40, **settings: Any) -> tuple[Account, list[Event]]:
    more: dict[str, Any] = {"deadline": 1.5} if clock == "deadline" else {}
    network = NetworkConfig.model_validate({"clock": clock, **more, **settings})
    world = World.of(network, schedule.num_peers, np.random.SeedSequence(1), 1000)
    trace = trace_of(network, world, schedule)
    account, log = Account(schedule, trace.cut_at(0), clock, world), EventLog(trace.own_batches)
    events = log.at_start(trace.cut_at(0))
    for round_ in itertools.islice(trace.rounds(), rounds):
        account.add(round_)
        events += log.of_round(round_)
    return account, events


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("clock", CLOCKS)
def test_account__of_a_harsh_world(clock: str, links: str) -> None:
    account, events = accounted(clock, LINKS[links], **HARSH)
    found, rows, kinds = account.summary(), account.peers(), Counter(event.kind for event in events)
    assert sum(found["use"].values()) == pytest.approx(1) and min(found["use"].values()) >= 0
    path = found["critical_path"]
    assert sum(path[name] for name in ("compute", "latency", "idle", "offline")) == pytest.approx(1)
    assert path["sentence"] and 0 < path["seconds"] <= found["virtual_seconds"]
    assert found["loss"]["seen"] == pytest.approx(0.2, abs=0.1)
    assert found["messages"]["offline"] > 0 and found["availability"]["seen"] < 1
    assert kinds["arrive"] == found["messages"]["arrived"]
    assert kinds["lost"] == sum(found["messages"].values()) - found["messages"]["arrived"]
    assert kinds["send"] == sum(row["messages_sent"] for row in rows)
    others = [event for event in events if event.kind == "study" and event.other != event.peer]
    assert len(others) == sum(edge["heard"] for edge in account.edges())
    ages = [event.age_seconds for event in others if event.age_seconds is not None]
    assert len(ages) == len(others) and min(ages) > 0
    assert np.mean(ages) == pytest.approx(found["age_seconds"]["mean"])
    assert kinds["offline"] >= sum(row["times_offline"] for row in rows) > 0
    assert np.allclose(account.effective().toarray().sum(axis=1), 1)


@pytest.mark.parametrize("clock", CLOCKS[:4])
def test_account__of_an_ideal_world(clock: str) -> None:
    """All compute for 1 s, and nothing else takes time or is lost: so the mixing is the one asked for."""
    schedule = LINKS["ring"]
    account, _ = accounted(clock, schedule, 20)
    found = account.summary()
    assert found["virtual_seconds"] == 20 and found["use"] == {"compute": 1, "wait": 0, "offline": 0}
    assert np.allclose(account.effective().toarray(), schedule(0).as_pooled().mixing.toarray())
    assert found["effective_gap"] == pytest.approx(found["nominal_gap"]) == pytest.approx(0.5)  # 1 - cos(2 pi / 6)
    assert found["age_rounds"]["max"] == 0 and found["age_seconds"]["max"] == 0
    assert found["critical_path"]["compute"] == 1
    assert found["critical_path"]["sentence"] == "of the time 100% computing; no peer waited for another"


def test_account__a_straggler_whom_nobody_waits_for_is_not_to_blame() -> None:
    stragglers = {"share": 0.2, "slowdown": 10}
    waiting, _ = accounted("neighbours", LINKS["ring"], 40, stragglers=stragglers)
    running, _ = accounted("free-running", LINKS["ring"], 40, stragglers=stragglers)
    assert waiting.summary()["critical_path"]["sentence"].endswith(": 100% its computing")
    assert "no peer waited for another" in running.summary()["critical_path"]["sentence"]
    assert running.seconds < 0.2 * waiting.seconds


def test_account__of_gossip_has_ages_in_seconds_only() -> None:
    account, _ = accounted("gossip", LINKS["complete"], 60)
    found = account.summary()
    assert found["age_rounds"] is None and set(account.age_bins()) == {"seconds"}
    assert {edge["mean_age"] for edge in account.edges()} == {None}
    weights = account.effective().toarray()
    assert np.allclose(weights.diagonal(), 0) and np.allclose(weights.sum(axis=1), 1)
    assert found["critical_path"]["idle"] > 0  # nobody does anything until somebody wakes up


def test_account__of_a_barrier_waits_for_messages_alone() -> None:
    """Even a peer whose own message is the last to arrive anywhere has waited for it, not for nothing."""
    world = {name: HARSH[name] for name in ("compute", "latency")}
    path = accounted("synchronous", LINKS["ring"], **world)[0].summary()["critical_path"]
    assert path["idle"] == 0 and path["latency"] > 0.1
