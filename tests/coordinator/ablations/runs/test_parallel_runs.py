"""Runs side by side on Ray: the numbers of a run alone, and never more than fit."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from coordinator import RunConfig, load_config, simulate
from coordinator.ablations.runs.parallel_runs import Outcome, ParallelRuns, RunStatus, run_isolated
from coordinator.planning.plan import load_data

METRICS = ("rounds", "bytes_exchanged", "consensus", "probes", "flags", "relative_weight_change", "digest", "topology")


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


def side_by_side(configs: list[RunConfig], memory: int = 0, said: list[str] | None = None) -> ParallelRuns:
    return ParallelRuns(ray, configs, [memory] * len(configs), (said if said is not None else []).append)


@pytest.mark.slow
def test_side_by_side__each_run_has_the_numbers_of_a_run_alone(cluster: Any, tmp_path: Path) -> None:
    configs = [config_of(run={"seed": seed}) for seed in (1, 2)] + [config_of("ray")]
    alone = [simulate(config, tmp_path).summary for config in configs[:2]]
    runs = side_by_side(configs)
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
    def killed(config: RunConfig, dataset: Any, prefix: str) -> Any:
        import os

        os.kill(os.getpid(), 9)

    diverges = config_of(peers={"norm": "none", "optimizer": {"kind": "sgd", "lr": 1e38}}, run={"rounds": 20})
    missing = config_of(data={"kind": "parquet", "path": str(tmp_path)})
    runs = side_by_side([diverges, missing, config_of()])
    outcomes = dict(runs.outcomes())
    assert [outcomes[place].status for place in range(3)] == ["stopped", "failed", "finished"]
    assert "lower peers.optimizer.lr" in outcomes[0].error and outcomes[1].error.startswith("data.path: ")
    assert not outcomes[0].files and not outcomes[1].files
    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.run_isolated", killed)
    (lost,) = dict(side_by_side([config_of()]).outcomes()).values()
    assert lost.status == "failed" and lost.error.startswith("its process was lost (") and "\n" not in lost.error


def test_side_by_side__data_is_loaded_once_for_each_section_and_seed_and_never_by_a_run(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the data does not exist: only the driver has it."""
    loaded = []

    def load(config: RunConfig) -> Any:
        loaded.append((config.data.batch_size, config.run.seed))
        return load_data(config_of())

    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.load_data", load)
    configs = [
        config_of(data={"kind": "parquet", "path": "/nowhere", "batch_size": size}, run={"rounds": 1, "seed": seed})
        for size, seed in ((16, 1), (32, 1), (16, 2))
    ]
    runs = side_by_side(configs)
    assert [outcome.status for _, outcome in sorted(runs.outcomes())] == ["finished"] * 3
    assert loaded == [(16, 1), (16, 2)] and not runs._data


def test_side_by_side__small_runs_after_a_large_one_fill_the_cluster(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large run that takes the cluster, then three of half a CPU, which end only if all run at once."""

    def meet(config: RunConfig, dataset: Any, prefix: str) -> None:
        import time

        if config.run.seed:
            (tmp_path / str(config.run.seed)).touch()
            end = time.monotonic() + 60
            while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < end:
                time.sleep(0.05)

    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.run_isolated", meet)
    monkeypatch.setattr(ParallelRuns, "_outcome", lambda self, reference: Outcome(RunStatus.STOPPED, "", {}, 0.0))
    start = time.monotonic()
    runs = side_by_side([config_of(run={"seed": seed}) for seed in range(4)])
    runs._needs = [[{"CPU": 2.0}]] + [[{"CPU": 0.5}]] * 3
    assert len(list(runs.outcomes())) == 4 and time.monotonic() - start < 60


def test_side_by_side__a_wait_for_room_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.run_isolated", lambda config, dataset, prefix: None)
    monkeypatch.setattr(ParallelRuns, "_outcome", lambda self, reference: Outcome(RunStatus.STOPPED, "", {}, 0.0))
    other = placement_group([{"CPU": 2}])
    assert other.wait(30)
    said: list[str] = []
    runs = side_by_side([config_of(hosting={"start_timeout": 0.2})], said=said)

    def leave(line: str) -> None:
        said.append(line)
        remove_placement_group(other)

    runs._tell = leave
    assert len(list(runs.outcomes())) == 1
    (line,) = said
    assert line.startswith("nothing runs for 0.2 s: the next run waits for 1 x (1 CPU), and of the cluster 0 CPU")


def test_side_by_side__reserves_memory_so_that_no_more_run_than_it_holds(cluster: Any) -> None:
    (node,) = ray.nodes()
    most = node["Resources"]["memory"]
    assert side_by_side([config_of()] * 4, int(most / 3)).at_once == 2
    assert side_by_side([config_of()] * 4, int(most / 1.5)).at_once == 1
    assert side_by_side([config_of()] * 4, int(most * 10)).at_once == 1  # which then has all of it


def test_run_aside__leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    inside: list[str] = []

    def watched(config: RunConfig, output: Any, **others: Any) -> Any:
        inside.extend(path.name for path in tmp_path.iterdir())
        return simulate(config, output, **others)

    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.simulate", watched)
    outcome = run_isolated(config_of(), prefix="peer-consensus-mine-")
    assert outcome.status == "finished" and outcome.seconds > 0 and not list(tmp_path.iterdir())
    assert len(inside) == 1 and inside[0].startswith("peer-consensus-mine-")


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
