"""What runs reserve, and how many nodes hold at once."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator import ConfigError
from coordinator.experiment.config import HostingConfig
from coordinator.pools.resources import (
    count_fitting,
    cpus_per_host,
    reservations_of_hosts,
    reservations_of_run,
    with_memory,
)

Resources = list[tuple[int, int]]


def cluster(*cpus_and_gpus: tuple[int, int]) -> Any:
    """A Ray of nodes with so many CPUs and GPUs, beside one that is down."""
    there = [{"Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in cpus_and_gpus]
    return SimpleNamespace(nodes=lambda: [*there, {"Resources": {"CPU": 99.0, "GPU": 99.0}, "Alive": False}])


def hosting(**settings: Any) -> HostingConfig:
    return HostingConfig(**settings)


# ---- what a run needs ----


@pytest.mark.parametrize(
    ("settings", "there", "expected"),
    [
        ({"pool": "in-process"}, [(2, 0)], [{"CPU": 1}]),
        ({"pool": "in-process", "threads": 8}, [(2, 0), (4, 0)], [{"CPU": 4}]),
        ({"pool": "in-process", "gpus_per_peer": 0.25}, [(2, 1)], [{"CPU": 1, "GPU": 1}]),
        ({"pool": "in-process", "threads": 8, "gpus_per_peer": 0.25}, [(8, 0), (2, 1)], [{"CPU": 2, "GPU": 1}]),
        ({"pool": "ray"}, [(2, 0)], [{"CPU": 0.5}] * 4),
        ({"pool": "ray"}, [(1, 0)], [{"CPU": 1}]),
        ({"pool": "ray"}, [(1, 0), (1, 0)], [{"CPU": 0.5}] * 4),
        ({"pool": "ray", "execution": "vectorised"}, [(1, 0), (1, 0)], [{"CPU": 1}] * 2),
        ({"pool": "ray", "device": "cuda"}, [(2, 1)], [{"CPU": 1, "GPU": 1}]),
        ({"pool": "ray", "peers_per_host": 3}, [(2, 4)], [{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 1}]),
        ({"pool": "ray", "gpus_per_peer": 0.5}, [(8, 0), (1, 2)], [{"CPU": 0.25, "GPU": 0.5}] * 4),
    ],
)
def test_reservations_of_run__are_what_the_hosts_take(
    settings: dict[str, Any], there: Resources, expected: list[dict[str, float]]
) -> None:
    assert reservations_of_run(cluster(*there), hosting(**settings), 4) == expected


@pytest.mark.parametrize(
    ("settings", "there", "line"),
    [
        (
            {"pool": "in-process", "gpus_per_peer": 1.0},
            [(2, 2)],
            "hosting.gpus_per_peer asks for 1 x 5 peers = 5 GPUs but the cluster has 2: set it to 0.2 or lower "
            "peers.count",
        ),
        (
            {"gpus_per_peer": 0.5},
            [(2, 2)],
            "hosting.gpus_per_peer asks for 0.5 x 5 peers = 2.5 GPUs but the cluster has 2: set it to 0.33 or lower "
            "peers.count",
        ),
        (
            {"gpus_per_peer": 0.4, "peers_per_host": 1},
            [(2, 2)],
            "hosting.gpus_per_peer: 5 x (0.4 CPU, 0.4 GPU) cannot be placed on nodes with 1 x (2 CPU, 2 GPU): a host "
            "lies on one node and a share of a GPU on one device; lower it or peers.count, or give CPUs to the nodes "
            "with GPUs",
        ),
        (
            {"gpus_per_peer": 2.0, "peers_per_host": 5},
            [(1, 1)] * 10,
            "hosting.gpus_per_peer: 1 x (1 CPU, 2 GPU) cannot be placed on nodes with 10 x (1 CPU, 1 GPU): a host lies",
        ),
        (
            {"gpus_per_peer": 1.0},
            [(4, 0), (0, 5)],
            "hosting.gpus_per_peer: 5 x (0.8 CPU, 1 GPU) cannot be placed on nodes with 1 x (4 CPU), 1 x (0 CPU, 5 GPU",
        ),
        (
            {"pool": "in-process", "gpus_per_peer": 0.2},
            [(4, 0), (0, 1)],
            "hosting.gpus_per_peer: 1 x (1 CPU, 1 GPU) cannot be placed on nodes with 1 x (4 CPU), 1 x (0 CPU, 1 GPU)",
        ),
        ({"gpus_per_peer": 1.5}, [(8, 8)], "hosting.gpus_per_peer: must be a whole number above 1, got 1.5: set it to"),
        ({}, [(0, 0)], "hosting: the Ray cluster has no CPU to offer"),
        ({"pool": "in-process"}, [(0, 0)], "hosting: the Ray cluster has no CPU to offer"),
    ],
)
def test_reservations_of_run__what_no_node_holds_is_refused_in_one_line(
    settings: dict[str, Any], there: Resources, line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        reservations_of_run(cluster(*there), hosting(**settings), 5)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("peers", "per_host", "gpus"), [(5, 1, 2), (6, 2, 2), (8, 3, 3), (7, 4, 1), (3, 1, 2)])
def test_reservations_of_run__the_share_that_an_error_names_can_be_placed(peers: int, per_host: int, gpus: int) -> None:
    there, asked = cluster((2, gpus)), {"pool": "ray", "peers_per_host": per_host}
    with pytest.raises(ConfigError, match="set it to") as caught:
        reservations_of_run(there, hosting(**asked, gpus_per_peer=1.0), peers)
    named = float(str(caught.value).split("set it to ")[1].split()[0])
    assert named > 0 and reservations_of_run(there, hosting(**asked, gpus_per_peer=named), peers)


@pytest.mark.parametrize(("gpus", "each"), [(0, 0.0), (4, 1.0), (6, 1.0)])
def test_reservations_of_hosts__auto_gives_each_peer_a_gpu_or_none(gpus: int, each: float) -> None:
    assert reservations_of_hosts(cluster((2, gpus)), hosting(), 4) == [{"CPU": 0.5, "GPU": each}] * 4


def test_reservations_of_hosts__gpus_that_are_too_few_are_not_left_idle_in_silence() -> None:
    with pytest.warns(UserWarning, match=r"1 GPUs for 4 peers: the run stays on the CPU; hosting.gpus_per_peer=0.25 "):
        assert reservations_of_hosts(cluster((2, 1)), hosting(), 4) == [{"CPU": 0.5, "GPU": 0.0}] * 4


def test_reservations_of_hosts__uneven_hosts_on_one_device() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reservations_of_hosts(cluster((1, 2)), hosting(peers_per_host=2, gpus_per_peer=0.3), 5)
    assert found == [{"CPU": 0.333, "GPU": 0.6}] * 2 + [{"CPU": 0.333, "GPU": 0.3}]


@pytest.mark.parametrize(
    ("nodes", "num_hosts", "share"),
    [([2.0], 4, 0.5), ([2.0], 1, 1.0), ([2.0], 3, 0.666), ([3.0, 1.0], 5, 0.75), ([8.0, 0.0], 4, 1.0)],
)
def test_cpus_per_host__share_the_cpus_of_each_node(nodes: list[float], num_hosts: int, share: float) -> None:
    assert cpus_per_host([{"CPU": cpus} for cpus in nodes], [0.0] * num_hosts) == share
    assert sum(int(cpus / share) for cpus in nodes) >= num_hosts


# ---- how many fit ----


@pytest.mark.parametrize(
    ("needs", "nodes", "count"),
    [
        ([[{"CPU": 1}]] * 5, [(2, 0)], 2),
        ([[{"CPU": 1}]] * 5, [(3, 0), (8, 0)], 5),
        ([[{"CPU": 0.5}] * 4] * 3, [(2, 0)], 1),
        ([[{"CPU": 0.666}] * 3] * 3, [(2, 0), (2, 0)], 2),
        ([[{"CPU": 2}]] * 4, [(3, 0), (3, 0)], 2),  # what is left of each node holds none
        ([[{"CPU": 1, "GPU": 1}]] * 2, [(8, 0)], 0),
        ([[{"CPU": 0.1, "GPU": 0.4}] * 5], [(8, 2)], 0),  # two to a device
        ([[{"CPU": 0.1, "GPU": 0.4}]] * 5, [(8, 2)], 4),
        ([[{"CPU": 1, "GPU": 2}]] * 2, [(8, 1), (8, 1)], 0),
        ([[{"CPU": 1, "GPU": 2}]] * 3, [(8, 5)], 2),
        ([[{"GPU": 0.5}], [{"GPU": 0.5}], [{"GPU": 1}]], [(1, 2)], 3),  # both halves on one device
    ],
)
def test_count_fitting__counts_runs_that_empty_nodes_hold(
    needs: list[list[dict[str, float]]], nodes: Resources, count: int
) -> None:
    runs = [[{name: float(amount) for name, amount in bundle.items()} for bundle in run] for run in needs]
    assert count_fitting(runs, [{"CPU": float(cpus), "GPU": float(gpus)} for cpus, gpus in nodes]) == count


@pytest.mark.parametrize(
    ("needs", "memory", "nodes", "expected"),
    [
        (1, 600, [1000.0], 600.0),
        (1, 6000, [1000.0, 300.0], 1000.0),  # all of the node, so that no other run joins it
        (4, 1000, [1000.0], 250.0),
        (4, 2000, [1000.0], 250.0),
        (3, 3000, [1000.0, 600.0], 500.0),
        (2, 1000, [0.0], None),
    ],
)
def test_with_memory__is_split_and_never_more_than_nodes_have(
    needs: int, memory: int, nodes: list[float], expected: float | None
) -> None:
    there = [{"CPU": 2.0, "memory": each} for each in nodes]
    found = with_memory([{"CPU": 0.5}] * needs, memory, there)
    assert found == [{"CPU": 0.5} | ({} if expected is None else {"memory": expected})] * needs
