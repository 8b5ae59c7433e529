import itertools
from typing import Any

import numpy as np

from coordinator.records.files.network_files import summary_of
from coordinator.reports.network import facts, on_network, share
from tests.topologies.network.hand_made import neighbours, schedule_of, start_of
from topologies.accounts.account import Account
from topologies.schedule import Schedule, complete
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World


def part(schedule: Schedule, rounds: int, network: NetworkConfig, *arguments: Any) -> dict[str, Any]:
    """The part `network` of a summary, of peers that wait for each other."""
    account = Account(schedule, start_of(schedule), network.clock)
    for round_ in itertools.islice(neighbours(schedule, *arguments), rounds):
        account.add(round_)
    return summary_of(account, network, World.of(network, schedule.num_peers, 0, 100), plain=True)


def test_share__small_ones_are_not_zero() -> None:
    assert [share(value) for value in (0.0, 0.00002, 0.0123, 0.5, None)] == [
        "0%",
        "under 0.1%",
        "1.2%",
        "50%",
        "unknown",
    ]


def test_facts__two_peers_far_apart() -> None:
    """2 s on the way and 1 s of computing."""
    schedule = schedule_of({0: [1], 1: [0]}, 2)
    found = facts(part(schedule, 10, NetworkConfig(), [1.0, 1.0], 2.0))
    assert found == {
        "clock": "neighbours: each peer waits for its own teachers; messages are outputs, about the batch on which "
        "they were made",
        "virtual time": "30 s, 3 s a round",
        "peers' time": "33% computing, 67% waiting, 0% offline",
        "messages": "20 arrived",
        "on the way": "2 s",
        "age when used": "2 s",
        "who hears whom": "1 - λ2 of the mean weights 2, as the topology has it",
        "critical path": "of the time 67% messages under way, 33% computing; no single peer sets the pace",
    }


def test_facts__loss_is_told_beside_what_was_asked_for() -> None:
    n, rounds = 4, 100
    draws = np.random.default_rng(0).random((n, n, rounds)) < 0.4
    network = NetworkConfig.model_validate({"loss": {"kind": "bernoulli", "probability": 0.4}})
    found = facts(part(complete(n), rounds, network, [1.0] * n, 0.0, lambda a, b, k: bool(draws[a, b, k])))
    lost = int(draws[~np.eye(n, dtype=bool)].sum())
    assert found["messages"].startswith(f"{1200 - lost:,} arrived, {lost} lost ({lost / 1200:.0%}, 40% asked for), ")
    assert "of the steps had no message to learn from" in found["messages"]
    assert " against 1.33 as the topology has it: step by step, peers agree slower" in found["who hears whom"]


def test_on_network__tells_what_is_simulated_from_what_is_real() -> None:
    schedule = schedule_of({0: [1], 1: [0]}, 2)
    network = part(schedule, 2, NetworkConfig(), [1.0, 1.0], 2.0)
    assert on_network({"faults": []}) == []
    *_, quiet = on_network({"network": network, "faults": []})
    *_, faulty = on_network({"network": network, "faults": [{"what": "a host was lost"}]})
    assert quiet == (
        "simulated by the section [network]: virtual time, delays, losses and absent peers; no real machine failed"
    )
    assert faulty.endswith("; 1 fault of real machines, survived, changed no number")
