"""Runs side by side on Ray: the numbers of a run alone, and never more than fit."""

import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from coordinator import ConfigError, RunConfig, load_config, simulate
from coordinator.cells import SideBySide, bundles, fitting, run_aside
from coordinator.config import HostingConfig

METRICS = ("rounds", "bytes_exchanged", "consensus", "probes", "flags", "relative_weight_change", "digest", "topology")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own start-up
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def config_of(pool: str = "in-process", **sections: Any) -> RunConfig:
    table: dict[str, Any] = {
        "run": {"rounds": 6, "seed": 1},
        "data": {"kind": "synthetic", "num_train": 256, "num_test": 64, "batch_size": 32},
        "peers": {
            "count": 3,
            "model": {"kind": "small-cnn", "channels": [8, 16]},
            "head": {"kind": "linear", "dim": 8},
            "optimizer": {"kind": "adamw", "lr": 3e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 32, "every": 3, "probes": ["knn", "linear"]},
        "hosting": {"pool": pool, "peers_per_host": 3},
        "tracking": {"enabled": False},
    }
    if "kind" in sections.get("data", {}):  # another kind has other keys
        table["data"] = {}
    return load_config({**table, **{name: {**table.get(name, {}), **values} for name, values in sections.items()}})


def nodes(*cpus_and_gpus: tuple[int, int]) -> Any:
    there = [{"Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in cpus_and_gpus]
    total = {name: sum(node["Resources"][name] for node in there) for name in ("CPU", "GPU")}
    return SimpleNamespace(nodes=lambda: there, cluster_resources=lambda: total)


# ---- what a run needs, and how many fit ----


@pytest.mark.parametrize(
    ("hosting", "there", "expected"),
    [
        ({"pool": "in-process"}, [(2, 0)], [{"CPU": 1}]),
        ({"pool": "in-process", "threads": 8}, [(2, 0), (4, 0)], [{"CPU": 4}]),
        ({"pool": "in-process", "gpus_per_peer": 0.25}, [(2, 1)], [{"CPU": 1, "GPU": 1}]),
        ({"pool": "ray"}, [(2, 0)], [{"CPU": 0.5}] * 4),
        ({"pool": "ray", "peers_per_host": 3}, [(2, 4)], [{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 1}]),
    ],
)
def test_bundles__are_what_the_hosts_take(
    hosting: dict[str, Any], there: list[tuple[int, int]], expected: list[dict[str, float]]
) -> None:
    assert bundles(nodes(*there), HostingConfig(**hosting), 4) == expected


def test_bundles__more_gpus_than_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"\Ahosting.gpus_per_peer asks for 1 x 4 peers = 4 GPUs but the cluster has 2"
    ):
        bundles(nodes((2, 2)), HostingConfig(pool="in-process", gpus_per_peer=1.0), 4)


@pytest.mark.parametrize(
    ("needs", "cpus", "count"),
    [
        ([[{"CPU": 1}]] * 5, [2], 2),
        ([[{"CPU": 1}]] * 5, [3, 8], 5),
        ([[{"CPU": 0.5}] * 4] * 3, [2], 1),
        ([[{"CPU": 0.666}] * 3] * 3, [2, 2], 2),
        ([[{"CPU": 2}]] * 4, [3, 3], 2),  # what is left of each node holds none
        ([[{"CPU": 1, "GPU": 1}]] * 2, [8], 0),
    ],
)
def test_fitting__counts_runs_that_empty_nodes_hold(
    needs: list[list[dict[str, float]]], cpus: list[int], count: int
) -> None:
    runs = [[{name: float(amount) for name, amount in bundle.items()} for bundle in run] for run in needs]
    assert fitting(runs, [{"CPU": float(each)} for each in cpus]) == count


# ---- running ----


def test_side_by_side__each_run_has_the_numbers_of_a_run_alone(cluster: Any, tmp_path: Path) -> None:
    configs = [config_of(run={"seed": seed}) for seed in (1, 2)] + [config_of("ray")]
    alone = [simulate(config, tmp_path).summary for config in configs[:2]]
    runs = SideBySide(cluster, configs)
    outcomes = dict(runs.outcomes())
    runs.close()
    assert runs.at_once == 2 and sorted(outcomes) == [0, 1, 2]
    summaries = [json.loads(outcomes[place].files["summary.json"]) for place in range(3)]
    for name in METRICS:
        expected = [json.loads(json.dumps(summary[name])) for summary in alone]
        assert [summary[name] for summary in summaries[:2]] == expected, name
        assert summaries[2][name] == expected[0], name
    assert load_config(_written(tmp_path / "c.toml", outcomes[0].files["config.toml"])) == configs[0]
    assert {"metrics/rounds.parquet", "report.html", "figures/topology.png"} <= outcomes[0].files.keys()
    end = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 2:  # Ray frees what a run held soon after it
        assert time.monotonic() < end
        time.sleep(0.05)


def test_side_by_side__a_run_that_fails_or_is_lost_leaves_the_others(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(config: RunConfig) -> Any:
        import os

        os.kill(os.getpid(), 9)

    diverges = config_of(peers={"norm": "none", "optimizer": {"kind": "sgd", "lr": 1e38}}, run={"rounds": 20})
    missing = config_of(data={"kind": "parquet", "path": str(tmp_path)})
    runs = SideBySide(cluster, [diverges, missing, config_of()])
    outcomes = dict(runs.outcomes())
    assert [outcomes[place].status for place in range(3)] == ["stopped", "failed", "finished"]
    assert "lower peers.optimizer.lr" in outcomes[0].error and outcomes[1].error.startswith("data.path: ")
    assert not outcomes[0].files and not outcomes[1].files
    monkeypatch.setattr("coordinator.cells.run_aside", killed)
    (lost,) = dict(SideBySide(cluster, [config_of()]).outcomes()).values()
    assert lost.status == "failed" and lost.error.startswith("its process was lost (") and "\n" not in lost.error


def test_run_aside__leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run_aside(config_of())
    assert outcome.status == "finished" and outcome.seconds > 0 and not list(tmp_path.iterdir())


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
