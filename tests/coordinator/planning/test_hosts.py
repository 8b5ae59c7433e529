"""How many peers an actor hosts where nobody says so."""

import math
from typing import Any

import pytest

from coordinator.experiment.config import HostingConfig
from coordinator.planning.hosts import ACTOR_BYTES, FORKED_BYTES, hosts_of, peers_per_host


@pytest.mark.parametrize(
    ("settings", "peers", "cores", "gpus", "expected"),
    [
        ({}, 2, 2, 0, 1),
        ({}, 4, 2, 0, 1),
        ({}, 5, 2, 0, 3),
        ({}, 10_000, 2, 0, 5000),
        ({}, 16, 16, 0, 1),
        ({}, 4, 0, 0, 4),
        ({"execution": "vectorised"}, 4, 2, 0, 2),
        ({"execution": "vectorised"}, 4, 8, 0, 2),  # one peer has nothing to be stacked with
        ({"execution": "vectorised"}, 7, 4, 0, 4),  # hosts of 2 or 3 would leave one alone
        ({"execution": "auto"}, 4, 2, 0, 1),
        ({}, 4, 2, 4, 1),
        ({}, 16, 2, 4, 8),  # too few GPUs for all: the run stays on the CPU
        ({"device": "cuda"}, 16, 2, 4, 4),
        ({"device": "cuda"}, 8, 2, 4, 1),
        ({"device": "cpu"}, 16, 2, 16, 8),
        ({"gpus_per_peer": 0.25}, 16, 2, 4, 4),
        ({"gpus_per_peer": 0}, 16, 2, 16, 8),
        ({"peers_per_host": 3}, 16, 16, 0, 3),
    ],
)
def test_peers_per_host__by_cores_or_gpus(
    settings: dict[str, Any], peers: int, cores: int, gpus: int, expected: int
) -> None:
    assert peers_per_host(HostingConfig(**settings), peers, cores, gpus, math.inf) == expected


@pytest.mark.parametrize(("workers", "each"), [("spawned", ACTOR_BYTES), ("forked", FORKED_BYTES)])
def test_peers_per_host__more_actors_than_cores_must_fit_into_memory(workers: str, each: int) -> None:
    hosting = HostingConfig.model_validate({"workers": workers, "device": "cpu"})
    assert peers_per_host(hosting, 4, 2, 0, 4.0 * each) == 1
    assert peers_per_host(hosting, 4, 2, 0, 4.0 * each - 1) == 2
    assert peers_per_host(hosting, 2, 2, 0, 0.0) == 1


@pytest.mark.parametrize("peers", [1, 5, 7, 13, 17, 64])
@pytest.mark.parametrize("cores", [1, 2, 7])
@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_hosts_of__every_peer_is_on_one_host_and_no_more_hosts_than_told(
    peers: int, cores: int, execution: str
) -> None:
    hosting = HostingConfig.model_validate({"execution": execution})
    number = peers_per_host(hosting, peers, cores, 0, math.inf)
    hosts = hosts_of(hosting.model_copy(update={"peers_per_host": number}), peers)
    assert [peer for host in hosts for peer in host] == list(range(peers))
    assert len(hosts) <= (cores if execution == "vectorised" else 2 * cores)
    assert execution == "loop" or peers == 1 or all(len(host) > 1 for host in hosts)  # none is alone in its stack
    # the settings that a run notes can be read again
    HostingConfig.model_validate({"execution": execution, "peers_per_host": number})
