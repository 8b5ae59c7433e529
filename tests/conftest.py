"""Fixtures of several test files: a tiny experiment, the command line in this process, an empty MLflow store."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY = """
[run]
name = "tiny"
rounds = 2
[data]
kind = "synthetic"
batch_size = 16
num_train = 64
num_test = 32
[peers]
count = 4
model = { kind = "mlp", hidden = [8] }
head = { kind = "linear", dim = 4 }
[topology]
kind = "ring"
[evaluation]
probes = ["knn"]
[hosting]
pool = "in-process"
[tracking]
enabled = false
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny.toml` in a new current folder: four small MLPs on a ring, two rounds."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Run the entry point in this process; gives its exit code, stdout and stderr."""
    from coordinator.cli import main

    def call(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["peer-consensus", *arguments])
        monkeypatch.setattr(os, "_exit", sys.exit)  # of a command that leaves a thread behind
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            warnings.simplefilter("always", UserWarning)  # the command prints them as notes
            warnings.simplefilter("ignore", DeprecationWarning)  # MLflow's own
            main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, whose migrations take seconds: made once, then copied."""
    from coordinator.config import TrackingConfig
    from coordinator.tracking import Tracker

    folder = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Tracker(TrackingConfig(experiment="template"), folder, "template").close("FINISHED")
    return folder / "mlflow.db"


@pytest.fixture
def runs(tmp_path: Path, migrated: Path) -> Path:
    """An output folder that already has an MLflow store."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One local Ray for the tests of a file, which leave it as it is: two CPUs, no dashboard."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own start-up
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's own clearing up: threads of Ray outlive it and now and then crash in it."""
    status = getattr(config, "ended_with", None)
    if status is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.ended_with = int(exitstatus)  # type: ignore[attr-defined]
