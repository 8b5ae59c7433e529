"""An observer that raises, wherever and whatever: the run ends in order and keeps its numbers, then it is raised."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator import ConfigError, load_config, resume, simulate
from coordinator.pools.base import HostLost
from coordinator.records.events import (
    CheckpointWritten,
    Measured,
    Phase,
    Probed,
    RoundCompleted,
    RunEnded,
    RunEvent,
    RunStarted,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.records.files.result import Status
from coordinator.records.files.run_folder import RunFolder
from coordinator.records.observer import RunObserver
from coordinator.scheduling.synchronous import SynchronousScheduler


class Odd(BaseException):
    """Not even an Exception."""


class Raising:
    """Raises at the first event of which `when` is true, and counts what it is told after that."""

    def __init__(self, when: Callable[[RunEvent], bool], error: BaseException) -> None:
        self.when, self.error, self.raised, self.after = when, error, False, 0

    def observe(self, event: RunEvent) -> None:
        self.after += self.raised
        if not self.raised and self.when(event):
            self.raised = True
            raise self.error


class Keeping:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events = list[RunEvent]()

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)


def ends(keeping: Keeping) -> list[RunEvent]:
    """The ends that it was told of; nothing may follow the first."""
    first = next(place for place, event in enumerate(keeping.events) if isinstance(event, RunEnded))
    return keeping.events[first:]


def entered(stage: Stage) -> Callable[[RunEvent], bool]:
    return lambda event: isinstance(event, StageEntered) and event.stage is stage


def round_four(event: RunEvent) -> bool:
    return isinstance(event, RoundCompleted) and event.completed == 4


ERRORS = [ValueError("mine"), ConfigError("mine"), HostLost("mine"), OSError(28, "mine"), SystemExit(3), Odd("mine")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_simulate__whatever_an_observer_raises(small: dict[str, Any], tmp_path: Path, error: BaseException):
    observer = Raising(round_four, error)
    with pytest.raises(type(error)) as raised:
        simulate(load_config(small), tmp_path, [observer])
    assert raised.value is error and observer.after == 0
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "stopped" and 4 <= summary["rounds"] < 8
    assert (
        summary["message"].startswith(f"an observer raised {type(error).__name__}") and "resume" in summary["message"]
    )
    assert (folder / "metrics" / "rounds.parquet").is_file() and (folder / "report.html").is_file()
    straight = simulate(load_config(small), tmp_path / "straight")
    assert resume(folder).summary["digest"] == straight.summary["digest"]


@pytest.mark.parametrize(
    ("when", "rounds"),
    [
        (entered(Stage.CONTROLS), 0),
        (entered(Stage.ROUNDS), 0),
        (lambda event: event == StageLeft(Stage.ROUNDS), 8),
        (entered(Stage.FINAL_PROBES), 8),
        (entered(Stage.CONTROL_RUNS), 8),
    ],
    ids=["controls", "rounds", "after the rounds", "final probes", "alone"],
)
def test_simulate__wherever_it_raises(
    small: dict[str, Any], tmp_path: Path, when: Callable[[RunEvent], bool], rounds: int
):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, [Raising(when, ValueError("mine"))])
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["rounds"]) == ("stopped", rounds)
    assert "alone" not in summary["probes"].get("knn", {})
    assert resume(folder).status == "finished"


def test_simulate__raises_before_anything_is_written(small: dict[str, Any], tmp_path: Path):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, [Raising(entered(Stage.LOADING), ValueError("mine"))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", [entered(Stage.REPORT), lambda event: isinstance(event, RunEnded)])
def test_simulate__raises_when_all_numbers_are_there(
    small: dict[str, Any], tmp_path: Path, when: Callable[[RunEvent], bool]
):
    with pytest.raises(ValueError, match="mine"):
        simulate(load_config(small), tmp_path, [Raising(when, ValueError("mine"))])
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert (folder / "report.html").is_file()


def test_simulate__other_observers_are_told_on(small: dict[str, Any], tmp_path: Path):
    """The first error counts; whoever has not raised sees the run to its end."""
    first, second, keeping = Raising(round_four, ValueError("first")), Raising(round_four, Odd("second")), Keeping()
    with pytest.raises(ValueError, match="first"):
        simulate(load_config(small), tmp_path, [first, second, keeping])
    assert (first.after, second.after) == (0, 0)
    last = keeping.events[-1]
    assert isinstance(last, RunEnded) and last.status is Status.STOPPED and "ValueError: first" in last.message


def test_simulate__events_tell_the_whole_run(small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Every round once, measured before it is told, and the numbers of the summary."""
    keeping = Keeping()
    table = {**small, "checkpoint": {"every": 4, "seconds": 0}}
    result = simulate(load_config(table), tmp_path, [keeping])
    events = keeping.events
    stages = [each.stage for each in events if isinstance(each, StageEntered)]
    assert stages == list(Stage) and [each.stage for each in events if isinstance(each, StageLeft)] == [
        Stage.ROUNDS,
        Stage.CONTROL_RUNS,
    ]
    (started,) = [each for each in events if isinstance(each, RunStarted)]
    assert started.folder == result.folder and started.config.run.rounds == 8
    rounds = [each for each in events if isinstance(each, RoundCompleted)]
    for phase in (Phase.ROUNDS, Phase.ALONE):
        assert [each.completed for each in rounds if each.phase is phase] == list(range(1, 9))
    assert sum(each.num_bytes for each in rounds) == result.summary["bytes_exchanged"] == rounds[7].bytes_so_far > 0
    measured = [each for each in events if isinstance(each, Measured)]
    assert [each.completed for each in measured] == [0, 2, 4, 6, 8]
    for each in measured[1:]:
        after = events[events.index(each) + 1]
        assert isinstance(after, RoundCompleted) and after.completed == each.completed
    last = result.summary["consensus"]["relative_distance"]["last"]
    assert measured[-1].measures.scalars["relative_distance"] == last
    written = [each for each in events if isinstance(each, CheckpointWritten)]
    assert written == [CheckpointWritten(phase, at) for phase in (Phase.ROUNDS, Phase.ALONE) for at in (4, 8)]
    probed = {each.condition: each.accuracies["knn_accuracy"] for each in events if isinstance(each, Probed)}
    assert list(probed) == ["raw_pixels", "untrained", "calibrated", "trained", "alone"]
    for condition, accuracies in probed.items():
        expected = result.summary["probes"]["knn"][condition]
        assert sum(accuracies) / len(accuracies) == pytest.approx(expected)
    assert {each.bytes_so_far for each in rounds if each.phase is Phase.ALONE} == {rounds[7].bytes_so_far}
    assert [len(each.outcomes) for each in events if isinstance(each, Probed)] == [1, 3, 3, 3, 3]
    assert ends(keeping) == [RunEnded(Status.FINISHED, "", result.folder)]
    assert capsys.readouterr().out == ""


def test_simulate__tells_the_end_of_a_run_that_is_refused(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before the start, at the start, and by the folder that is to be resumed: there is a first line, but no folder."""
    file = tmp_path / "file"
    file.write_text("")

    def fail(*_: Any) -> None:
        raise ConfigError("hosting.gpus_per_peer: no GPU\nsecond line")

    def refused(call: Callable[[list[RunObserver]], object]) -> str:
        keeping = Keeping()
        with pytest.raises(ConfigError) as error:
            call([keeping])
        assert ends(keeping) == [RunEnded(Status.FAILED, str(error.value).splitlines()[0], None)]
        return keeping.events[-1].message  # type: ignore[union-attr]

    assert "--output" in refused(lambda told: simulate(load_config(small), file, told))
    assert "none" in refused(lambda told: resume(tmp_path / "none", observers=told))
    monkeypatch.setattr("coordinator.run.simulate.loading_pool", fail)
    assert refused(lambda told: simulate(load_config(small), tmp_path, told)) == "hosting.gpus_per_peer: no GPU"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug\nin two lines")], ids=["signal", "bug"])
def test_simulate__tells_the_end_of_a_run_that_raises(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    """In the rounds, and again while the results are written: no result is returned."""
    for module, name in ((SynchronousScheduler, "records"), (RunFolder, "write_tables")):

        def fail(*_: Any) -> None:
            raise error

        keeping = Keeping()
        with monkeypatch.context() as patched:
            patched.setattr(module, name, fail)
            try:
                status = simulate(load_config(small), tmp_path / name, [keeping]).status
            except (KeyboardInterrupt, RuntimeError):
                status = Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.FAILED
        (folder,) = (tmp_path / name).iterdir()
        (end,) = ends(keeping)
        assert isinstance(end, RunEnded) and (end.status, end.folder) == (status, folder)
        assert end.message == "RuntimeError: a bug" if status is Status.FAILED else "resume" in end.message


NONE = """
from coordinator import ConfigError, Stop
from coordinator.records.observer import Observers
for wrong in (print, [3], [Observers], [type("No", (), {"observe": 3})()], [lambda: 0], [Stop(below=1), Stop(above=1)]):
    try:
        Observers(wrong)
    except ConfigError as error:
        print(str(error).partition(" object at ")[0])
"""


def test_observers__what_cannot_observe_is_refused():
    """In a process without the tests' type checks, which would come first."""
    done = subprocess.run([sys.executable, "-c", NONE], capture_output=True, text=True, check=True)
    kinds = "of functions f(event), of objects with a method observe(event), or of Stop(...)"
    line = f"observers: must be a list {kinds}, got "
    assert done.stdout.splitlines() == [
        line + "<built-in function print>",
        line + "[3]",
        line + "[<class 'coordinator.records.observer.Observers'>]",
        line + "[<__main__.No",
        "observers: the function <lambda> must take one argument, the event",
        "observers: 2 are Stop, and a run has one rule: leave the others out",
    ]


def test_observers__fit_the_protocol():
    assert isinstance(Keeping(), RunObserver)
