"""Whole ablations: tables, resuming after a kill, failing cells, MLflow, and the command."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tomli_w

from coordinator import ConfigError, ablate, load_ablation, load_ablation_result, load_config, load_result, simulate
from coordinator.ablations.ablate import AblationResult
from coordinator.ablations.mlflow_runs import ablation_note
from coordinator.ablations.runs.parallel_runs import Outcome, RunStatus
from coordinator.ablations.runs.results_folder import (
    LOCK,
    locked_folder,
)
from coordinator.records.events import Note, RunEvent
from coordinator.records.files.progress import PROGRESS
from coordinator.records.files.run_folder import temporary_folder_prefix
from coordinator.records.tracking.mlflow import store_uri

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
Cli = Callable[..., tuple[Any, str, str]]
ROOT = Path(__file__).parents[3]
BASE: dict[str, Any] = {
    "name": "tiny",
    "seeds": [0, 3],
    "run": {"rounds": 3},
    "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
    "peers": {
        "count": 4,
        "model": {"kind": "mlp", "hidden": [8]},
        "head": {"kind": "linear", "dim": 4},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "norm": "none",
    },
    "evaluation": {"probes": ["knn"]},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
    "grid": {"topology": [{"kind": "ring"}, {"kind": "self"}]},
}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the figures of the ablation, for tests that do not look at them."""
    monkeypatch.setattr("coordinator.ablations.figures.saving.save_ablation_figures", lambda *_: [])


class Said:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def observe(self, event: RunEvent) -> None:
        assert isinstance(event, Note)
        self.tell(event.text)

    def tell(self, text: str) -> None:
        self.lines.append(text)


def run(output: Path, **parts: Any) -> tuple[AblationResult, list[str]]:
    said = Said()
    return ablate(load_ablation({**BASE, **parts}), output, [said]), said.lines


def finished_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if ", seed " in line]


# ---- what it leaves ----


def test_ablate__results_are_those_of_the_runs_alone(cluster: None, tmp_path: Path) -> None:
    result, said = run(tmp_path)
    assert result.status == "finished" and result.num_finished == 4 and len(finished_lines(said)) == 4
    rows = pq.read_table(result.folder / "results.parquet").to_pylist()
    assert [(row["cell"], row["seed"]) for row in rows] == [("ring", 0), ("ring", 3), ("self", 0), ("self", 3)]
    experiment = {key: value for key, value in BASE.items() if key not in ("name", "seeds", "grid")}
    alone = simulate(load_config({**experiment, "topology": {"kind": "self"}}, ["run.seed=3"]), tmp_path).summary
    last = rows[3]
    assert last["digest"] == alone["digest"] and last["axis.topology"] == "self"
    assert last["probes.knn.gain"] == alone["probes"]["knn"]["gain"]
    assert last["consensus.relative_distance.last"] == alone["consensus"]["relative_distance"]["last"]
    assert last["topology.spectral_gap"] == alone["topology"]["spectral_gap"] and last["bytes_exchanged"] == 0
    assert last["topology.pooling_connectivity"] == alone["topology"]["pooling_connectivity"] == 0
    low, high = alone["probes"]["knn"]["interval"]
    assert (last["probes.knn.interval_low"], last["probes.knn.interval_high"]) == (low, high)
    assert (last["artefacts"], last["not_finite"]) == (", ".join(alone["artefacts"]), "")
    timed = {"rounds_per_second", "evaluation_share", "seconds.rounds", "beside_rounds"}
    assert not {*timed, "versions.torch"} & last.keys()
    timings = pq.read_table(result.folder / "timings.parquet").to_pylist()
    assert [row["seconds"] > 0 for row in timings] == [True] * 4
    assert all((result.folder / name).is_file() for name in ("ablation.toml", "report.html", "differences.parquet"))
    summary = json.loads((result.folder / "summary.json").read_text())
    assert "<dd>topology = ring, self</dd>" in (result.folder / "report.html").read_text()
    assert summary["cells"] == ["ring", "self"] and summary["reference"] == "self" and summary["failed"] == []
    assert result.table().equals(pq.read_table(result.folder / "results.parquet"))
    loaded = load_ablation_result(result.folder)
    assert loaded == result and loaded.table().equals(result.table())
    with pytest.raises(ConfigError, match=r"\Aload_result: '.*tiny' is an ablation: use load_ablation_result, or name"):
        load_result(result.folder)
    assert load_result(result.folder / "cells" / last["key"] / "seed-3").summary["digest"] == alone["digest"]


def test_ablate__again_runs_nothing_and_more_cells_run_only_those(cluster: None, undrawn: None, tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    before = pq.read_table(first.folder / "results.parquet")
    again, said = run(tmp_path)
    assert finished_lines(said) == [] and "4 of 4 runs done before" in said[0]
    assert pq.read_table(again.folder / "results.parquet").equals(before)
    kinds = [{"kind": "ring"}, {"kind": "complete"}]
    more, said = run(tmp_path, grid={"topology": kinds}, seeds=[0])
    assert [line.split(":")[0] for line in finished_lines(said)] == ["complete, seed 0"]
    assert any(line.startswith("1 cell of another version of the file") for line in said)
    assert any("add seeds = [0, 1, 2]" in line for line in said)
    assert [row["cell"] for row in more.rows] == ["ring", "complete"]


def test_ablate__a_cell_that_fails_is_told_and_tried_again(cluster: None, undrawn: None, tmp_path: Path) -> None:
    axes = {"peers.optimizer.lr": [0.1, 1e38]}
    result, _ = run(tmp_path, grid=axes, topology={"kind": "ring"})
    assert result.status == "failed"
    assert [row["status"] for row in result.rows] == ["finished", "finished", "failed", "failed"]
    assert "lower peers.optimizer.lr" in result.rows[2]["error"]
    table = pq.read_table(result.folder / "results.parquet")
    assert table["axis.peers.optimizer.lr"].to_pylist() == [0.1, 0.1, 1e38, 1e38]
    assert table["probes.knn.gain"].null_count == 2
    assert result.comparison is not None and "1e+38, seed 0" in (result.folder / "report.html").read_text()
    loaded = load_ablation_result(result.folder)
    assert (loaded.status, loaded.rows) == ("failed", result.rows)
    assert str(loaded.comparison) == str(result.comparison)  # as text, since nan differs from nan
    again, said = run(tmp_path, grid=axes, topology={"kind": "ring"})
    assert again.status == "failed" and len(finished_lines(said)) == 2


def test_ablate__interrupted_says_what_is_done_and_continues(
    cluster: None, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Said, text: str) -> None:
        if ", seed " in text:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Said, "tell", interrupt)
        result, _ = run(tmp_path)
    assert result.status == "interrupted" and 1 <= result.num_finished < 4
    assert {row["status"] for row in result.rows} == {"finished", "not run"}
    done = result.num_finished
    assert pq.read_table(result.folder / "results.parquet")["status"].to_pylist().count("finished") == done
    assert not list(Path(tempfile.gettempdir()).glob(f"{temporary_folder_prefix(result.folder)}*"))
    loaded = load_ablation_result(result.folder)
    assert (loaded.status, loaded.rows) == ("interrupted", result.rows)
    result, said = run(tmp_path)
    assert result.status == "finished" and len(finished_lines(said)) == 4 - done


def test_load_ablation_result__of_no_ablation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\Aload_ablation_result: '.*' is no folder of an ablation: it has no abl"):
        load_ablation_result(tmp_path)


def test_ablate__leaves_what_is_no_ablation_alone(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"\Aname: '.*tiny' is there and is no ablation: choose another name or "):
        run(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny").touch()
    with pytest.raises(ConfigError, match=r"\Aname: '.*out/tiny' is a file: choose another name or --output\Z"):
        run(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"cell .65.: data\.batch_size must be at most the 64 training images"):
        run(tmp_path / "new", topology={"kind": "ring"}, grid={"data.batch_size": [16, 65]})
    assert not (tmp_path / "new").exists()


def test_ablate__one_at_a_time_in_a_folder(cluster: None, undrawn: None, tmp_path: Path) -> None:
    """A second one that comes while the first checks, runs or concludes is refused, and the first loses nothing."""
    refused = []

    class Second(Said):
        def tell(self, text: str) -> None:
            super().tell(text)
            with pytest.raises(ConfigError, match=r"\A'.*tiny' is being written by another process: wait for it, or "):
                run(tmp_path)
            refused.append(text)

    said = Second()
    result = ablate(load_ablation({**BASE, "seeds": [0]}), tmp_path, [said])
    assert result.status == "finished" and result.num_finished == 2 and refused == said.lines
    assert any(line.startswith("starting Ray") for line in refused) and len(finished_lines(said.lines)) == 2
    again, lines = run(tmp_path, seeds=[0])
    assert again.rows == result.rows and finished_lines(lines) == []


def test_ablate__what_cannot_be_run_leaves_an_earlier_description_and_no_new_folder(
    cluster: None, undrawn: None, tmp_path: Path
) -> None:
    gpus = {"pool": "in-process", "gpus_per_peer": 1.0}
    with pytest.raises(ConfigError, match="the cluster has 0"):  # once Ray has started
        run(tmp_path / "a" / "b", hosting=gpus)
    assert not (tmp_path / "a").exists()
    folder = run(tmp_path, seeds=[0])[0].folder
    before = (folder / "ablation.toml").read_text()
    with pytest.raises(ConfigError, match="the cluster has 0"):
        run(tmp_path, hosting=gpus)
    assert (folder / "ablation.toml").read_text() == before
    with locked_folder(tmp_path / "left"):  # as by a kill before the first line is written
        pass
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / LOCK).touch()
    with locked_folder(tmp_path / "killed"):
        assert (tmp_path / "killed").is_dir()
    assert not (tmp_path / "left").exists()


def test_ablate__runs_a_damaged_run_again(cluster: None, undrawn: None, tmp_path: Path) -> None:
    first, _ = run(tmp_path, seeds=[0])
    before = pq.read_table(first.folder / "results.parquet")
    next(first.folder.glob("cells/*/seed-0/timing.json")).unlink()
    again, said = run(tmp_path, seeds=[0])
    assert again.status == "finished" and len(finished_lines(said)) == 1
    assert pq.read_table(again.folder / "results.parquet").equals(before)


def test_ablate__when_all_runs_fail_an_earlier_report_goes(cluster: None, undrawn: None, cli: Cli, runs: Path) -> None:
    from mlflow import MlflowClient

    first, _ = run(runs, seeds=[0])
    (first.folder / "figures").mkdir(exist_ok=True)
    bad = {"grid": {"peers.optimizer.lr": [1e38]}, "topology": {"kind": "ring"}, "seeds": [0], "tracking": {}}
    path = runs / "tiny.toml"
    path.write_text(tomli_w.dumps({**BASE, **bad}))
    for _ in range(2):
        code, out, _ = cli("ablate", str(path), "--output", str(runs))
        assert code == 2 and "report   " not in out
    client = MlflowClient(store_uri(runs))
    found = client.search_runs([client.get_experiment_by_name("peer-consensus").experiment_id])
    assert [each.info.status for each in found] == ["FAILED"]
    there = {each.name for each in first.folder.iterdir()} - {LOCK, PROGRESS}
    assert there == {"ablation.toml", "cells", "mlflow.json", "results.parquet", "timings.parquet"}
    assert pq.read_table(first.folder / "results.parquet")["status"].to_pylist() == ["failed"]


def test_ablate__a_lost_run_has_no_time(
    cluster: None, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Outcome(RunStatus.FAILED, "its process was lost (x)", {}, 0.0)
    monkeypatch.setattr("coordinator.ablations.runs.parallel_runs.run_isolated", lambda config, dataset, prefix: lost)
    _, said = run(tmp_path, seeds=[0])
    assert finished_lines(said)[0].endswith("its process was lost (x)")


def test_ablate__an_earlier_run_of_another_version_is_told(cluster: None, undrawn: None, tmp_path: Path) -> None:
    result, said = run(tmp_path, seeds=[0])
    assert not any("kept" in line for line in said)
    path = next(result.folder.glob("cells/*/seed-0/summary.json"))
    summary = json.loads(path.read_text())
    here = summary["versions"]["torch"]
    summary["versions"]["torch"], summary["hardware"]["gpus"] = "1.0", ["a GPU"]
    path.write_text(json.dumps(summary))
    without = "without (1 run)" if not json.loads(_other(path).read_text())["hardware"]["gpus"] else ""
    again, said = run(tmp_path, seeds=[0])
    (line,) = [line for line in said if "kept" in line]
    assert line == (
        f"finished runs are kept though they differ: torch 1.0 (1 run), {here} (1 run), here {here}; "
        f"GPUs: with (1 run), {without}; delete their folders to run them again"
    )
    assert finished_lines(said) == [] and again.status == "finished"


def _other(path: Path) -> Path:
    return next(each for each in path.parents[2].glob("*/seed-0/summary.json") if each != path)


def test_ablate__mlflow_has_a_parent_and_a_child_for_each_run(cluster: None, undrawn: None, runs: Path) -> None:
    from mlflow import MlflowClient

    run(runs, seeds=[0], tracking={})
    result, _ = run(runs, tracking={})
    run(runs, tracking={})
    client = MlflowClient(store_uri(runs))
    known = json.loads((result.folder / "mlflow.json").read_text())
    experiment = client.get_experiment_by_name("peer-consensus").experiment_id
    found = client.search_runs([experiment])
    parents = [each for each in found if "mlflow.parentRunId" not in each.data.tags]
    children = [each for each in found if each.data.tags.get("mlflow.parentRunId") == known["run_id"]]
    assert [each.info.run_id for each in parents] == [known["run_id"]]
    assert parents[0].info.run_name == "tiny" and parents[0].info.status == "FINISHED"
    seen = sorted((each.data.tags["cell"], each.data.tags["seed"]) for each in children)
    assert seen == [("ring", "0"), ("ring", "3"), ("self", "0"), ("self", "3")]
    child = next(each for each in children if each.data.tags["cell"] == "ring" and each.data.tags["seed"] == "3")
    assert child.data.params["run.seed"] == "3" and child.info.status == "FINISHED"
    row = result.rows[1]
    assert child.data.metrics["probes/knn/gain"] == round(100 * row["probes.knn.gain"], 6)
    assert [each.step for each in client.get_metric_history(child.info.run_id, "system/bytes_exchanged")] == [1, 2, 3]
    assert result.comparison is not None
    assert parents[0].data.tags["mlflow.note.content"] == ablation_note(result.comparison)
    assert child.data.tags["mlflow.note.content"].startswith("**kNN: ") and parents[0].data.metrics == {}
    there = {each.path for each in client.list_artifacts(known["run_id"])}
    assert {"results.parquet", "report.html", "timings.parquet", "ablation.toml"} <= there and "cells" not in there


def test_ablate__mlflow_that_is_away_costs_two_lines(
    cluster: None, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.records.tracking.mlflow.time.sleep", lambda seconds: None)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", 1.0)
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="MLflow at ") as caught:
        result, _ = run(tmp_path / "out", tracking={"uri": f"sqlite:////{tmp_path}/file/none.db"}, seeds=[0])
    assert result.status == "finished"
    assert [word in str(each.message) for each, word in zip(caught, ("not answer", "not come back"), strict=True)] == [
        True,
        True,
    ]


# ---- the command ----


def test_command__dry_run_starts_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(tomli_w.dumps(BASE))
    code, out, err = cli("ablate", "tiny.toml", "seeds=[4]", "--dry-run", "--output", "out")
    assert (code, err) == (0, "") and not Path("out").exists()
    assert "1 runs" not in out and "2 runs: 2 cells, seeds 4; * is the reference" in out and "self *" in out
    code, out, err = cli("ablate", "tiny.toml", "peers.count=1", "--output", "out")
    assert code == 2 and err.startswith("error: peers.count must be at least 2") and not Path("out").exists()
    code, _, err = cli("run", "tiny.toml")
    assert code == 2 and err.endswith("is an ablation, with axes or seeds: use peer-consensus ablate\n")


def test_command__exit_codes_and_last_lines(cluster: None, undrawn: None, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(BASE))
    code, out, err = cli("ablate", str(path), "--output", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    assert "4 runs to go, 2 at once" in out and out.endswith(f"report   {tmp_path}/out/tiny/report.html\n")
    path.write_text(tomli_w.dumps({**BASE, "grid": {"peers.optimizer.lr": [1e38]}, "topology": {"kind": "ring"}}))
    code, out, _ = cli("ablate", str(path), "--output", str(tmp_path / "out"), "name=bad")
    assert code == 2 and "2 of 2 runs failed; the same command tries them again" in out and "report" not in out
    assert pq.read_table(tmp_path / "out" / "bad" / "results.parquet")["status"].to_pylist() == ["failed"] * 2


@pytest.mark.slow
def test_command__killed_and_run_again_gives_the_same_results(
    started: Callable[..., AbstractContextManager[Any]], cluster: None, undrawn: None, tmp_path: Path
) -> None:
    """SIGKILL once the first run is there: the next call runs the others only, and Ray's processes are gone."""
    longer = {**BASE, "run": {"rounds": 40}}
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(longer))
    command = [sys.executable, "-m", "coordinator", "ablate", str(path), "--output", str(tmp_path / "killed")]
    with started(command, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: any((tmp_path / "killed").glob("tiny/cells/*/seed-*")))
        assert processes_of(f"_{process.pid}/")
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not processes_of(f"_{process.pid}/"))  # as the folder of its Ray session ends
    folder = tmp_path / "killed" / "tiny"
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/seed-*/summary.json")}
    assert 1 <= len(kept) < 4 and not (folder / "results.parquet").exists()
    said = Said()
    again = ablate(load_ablation(path), tmp_path / "killed", [said])
    whole = ablate(load_ablation(path), tmp_path / "whole")
    assert again.status == whole.status == "finished" and len(finished_lines(said.lines)) == 4 - len(kept)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    tables = [pq.read_table(each.folder / "results.parquet") for each in (again, whole)]
    assert tables[0].equals(tables[1]) and tables[0].num_rows == 4


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def processes_of(folder: str) -> list[str]:
    """The command lines of Ray's processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in line and "ray" in line:
            found.append(line)
    return found


def test_ablate__a_full_disk_for_its_report_is_one_line_and_the_next_call_completes(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"seeds": [0], "grid": {"topology": [{"kind": "ring"}]}}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("coordinator.ablations.figures.saving.save_ablation_figures", full)
        with pytest.raises(ConfigError, match=r"No space left on device\): make room, then run the same command again"):
            run(tmp_path, **one)
    result, said = run(tmp_path, **one)
    assert result.status == "finished" and (result.folder / "report.html").is_file() and not finished_lines(said)
