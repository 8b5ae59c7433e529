import itertools
from typing import Any

import numpy as np
import pytest

from topologies.accounts.account import Account
from topologies.network.simulation import trace_of
from topologies.schedule import Schedule, complete
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

SIZE, UP = 1_000_000, 2_000_000.0  # half a second alone


def queueing(schedule: Schedule, latency: dict[str, Any], rounds: int = 5, **settings: Any) -> Account:
    network = NetworkConfig.model_validate(
        {"latency": latency, "bandwidth": {"kind": "caps", "up": UP, "down": 1e9}, **settings}
    )
    world = World.of(network, schedule.num_peers, np.random.SeedSequence(0), SIZE)
    trace = trace_of(network, world, schedule)
    account = Account(schedule, trace.cut_at(0), network.clock, world)
    for round_ in itertools.islice(trace.rounds(), rounds):
        account.add(round_)
    return account


@pytest.mark.parametrize("latency", [{"kind": "constant", "seconds": 0.3}, {"kind": "lognormal", "seconds": 0.3}])
def test_queueing__a_message_at_a_time_waits_for_nothing(latency: dict[str, Any]) -> None:
    """Also if its latency is drawn anew each time: the same draw is taken off."""
    account = queueing(complete(2), latency)
    assert account.queueing is not None
    assert account.queueing.seconds.figures()["max"] == 0 and account.messages.counts()["arrived"] == 10


def test_queueing__messages_to_all_others_share_the_uplink() -> None:
    """Three at once, fairly: each takes three times as long as alone, so it waits for two times half a second."""
    account = queueing(complete(4), {"kind": "constant", "seconds": 0.25})
    found = account.summary()
    assert found["queueing_seconds"] == pytest.approx(dict.fromkeys(("mean", "p50", "p95", "max"), 1.0), abs=1e-6)
    assert found["delivery_seconds"]["mean"] == pytest.approx(1.5 + 0.25)
    assert [edge["mean_queueing_seconds"] for edge in account.edges()] == pytest.approx([1.0] * 12, abs=1e-6)


def test_queueing__is_unknown_without_limits() -> None:
    network = NetworkConfig()
    world = World.of(network, 2, np.random.SeedSequence(0), SIZE)
    trace = trace_of(network, world, complete(2))
    assert Account(complete(2), trace.cut_at(0), "neighbours", world).summary()["queueing_seconds"] is None
