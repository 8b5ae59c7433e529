"""The times of the stages: each moment counts once, also over the processes of a run that is resumed."""

import time
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, resume, simulate
from coordinator.measures.gains import Condition
from coordinator.records.event_kinds import Stage, StageTimes
from coordinator.records.events import (
    CheckpointWritten,
    Phase,
    Probed,
    RoundCompleted,
    RunEnded,
    RunEvent,
    StageEntered,
)
from coordinator.records.files.result import Status
from coordinator.records.stage_clock import StageClock, duration, virtual_time
from coordinator.run.signals import Interrupts
from peers.probing.measuring import ProbeOutcome


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def clock_after(config: Any, *steps: tuple[float, RunEvent]) -> StageClock:
    """A stage clock that has seen these events, each so many seconds after the one before."""
    clock = Clock()
    stages = StageClock(clock)
    for seconds, event in steps:
        clock.now += seconds
        stages.observe(event)
    clock.now += 0.5
    return stages


def entered(config: Any, stage: Stage) -> StageEntered:
    return StageEntered(stage, config)


def test_stage_clock__each_moment_counts_for_one_stage(small: dict[str, Any]) -> None:
    config = load_config(small)
    steps = [
        (7.0, entered(config, Stage.LOADING)),  # what was before it counts for none
        (1.0, entered(config, Stage.START)),
        (2.0, entered(config, Stage.ROUNDS)),
        (4.0, entered(config, Stage.CONTROLS)),
        (8.0, entered(config, Stage.ROUNDS)),  # again, after a loss of hosts
        (16.0, entered(config, Stage.REPORT)),
    ]
    expected = {Stage.LOADING: 1.0, Stage.START: 2.0, Stage.CONTROLS: 8.0, Stage.ROUNDS: 20.0, Stage.REPORT: 0.5}
    assert clock_after(config, *steps).times == StageTimes(expected)
    assert list(clock_after(config, *steps).times.seconds) == [each for each in Stage if each in expected]  # in order
    ended = clock_after(config, *steps, (32.0, RunEnded(Status.FINISHED, "", None)))
    assert ended.times == StageTimes(expected | {Stage.REPORT: 32.0})


@pytest.mark.parametrize(
    ("event", "stage"),
    [
        (RoundCompleted(Phase.ALONE, 1, {}), Stage.CONTROL_RUNS),
        (Probed([ProbeOutcome({}, 0.0)], None, Condition.CALIBRATED), Stage.CONTROLS),
        (RoundCompleted(Phase.ROUNDS, 1, {}), None),
        (Probed([ProbeOutcome({}, 0.0)], 4), None),
    ],
)
def test_stage_clock__notes_what_goes_on_beside_the_rounds(
    event: RunEvent, stage: Stage | None, small: dict[str, Any]
) -> None:
    config = load_config(small)
    beside = clock_after(config, (1.0, entered(config, Stage.ROUNDS)), (1.0, event)).times.beside
    assert beside == ({stage} if stage else set())
    after = [(1.0, entered(config, Stage.ROUNDS)), (1.0, entered(config, Stage.CONTROL_RUNS)), (1.0, event)]
    assert clock_after(config, *after).times.beside == set()


def test_stage_times__sum_and_leave_both_as_they_are() -> None:
    first = StageTimes({Stage.REPORT: 1.0, Stage.ROUNDS: 2.0}, {Stage.CONTROLS})
    second = StageTimes({Stage.START: 4.0, Stage.ROUNDS: 8.0}, {Stage.CONTROL_RUNS})
    total = first + second
    assert total == StageTimes(
        {Stage.START: 4.0, Stage.ROUNDS: 10.0, Stage.REPORT: 1.0}, {Stage.CONTROLS, Stage.CONTROL_RUNS}
    )
    assert first == StageTimes({Stage.REPORT: 1.0, Stage.ROUNDS: 2.0}, {Stage.CONTROLS})


class Slow:
    """Takes its time with one kind of event, and keeps the checkpoints' times."""

    def __init__(self, seconds: float, interrupts: Interrupts | None = None, last: int = 0) -> None:
        self.seconds, self.interrupts, self.last = seconds, interrupts, last
        self.checkpoints = list[StageTimes]()

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.phase is Phase.ROUNDS:
            time.sleep(self.seconds)
            if self.interrupts and event.completed == self.last:
                self.interrupts.stop_requested = True
        if isinstance(event, CheckpointWritten):
            self.checkpoints.append(event.times)


def test_simulate__seconds_are_those_of_the_call(small: dict[str, Any], tmp_path: Path) -> None:
    began = time.monotonic()
    result = simulate(load_config(small), tmp_path, [Slow(0.05)])
    took = time.monotonic() - began
    seconds = result.summary["seconds"]
    assert list(seconds) == ["loading", "start", "controls", "rounds", "final-probes", "control-runs"]
    assert 8 * 0.05 <= seconds["rounds"] < sum(seconds.values()) <= took + 0.01
    assert sum(seconds.values()) > took - 1.0  # the report, without figures, and the end
    assert result.summary["beside_rounds"] == []


def test_resume__seconds_add_up_over_processes(small: dict[str, Any], tmp_path: Path) -> None:
    """Those of the newest checkpoint, then those of the process that goes on; and no number depends on them."""
    config = load_config({**small, "checkpoint": {"every": 2, "seconds": 0}})
    interrupts = Interrupts()
    first = Slow(0.05, interrupts, last=4)
    stopped = simulate(config, tmp_path / "a", [first], interrupts=interrupts)
    assert stopped.status == "interrupted"
    done = resume(stopped.folder)
    before, seconds = first.checkpoints[-1].seconds, done.summary["seconds"]
    assert before[Stage.ROUNDS] >= stopped.summary["rounds"] * 0.05
    assert seconds["rounds"] > before[Stage.ROUNDS] and seconds["start"] > before[Stage.START]
    assert seconds["controls"] == round(before[Stage.CONTROLS], 3)  # they were done before
    straight = simulate(config, tmp_path / "b")
    timings = {"seconds", "rounds_per_second", "evaluation_share"}
    for name in done.summary.keys() - timings:
        assert done.summary[name] == straight.summary[name], name


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s")],
)
def test_duration__as_people_read_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words and duration(7830) == "2 h 10 min"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (2.5e-6, "2.5 µs"),
        (0.0123, "12.3 ms"),
        (0.99, "990 ms"),
        (0.9999, "1 s"),
        (1.254, "1.25 s"),
        (59.4, "59.4 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (270_000, "3.1 days"),
    ],
)
def test_virtual_time__as_people_read_it(seconds: float, words: str) -> None:
    assert virtual_time(seconds) == words
