import errno
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import ConfigError, load_config, resume, simulate
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.events import (
    Note,
    RoundCompleted,
    RunEnded,
    RunEvent,
    RunReopened,
    RunStarted,
    Stage,
    StageEntered,
)
from coordinator.records.files import progress
from coordinator.records.files.live_rows import LiveRows
from coordinator.records.files.progress import PROGRESS, SECONDS, SHARE, Progress, started_at
from coordinator.records.files.result import Status
from coordinator.records.files.run_folder import KEYS, RunFolder
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase

FILES = ("metrics/.parts", "metrics/.live")


def progress_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / PROGRESS).read_text())
    return found


def rows_of(folder: Path, table: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """A running run's rows by key, as a reader puts them together: later files win."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in [path for kind in FILES for path in sorted((folder / kind).glob(f"{table}-*.parquet"))]:
        found |= {tuple(row[key] for key in KEYS[table]): row for row in pq.read_table(path).to_pylist()}
    return found


class Reader:
    """Reads the run's folder whenever a round is done, as the live page does."""

    def __init__(self, stop_at: int = 0) -> None:
        self.folder, self.stop_at = Path(), stop_at
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.stages, self.controls = list[str](), list[int]()

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted() | RunReopened():
                self.folder = event.folder
            case StageEntered() if (self.folder / PROGRESS).is_file():
                self.stages.append(progress_of(self.folder)["stage"])
            case RoundCompleted(phase=Phase.ROUNDS):
                self.rows = {name: rows_of(self.folder, name) for name in KEYS}
                assert (event.completed,) in self.rows["rounds"]
                assert progress_of(self.folder)["completed"] == event.completed
                if event.completed == self.stop_at:
                    raise KeyboardInterrupt
            case RoundCompleted():
                self.controls.append(progress_of(self.folder)["controls"]["alone"])
            case _:
                pass


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is written at once."""
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(progress, "SHARE", 1e12)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("every", [0, 3])
def test_progress__the_folder_is_readable_while_a_run_goes_on(small: Any, tmp_path: Path, every: int) -> None:
    reader = Reader()
    result = simulate(load_config(small | {"checkpoint": {"every": every, "seconds": 0}}), tmp_path, [reader])
    for name in ("rounds", "peers", "edges"):
        final = {
            tuple(row[key] for key in KEYS[name]): row
            for row in pq.read_table(result.folder / "metrics" / f"{name}.parquet").to_pylist()
        }
        assert len(reader.rows[name]) > 3
        for key, row in reader.rows[name].items():  # what was known by then, and nothing that was wrong
            assert {column: value for column, value in row.items() if value is not None}.items() <= final[key].items()
    assert reader.stages == ["controls", "rounds", "final-probes", "control-runs", "report"]
    assert reader.controls == list(range(1, 9))
    ended = progress_of(result.folder)
    assert (ended["status"], ended["completed"], ended["total"]) == ("finished", 8, 8)
    assert ended["bytes"] == result.summary["bytes_exchanged"]
    known = ended["probes"]
    for condition in ("calibrated", "trained", "alone"):
        accuracies = known[condition]["knn"]
        assert len(accuracies) == 3
        assert sum(accuracies) / 3 == pytest.approx(result.summary["probes"]["knn"][condition])
    assert not any((result.folder / kind).exists() for kind in FILES)


@pytest.mark.usefixtures("eager")
def test_progress__of_an_interrupted_and_resumed_run(small: Any, tmp_path: Path) -> None:
    config = load_config(small | {"checkpoint": {"every": 3, "seconds": 0}})
    reader = Reader(stop_at=5)
    stopped = simulate(config, tmp_path, [reader])
    assert progress_of(stopped.folder)["status"] == "interrupted"
    again = Reader()
    result = resume(stopped.folder, observers=[again])
    assert {key[0] for key in again.rows["rounds"]} <= set(range(9))
    assert progress_of(result.folder)["status"] == "finished"
    assert len(progress_of(result.folder)["probes"]["calibrated"]["knn"]) == 3


def test_progress__a_refused_run_leaves_nothing(small: Any, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(ConfigError):
        simulate(load_config(small), taken)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def part(small: Any, tmp_path: Path, clock: Clock, tell: Any = lambda note: None) -> Progress:
    config = load_config(small)
    return Progress(RunFolder(tmp_path, "run"), RunState(), ProbeTable(("knn",)), config, tell, clock)


def test_progress__takes_a_small_share_of_the_time(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spent = Clock(), 0.0

    def write(self: LiveRows) -> None:
        nonlocal spent
        spent += 0.1
        clock.now += 0.1

    monkeypatch.setattr(LiveRows, "write", write)
    told = part(small, tmp_path, clock)
    for completed in range(1, 10_001):
        clock.now += 0.01
        told.observe(RoundCompleted(Phase.ROUNDS, completed, {}))
    assert 0.5 * SHARE < spent / (clock.now - 100.0) <= 1.05 * SHARE


def test_progress__at_most_four_times_a_second(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, times = Clock(), list[float]()
    monkeypatch.setattr(LiveRows, "write", lambda self: times.append(clock.now))
    told = part(small, tmp_path, clock)
    for completed in range(1, 501):
        clock.now += 0.01
        told.observe(RoundCompleted(Phase.ROUNDS, completed, {}))
    assert len(times) == 20
    assert min(later - earlier for earlier, later in pairwise(times)) >= SECONDS - 1e-9


def test_progress__a_full_disk_costs_one_note(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LiveRows, "write", full)
    monkeypatch.setattr(RunFolder, "write_text", full)
    clock, notes = Clock(), list[Note]()
    told = part(small, tmp_path, clock, notes.append)
    for completed in range(1, 5):
        clock.now += 1.0
        told.observe(RoundCompleted(Phase.ROUNDS, completed, {}))
    assert [note.text for note in notes] == [
        "the live page gets nothing new (No space left on device); the run goes on"
    ]


def test_progress__stages_and_the_end_are_written_at_once(small: Any, tmp_path: Path) -> None:
    clock = Clock()
    told, (folder,) = part(small, tmp_path, clock), list(tmp_path.iterdir())
    config = load_config(small)
    for stage in (Stage.CONTROLS, Stage.ROUNDS):
        told.observe(StageEntered(stage, config))
        assert progress_of(folder)["stage"] == stage.value
    told.observe(RunEnded(Status.FAILED, "it broke", folder))
    found = progress_of(folder)
    assert (found["status"], found["message"]) == ("failed", "it broke")
    assert (found["pid"], found["pid_started"]) == (os.getpid(), started_at(os.getpid()))


def test_started_at__tells_processes_apart() -> None:
    assert started_at(os.getpid()) == started_at(os.getpid()) != started_at(1)
    assert started_at(2**22 + 1) == ""
