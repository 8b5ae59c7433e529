"""Where hosts go on a cluster of several nodes, and what data each node has."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from coordinator import ConfigError, load_config, simulate
from coordinator.planning.loading import load_data
from coordinator.planning.plan import peer_settings, prepare
from coordinator.pools import placement
from coordinator.pools.placement import around, assign, digest_of, free_by_node, load_with_digest
from coordinator.pools.ray_pool import RayPool
from coordinator.pools.resources import count_fitting, reservations_of_hosts

CPU = {"CPU": 1.0, "GPU": 0.0}


def test_assign__spreads_or_packs() -> None:
    nodes = {"a": {"CPU": 2.0}, "b": {"CPU": 4.0}, "c": {"CPU": 2.0}}
    assert Counter(assign([CPU] * 6, nodes, "spread")) == {"a": 2, "b": 2, "c": 2}
    assert Counter(assign([CPU] * 4, nodes, "pack")) == {"b": 4}
    assert Counter(assign([CPU] * 6, nodes, "pack")) == {"b": 4, "a": 2}
    assert assign([CPU] * 2, {"a": {"CPU": 1.0}}, "pack") == ["a", ""]
    odd = {"CPU": 1.0, "GPU": 0.0, "fast": 1.0}
    assert assign([odd, CPU], {"a": {"CPU": 2.0}, "b": {"CPU": 1.0, "fast": 1.0}}, "spread") == ["b", "a"]


def test_around__what_else_runs_on_a_node_is_gone_around() -> None:
    free = {"a": {"CPU": 0.0}, "b": {"CPU": 1.0}, "c": {"CPU": 2.0}}
    assert around(["a", "b"], [CPU] * 2, free) == ["c", "b"]
    assert around(["a", "a", "a", "a"], [CPU] * 4, free) == ["c", "b", "c", "a"]  # the last waits for what ends first
    assert around(["gone"], [CPU], {"a": {"CPU": 0.5}}) == ["gone"]


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
    st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=12),
    st.sampled_from(["spread", "pack"]),
)
def test_assign__no_node_gets_more_than_it_has(cpus: list[int], asked: list[float], placement: Any) -> None:
    nodes = {str(number): {"CPU": float(amount)} for number, amount in enumerate(cpus)}
    reservations = [{"CPU": amount, "GPU": 0.0} for amount in asked]
    placed = assign(reservations, nodes, placement)
    for name, node in nodes.items():
        here = [reserved for reserved, place in zip(reservations, placed, strict=True) if place == name]
        assert not here or count_fitting([here], [node]) == 1
    for refused, place in zip(reservations, placed, strict=True):
        if not place:  # then nobody has room for it now
            assert all(
                sum(each["CPU"] for each, at in zip(reservations, placed, strict=True) if at == name) + refused["CPU"]
                > node["CPU"]
                for name, node in nodes.items()
            )


class Nodes:
    """Stands in for Ray: some nodes."""

    def __init__(self, *resources: dict[str, float]) -> None:
        self._resources = resources

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Resources": each} for each in self._resources]


def hosting(**values: Any) -> Any:
    table = {"data": {"kind": "synthetic"}, "topology": {"kind": "ring"}, "hosting": values}
    return load_config(table).hosting


def test_reservations_of_hosts__cpus_and_resources_that_were_asked_for() -> None:
    cluster = Nodes({"CPU": 4.0, "fast": 2.0})
    asked = hosting(peers_per_host=2, cpus_per_peer=0.75, resources={"fast": 1})
    assert reservations_of_hosts(cluster, asked, 3) == [
        {"CPU": 1.5, "GPU": 0.0, "fast": 1.0},
        {"CPU": 0.75, "GPU": 0.0, "fast": 1.0},
    ]
    line = r"hosting.resources: 3 x \(1.5 CPU, 1 fast\) cannot be placed on nodes with 1 x \(4 CPU, 2 fast\)"
    with pytest.raises(ConfigError, match=line):
        reservations_of_hosts(cluster, asked, 6)
    with pytest.raises(ConfigError, match=r"hosting.cpus_per_peer: 5 x \(1 CPU\) cannot be placed on nodes with"):
        reservations_of_hosts(cluster, hosting(cpus_per_peer=1.0), 5)


def test_load_with_digest__a_node_reads_the_other_data_sets_of_a_run_too() -> None:
    table = {"data": {"kind": "synthetic"}, "irrelevant": {"kind": "digits"}, "topology": {"kind": "ring"}}
    config = load_config(table)
    dataset, digest = load_with_digest(config.data, 0, config.other_data)
    assert digest == digest_of(load_data(config)) != load_with_digest(config.data, 0)[1]
    assert set(dataset.others) == {"irrelevant"} and dataset.others["irrelevant"].name == "digits"


def test_digest_of__sees_every_bit() -> None:
    section = load_config({"data": {"kind": "synthetic"}, "topology": {"kind": "ring"}}).data
    dataset, digest = load_with_digest(section, 3)
    assert digest == digest_of(dataset) == load_with_digest(section, 3)[1] != load_with_digest(section, 4)[1]
    images = dataset.train_images.copy()
    images[-1, 0, -1, -1] ^= 1
    assert digest_of(replace(dataset, train_images=images)) != digest


# ---- on several nodes ----


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[Any]:
    """A head and two workers, with a CPU each, on this machine."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for number in (1, 2):
        nodes.add_node(num_cpus=1, resources={"odd": 1.0} if number == 1 else {})
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def experiment(data: dict[str, Any], **hosting: Any) -> Any:
    return load_config(
        {
            "run": {"rounds": 6, "seed": 1},
            "data": {"batch_size": 16, **data},
            "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
            "topology": {"kind": "ring"},
            "evaluation": {"probe_batch": 16, "probes": ["knn"]},
            "hosting": {"evaluators": 0, **hosting},
            "tracking": {"enabled": False},
            "checkpoint": {"every": 0},
        }
    )


SYNTHETIC = {"kind": "synthetic", "num_train": 64, "num_test": 32}


@pytest.mark.slow
def test_placement__really_places(three_nodes: Any) -> None:
    for kind, cpus, expected in (("spread", 0.3, [1, 1, 1]), ("pack", 0.3, [3]), ("pack", 0.5, [1, 2])):
        config = experiment(SYNTHETIC, placement=kind, cpus_per_peer=cpus)
        dataset = prepare(config).dataset
        settings = peer_settings(config, dataset)
        pool = RayPool(3, config.hosting, lambda settings=settings, dataset=dataset: (settings, dataset))
        assert sorted(map(len, pool.nodes)) == expected, kind
        pool.close()


@pytest.mark.slow
def test_free_by_node__a_client_of_the_cluster_is_told_the_same(
    three_nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected by ray://, this process has no state of the cluster."""
    here = free_by_node(ray)
    assert len(here) == 3 and all(free["CPU"] == 1.0 for free in here.values())
    with monkeypatch.context() as patch:
        patch.setattr("ray.util.client.ray.is_connected", lambda: True)
        patch.setattr("ray._private.state.available_resources_per_node", told_elsewhere)
        assert free_by_node(ray) == here


def told_elsewhere() -> dict[str, Any]:
    """What a worker is told; in this process it raises."""
    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        raise AssertionError("asked for in the process that has no state")
    from ray._private.state import available_resources_per_node

    found: dict[str, Any] = available_resources_per_node()
    return found


def write_images(folder: Path, seed: int) -> None:
    from io import BytesIO

    from PIL import Image

    draw = np.random.default_rng(seed)
    for name, count in (("train", 48), ("test", 24)):
        images = []
        for _ in range(count):
            content = BytesIO()
            Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(content, "PNG")
            images.append(content.getvalue())
        labels = draw.integers(0, 3, count)
        labels[:3] = [0, 1, 2]
        folder.mkdir(exist_ok=True, parents=True)
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{name}.parquet")


@pytest.mark.slow
def test_data__of_the_coordinator_or_of_each_node(three_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nodes on one machine have the same files: what a node reads is counted, and swapped, in the function it runs."""

    write_images(tmp_path / "images", 1)
    write_images(tmp_path / "others", 2)
    data = {"kind": "parquet", "path": str(tmp_path / "images")}
    placed = {"placement": "spread", "cpus_per_peer": 0.3}
    once = simulate(experiment(data, **placed), tmp_path / "once").summary
    log, wrong = tmp_path / "log", tmp_path / "wrong"

    def counted(section: Any, seed: int, others: Any) -> Any:
        node = ray.get_runtime_context().get_node_id()
        with log.open("a") as file:
            file.write(f"{node}\n")
        if wrong.exists():
            section = section.model_copy(update={"path": section.path.replace("images", wrong.read_text())})
        return load_with_digest(section, seed, others)

    monkeypatch.setattr(placement, "_remote_load", lambda: ray.remote(counted))
    each = simulate(experiment({**data, "on_each_node": True}, **placed), tmp_path / "each").summary
    readers = log.read_text().split()
    assert len(readers) == len(set(readers)) == 2 and ray.get_runtime_context().get_node_id() not in readers
    for name in ("digest", "probes", "consensus"):
        assert each[name] == once[name], name
    wrong.write_text("others")
    with pytest.raises(
        ConfigError, match=r"data.on_each_node: node \S+ \(\w{8}\) has other parquet than this one: copy"
    ):
        simulate(experiment({**data, "on_each_node": True}, **placed), tmp_path / "refused")
    wrong.write_text("nowhere")
    with pytest.raises(ConfigError, match=r"data.on_each_node: node .* cannot read its copy \(data.path: .*nowhere"):
        simulate(experiment({**data, "on_each_node": True}, **placed), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
