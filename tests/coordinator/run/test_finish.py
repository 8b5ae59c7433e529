"""A run whose numbers are all there, but not what is made of them: resume makes the rest, and runs no round again."""

import json
import sys
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from coordinator import ConfigError, Result, load_config, resume, simulate
from coordinator.figures.views import save_views
from coordinator.planning.plan import Plan
from coordinator.pools.in_process import InProcessPool
from coordinator.records.events import Note, Remaining, RoundCompleted, RunEnded, RunEvent, RunReopened
from coordinator.records.files.result import Status
from coordinator.records.files.run_folder import RunFolder
from peers.data.config import Synthetic
from peers.data.datasets import Dataset
from topologies.schedule import Schedule


@pytest.fixture
def table(small: dict[str, Any]) -> dict[str, Any]:
    """Without checkpoints: what is completed from one is not what is shown here."""
    evaluation = {"every": 2, "probe_batch": 20, "probes": ["knn"], "probe_every": 2}
    return {**small, "run": {"rounds": 4}, "evaluation": evaluation, "checkpoint": {"every": 0}}


class Watching:
    def __init__(self) -> None:
        self.events = list[RunEvent]()

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)

    @property
    def ends(self) -> list[RunEnded]:
        """The ends that it was told of; nothing may follow one."""
        found = [each for each in self.events if isinstance(each, RunEnded)]
        assert self.events[-1] is found[-1]
        return found


def failing(monkeypatch: pytest.MonkeyPatch, module: str, name: str, error: BaseException) -> None:
    import coordinator.figures.run  # noqa: F401

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sys.modules[module], name, fail)


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name"), [("coordinator.figures.run", "save"), ("coordinator.pages.run_page", "render")]
)
@pytest.mark.figures
def test_resume__completes_what_a_full_disk_kept_from_being_made(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
):
    """Without any checkpoint: nothing may be run again."""
    straight, full = simulate(load_config(table), tmp_path / "straight"), Watching()
    with monkeypatch.context() as patched:
        failing(patched, module, name, FULL)
        with pytest.raises(ConfigError, match=r"No space left on device\): make room, then go on with: .* resume "):
            simulate(load_config(table), tmp_path / "full", [full])
    (folder,) = (tmp_path / "full").iterdir()
    (end,) = full.ends
    assert (end.status, end.folder) == (Status.FAILED, folder) and "No space left on device" in end.message
    assert json.loads((folder / "summary.json").read_text())["digest"] == straight.summary["digest"]
    assert not (folder / "report.html").exists()
    watching = Watching()
    result = resume(folder, observers=[watching])
    assert result.status == "finished" and not any(isinstance(each, RoundCompleted) for each in watching.events)
    assert watching.events[0] == RunReopened(folder, 4, 4, Remaining.REPORT)
    assert watching.ends == [RunEnded(Status.FINISHED, "", folder)]
    assert {path.name for path in (folder / "figures").iterdir()} == {
        path.name for path in (straight.folder / "figures").iterdir()
    }
    assert (folder / "report.html").is_file() and result.summary["digest"] == straight.summary["digest"]
    with pytest.raises(ConfigError, match="has finished its 4 rounds: give --rounds to add some"):
        resume(folder)


def test_resume__completes_what_was_interrupted(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path
):
    """Ctrl-C while figures are drawn: told as interrupted; MLflow then gets all numbers and files, once."""
    config = load_config({**table, "tracking": {"enabled": True}})
    with monkeypatch.context() as patched:
        failing(patched, "coordinator.figures.run", "save", KeyboardInterrupt())
        first = simulate(config, runs, [watching := Watching()])
    assert watching.ends == [RunEnded(Status.INTERRUPTED, first.message, first.folder)]
    assert first.status == "interrupted" and first.summary["status"] == "finished"
    assert first.message == f"the numbers are written; figures, page and MLflow: peer-consensus resume {first.folder}"
    assert resume(first.folder).status == "finished"
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    (only,) = client.search_runs([client.get_experiment_by_name("peer-consensus").experiment_id])
    assert only.info.status == "FINISHED" and only.data.params["run.rounds"] == "4"
    assert [each.step for each in client.get_metric_history(only.info.run_id, "learning/loss")] == [1, 2, 3, 4]
    assert [each.step for each in client.get_metric_history(only.info.run_id, "accuracy/knn")] == [2, 4]
    assert "report.html" in {each.path for each in client.list_artifacts(only.info.run_id)}


def views_alone(schedule: Schedule, folder: RunFolder, summary: dict[str, Any], plan: Plan | None) -> None:
    (folder.path / "figures").mkdir(exist_ok=True)
    if plan is not None:
        save_views(plan, folder.path / "figures")


def of_another_seed(data: Synthetic, load: Callable[[Synthetic, int], Dataset], seed: int) -> Dataset:
    return load(data, seed + 1)


def test_resume__draws_what_peers_see_or_says_why_not(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """That figure needs images, which are no part of the folder: they are loaded again, if they are the same."""
    data = {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10, "shape": [3, 8, 8]}
    table |= {"data": data, "peers": {**table["peers"], "view": ["flip", "luminance"]}}
    for same in (True, False):
        with monkeypatch.context() as patched:
            failing(patched, "coordinator.figures.run", "save", KeyboardInterrupt())
            folder = simulate(load_config(table), tmp_path / str(same)).folder
        drawn, watching = folder / "figures" / "views.png", Watching()
        with monkeypatch.context() as patched:
            patched.setattr("coordinator.figures.run.save", views_alone)
            if not same:
                patched.setattr(Synthetic, "load", partialmethod(of_another_seed, Synthetic.load))
            assert not drawn.exists() and resume(folder, observers=[watching]).status == "finished"
        notes = [event.text for event in watching.events if isinstance(event, Note)]
        assert drawn.exists() is same and len([note for note in notes if "figure views" in note]) == (not same)
        assert same or notes == [
            "the figure views, of what peers see of the images, is not drawn: the data are others than those of the run"
        ]
        assert (folder / "report.html").is_file()


def test_resume__tables_that_are_lost_as_well_are_made_anew(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_config({**table, "checkpoint": {"every": 2, "seconds": 0}})
    with monkeypatch.context() as patched:
        failing(patched, "coordinator.figures.run", "save", KeyboardInterrupt())
        first = simulate(config, tmp_path)
    (first.folder / "metrics" / "rounds.parquet").unlink()
    result: Result = resume(first.folder)
    assert result.status == "finished" and result.summary["digest"] == first.summary["digest"]
    assert not list(first.folder.glob(".unreported"))


# ---- signals at odd moments ----


def test_simulate__interrupted_while_its_pool_closes_has_its_result(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    close = InProcessPool.close

    def interrupted(self: InProcessPool) -> None:
        close(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcessPool, "close", interrupted)
    assert simulate(load_config(table), tmp_path).status == "finished"


def test_run__interrupted_while_it_writes_names_its_folder(
    tiny: Path, cli: Callable[..., tuple[Any, str, str]], monkeypatch: pytest.MonkeyPatch
):
    """A second signal, before there is a summary: the command does not say that nothing was run."""

    def interrupted(self: RunFolder) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_tables", interrupted)
        code, out, err = cli("run", str(tiny))
    (folder,) = (path for path in Path("runs").iterdir() if path.is_dir())
    assert code == 130 and "before anything was run" not in out + err
    assert err == f"interrupted; go on with: peer-consensus resume {folder.absolute()}\n"
    assert cli("resume", str(folder))[0] == 0


def test_simulate__a_folder_that_cannot_be_begun_is_not_left(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whatever is wrong with it: the disk, or a signal."""
    for error in (FULL, KeyboardInterrupt()):

        def fail(self: RunFolder, name: str, text: str, error: BaseException = error) -> Path:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(RunFolder, "write_text", fail)
            with pytest.raises(type(error)):
                simulate(load_config(table), tmp_path)
        assert not list(tmp_path.iterdir())
