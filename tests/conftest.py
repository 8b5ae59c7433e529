"""Fixtures of several test files: a tiny experiment, the command line in this process, an empty MLflow store."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from hypothesis import settings

from tests.typechecking import check_types

check_types("topologies", "peers", "coordinator")
settings.register_profile("untimed", deadline=None)  # a busy machine is no mistake
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]
DEFAULT = "not slow and not gpu"  # the selection of pyproject.toml
MOST_PROCESSES = 4  # each may start a Ray of its own, of some GiB
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
def small() -> dict[str, Any]:
    """Tables of an experiment of a second or two, to be changed: three small MLPs on a ring, in this process."""
    return {
        "run": {"rounds": 8},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_batch": 20, "probes": ["knn"], "controls": ["alone"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }


@pytest.fixture(scope="session")
def topology_example(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, int], Any]:
    """A kind's example for so many peers; for one that reads a file, of a line in which each learns from the next."""
    folder = tmp_path_factory.mktemp("edges")

    def example(kind: Any, num_peers: int) -> Any:
        found = kind.example(num_peers)
        if "path" not in kind.model_fields:
            return found
        path = folder / f"{num_peers}.csv"
        path.write_text("teacher,student\n" + "".join(f"{peer + 1},{peer}\n" for peer in range(num_peers - 1)))
        return found.model_copy(update={"path": path})

    return example


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
        monkeypatch.setattr("coordinator.cli.leave", sys.exit)  # whose exit handlers are those of the tests
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            warnings.simplefilter("always", UserWarning)  # the command prints them as notes
            warnings.simplefilter("ignore", DeprecationWarning)  # MLflow's own
            main()
        return ended.value.code, *capsys.readouterr()

    return call


class Command(subprocess.Popen[str]):
    """A command with a session, and so a process group, of its own; see `started`."""

    def end(self, sent: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, sent)

    def reach(self, completed: int) -> None:
        """Read what a run tells until it has told that at least so many rounds are done."""
        assert self.stdout is not None
        lines = []
        for line in self.stdout:
            lines.append(line)
            if line.startswith("rounds ") and int(line.split()[1].partition("/")[0]) >= completed:
                return
        raise AssertionError("".join(lines))


@contextmanager
def _started(command: list[str], limit: float = 300.0, **options: Any) -> Iterator[Command]:
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    usual["env"] = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Command(command, **{**usual, **options}, start_new_session=True) as process:
        late = Timer(limit, process.end, [signal.SIGKILL])
        late.daemon = True
        late.start()
        try:
            yield process
        finally:
            late.cancel()
            process.end(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            process.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def started() -> Callable[..., AbstractContextManager[Command]]:
    """Start a command whose output is piped; at the end, or after `limit` seconds, its process group is ended.

    So a test that fails, or a command that hangs, never keeps the tests that follow from their turn.
    """
    return _started


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, whose migrations take seconds: made once, then copied."""
    from coordinator.experiment.config import TrackingConfig
    from coordinator.records.tracking.mlflow import Tracker

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
    """One local Ray for the tests of a file, which leave it as it is: two CPUs, no dashboard, forked workers.

    For runs it is one that others have started. Where workers cannot be forked they are started anew.
    """
    import ray

    with _fork_server() as used:
        with warnings.catch_warnings(), used:
            warnings.simplefilter("ignore")  # Ray's own start-up
            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield ray
        ray.shutdown()


@contextmanager
def _fork_server() -> Iterator[AbstractContextManager[None]]:
    """A `with` block in which Ray is to be started to fork its workers, which are several times as fast to start."""
    from coordinator.experiment.config import HostingConfig
    from coordinator.planning.workers import why_not_forked
    from coordinator.pools.forking.fork_server import RUNS, SOCKET, ForkServer

    if why_not_forked(HostingConfig(pool="ray", device="cpu")):
        yield nullcontext()
        return
    with tempfile.TemporaryDirectory(prefix="forks-") as folder:
        forks = ForkServer(folder, {}, RUNS)
        del os.environ[SOCKET]  # by which runs know a Ray of theirs
        try:
            yield forks.used()
        finally:
            forks.close()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as cores for all tests; none for files or markers that are named, which are few or large."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and config.option.markexpr == DEFAULT
    return min(os.cpu_count() or 1, MOST_PROCESSES) if whole else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Runs draw no figures, which take longer than small runs do, unless a test asks for them; also in its fixtures."""
    in_runs = not any(item.path.is_relative_to(ROOT / "tests" / package) for package in ("peers", "topologies"))
    with pytest.MonkeyPatch.context() as patch:
        if in_runs and item.get_closest_marker("figures") is None:
            patch.setattr("coordinator.figures.run.save", lambda *_: None)
        return (yield)


def pytest_configure() -> None:
    """Heed the signals that tests send, to this process or to commands, which inherit it where one is ignored.

    As SIGHUP is under nohup, and SIGINT in the background of a shell.
    """
    heeded = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: lambda *_: None}
    for number, handler in heeded.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's own clearing up: threads of Ray outlive it and now and then crash in it."""
    status = getattr(config, "ended_with", None)
    if status is not None and not hasattr(config, "workerinput"):  # a worker ends when the process above it says so
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.ended_with = int(exitstatus)  # type: ignore[attr-defined]
