import os
import shutil
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.experiment.config import TrackingConfig
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_store import bring_artifacts, check_usable, page_of, sqlite_file, store_uri

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
ODD = ["a%20b", "a b", "a#b", "a?b=c", "ü", "100%", "a:b@c", "a::b", "a+b&c;d", "a*[b]'\"", "%25", "https:"]


def client(output: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store_uri(output))


def logged(output: Path, name: str, run_id: str = "") -> str:
    """A finished run with one file."""
    folder = output / name
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(name)
    tracker = Tracker(TrackingConfig(), output, name, run_id)
    tracker.log_folder(folder)
    tracker.close("FINISHED")
    return tracker.run_id


def files(output: Path, run_id: str) -> list[str]:
    return [each.path for each in client(output).list_artifacts(run_id)]


# ---- where it lies ----


@settings(deadline=None)  # the first imports MLflow's parts
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_store_uri__names_the_very_file(name: str) -> None:
    from sqlalchemy.engine import make_url

    path = Path("/top") / name
    if name not in (".", ".."):
        url = make_url(store_uri(path))
        assert url.database == str(path / "mlflow.db") and not url.host and not url.query
        assert sqlite_file(store_uri(path)) == path / "mlflow.db"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b%20c.db?timeout=3", Path("/a/b c.db")),
        ("sqlite+pysqlite:////a/b.db", Path("/a/b.db")),
        ("sqlite:///b.db", Path.cwd() / "b.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/db", None),
        ("http://host:5000", None),
    ],
)
def test_sqlite_file(uri: str, path: Path | None) -> None:
    assert sqlite_file(uri) == path


@pytest.mark.parametrize("name", ODD)
def test_tracker__writes_into_the_very_folder(tmp_path: Path, migrated: Path, name: str) -> None:
    output = tmp_path / "in" / name / "runs"
    output.mkdir(parents=True)
    shutil.copy(migrated, output / "mlflow.db")
    run_id = logged(output, "one")
    with sqlite3.connect(output / "mlflow.db") as store:
        assert store.execute("SELECT count(*) FROM runs WHERE run_uuid = ?", (run_id,)).fetchone() == (1,)
    assert (output / "mlartifacts" / run_id / "artifacts" / "summary.json").read_text() == "one"
    assert files(output, run_id) == ["summary.json"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name] and os.listdir(tmp_path) == ["in"]


def test_tracker__artifacts_lie_beside_any_sqlite_file(tmp_path: Path, migrated: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "a-run").mkdir()
    (tmp_path / "a-run" / "summary.json").write_text("{}")
    shutil.copy(migrated, tmp_path / "store" / "my.db")
    tracker = Tracker(TrackingConfig(uri=f"sqlite:///{tmp_path}/store/my.db"), tmp_path / "out", "run")
    tracker.log_folder(tmp_path / "a-run")
    tracker.close("FINISHED")
    assert (tmp_path / "store" / "mlartifacts" / tracker.run_id / "artifacts" / "summary.json").exists()


# ---- whether it can be used ----


def test_check_usable__says_what_is_wrong(tmp_path: Path, migrated: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no folder '.*nowhere'$"):
        check_usable(tmp_path / "nowhere" / "x.db")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello" * 500)
    for name in ("pipe", "text"):
        with pytest.raises(ValueError, match=f"{name}' is no SQLite file$"):
            check_usable(tmp_path / name)
    before = migrated.read_bytes()
    check_usable(migrated)
    assert migrated.read_bytes() == before


def test_tracker__a_locked_store_is_told_once_and_waited_for_shortly(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PATIENCE", 1.0)
    monkeypatch.setattr("coordinator.records.tracking.mlflow_store.BUSY", 0.2)
    other = sqlite3.connect(runs / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        tracker = Tracker(TrackingConfig(), runs, "run")
        tracker.log_params({"a": 1})
        assert not tracker.active
        tracker.close("FINISHED")
    other.close()
    notes = [str(each.message) for each in told if each.category is UserWarning]
    assert len(notes) == 2 and "does not answer (database is locked)" in notes[0] and "did not come back" in notes[1]


def test_tracker__a_lock_that_goes_is_no_loss(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.records.tracking.mlflow_store.BUSY", 0.2)
    monkeypatch.setattr("coordinator.records.tracking.retry_queue.PAUSE", 0.2)
    other = sqlite3.connect(runs / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match="does not answer"):
        tracker = Tracker(TrackingConfig(), runs, "run")
        tracker.log_params({"a": 1})
        tracker.wait()
    other.close()
    with pytest.warns(UserWarning, match="answers again"):
        tracker.close("FINISHED")
    assert client(runs).get_run(tracker.run_id).data.params == {"a": "1"}


def test_tracker__errors_of_the_database_are_one_line(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A trigger on a table that is not there: an operational error, as a full disk is one, which MLflow logs whole."""
    with sqlite3.connect(runs / "mlflow.db") as store:
        store.execute("CREATE TRIGGER broken BEFORE INSERT ON params BEGIN INSERT INTO nowhere VALUES (1); END")
    with pytest.warns(UserWarning, match=r"does not answer \(.*no such table: main.nowhere"):
        tracker = Tracker(TrackingConfig(), runs, "run")
        tracker.log_params({"a": 1})
        tracker.wait()
    with sqlite3.connect(runs / "mlflow.db") as store:
        store.execute("DROP TRIGGER broken")
    with pytest.warns(UserWarning, match="answers again"):
        tracker.close("FINISHED")
    assert client(runs).get_run(tracker.run_id).data.params == {"a": "1"}
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_tracker__a_store_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops in the middle of making the tables, as on a full disk, leaves nothing behind for the next run."""
    from alembic import command

    monkeypatch.setattr(
        "coordinator.records.tracking.retry_queue.LIMIT", 300.0
    )  # two tries may take longer on a busy machine
    upgrade = command.upgrade

    def stop(*arguments: Any, **options: Any) -> None:
        upgrade(*arguments, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "upgrade", stop)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        Tracker(TrackingConfig(), tmp_path, "one").close("FINISHED")
    assert "No space left on device" in str(told[0].message) and os.listdir(tmp_path) == []


# ---- a folder that has been moved ----


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_artifacts__follow_the_folder(runs: Path, tmp_path: Path, how: str) -> None:
    first = logged(runs, "first")
    there = tmp_path / "else where" / "runs%20"
    there.parent.mkdir()
    (shutil.move if how == "moved" else shutil.copytree)(runs, there)
    second = logged(there, "second")
    assert (there / "mlartifacts" / second / "artifacts" / "summary.json").read_text() == "second"
    assert files(there, first) == files(there, second) == ["summary.json"]
    for run in (first, second):
        assert client(there).get_run(run).info.artifact_uri == (there / "mlartifacts" / run / "artifacts").as_uri()
    if how == "moved":
        assert not runs.exists()
    else:
        assert [path.name for path in (runs / "mlartifacts").iterdir()] == [first] and files(runs, first)


def test_bring_artifacts__only_those_that_came_along(runs: Path, tmp_path: Path) -> None:
    """The store alone has been moved: what stays behind is found there, what comes lies beside the store."""
    first = logged(runs, "first")
    elsewhere = client(runs).create_experiment("mine", artifact_location="s3://bucket/mlartifacts")
    there = tmp_path / "there"
    there.mkdir()
    shutil.move(runs / "mlflow.db", there)
    second = logged(there, "second")
    assert files(there, first) == files(there, second) == ["summary.json"]
    assert client(there).get_run(first).info.artifact_uri.startswith(runs.as_uri())
    assert client(there).get_experiment(elsewhere).artifact_location == "s3://bucket/mlartifacts"


def test_bring_artifacts__writes_nothing_where_nothing_has_moved(runs: Path, tmp_path: Path) -> None:
    logged(runs, "first")
    (tmp_path / "link").symlink_to(runs)
    before = (runs / "mlflow.db").read_bytes()
    for path in (runs, tmp_path / "link"):
        bring_artifacts(path / "mlflow.db")
    assert (runs / "mlflow.db").read_bytes() == before


def test_tracker__artifacts_of_mlflows_default_experiment(runs: Path) -> None:
    (runs / "a-run").mkdir()
    (runs / "a-run" / "summary.json").write_text("{}")
    tracker = Tracker(TrackingConfig(experiment="Default"), runs, "run")
    tracker.log_folder(runs / "a-run")
    tracker.close("FINISHED")
    assert (runs / "mlartifacts" / tracker.run_id / "artifacts" / "summary.json").exists()


# ---- the page that `ui` names ----


def test_page_of__the_experiment_of_the_newest_run_set_to_training(runs: Path) -> None:
    store = runs / "mlflow.db"
    for run in client(runs).search_runs([each.experiment_id for each in client(runs).search_experiments()]):
        client(runs).delete_run(run.info.run_id)
    assert page_of(store) == "/#/experiments?workflowType=machine_learning"  # no run yet
    for name in ("one", "two", "one"):
        tracker = Tracker(TrackingConfig(experiment=name), runs, "run")
        tracker.close("FINISHED")
        identity = client(runs).get_experiment_by_name(name).experiment_id
        assert (
            page_of(store) == f"/#/experiments/{identity}/runs?workflowType=machine_learning&viewStateShareKey=verdicts"
        )
    client(runs).delete_run(tracker.run_id)
    two = client(runs).get_experiment_by_name("two").experiment_id
    assert page_of(store) == f"/#/experiments/{two}/runs?workflowType=machine_learning&viewStateShareKey=verdicts"
    old = client(runs).create_experiment("old")  # an older version's, whose runs have other names
    client(runs).create_run(old)
    assert page_of(store) == f"/#/experiments/{old}/runs?workflowType=machine_learning"


def test_page_of__a_store_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no store at all, and longer than the header of a database would be" * 9)
    assert page_of(tmp_path / "mlflow.db") == "/#/experiments?workflowType=machine_learning"
