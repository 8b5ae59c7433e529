import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coordinator import load_config
from coordinator.experiment.config import RunConfig
from coordinator.measures.measure import Measures
from coordinator.records.events import (
    CheckpointWritten,
    ControlVoid,
    Fault,
    FaultKind,
    Measured,
    Note,
    PeerDropped,
    PeersRestored,
    Phase,
    Remaining,
    RoundCompleted,
    RunEvent,
    RunReopened,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.records.observer import RunObserver
from coordinator.records.terminal import Live, in_words
from coordinator.scheduling.dropouts import Dropout
from peers.exchange.assignment import Stats


def live(monkeypatch: pytest.MonkeyPatch, terminal: bool = False) -> tuple[Live, io.StringIO, list[float]]:
    """A terminal's observer, what it has written, and its clock in seconds."""
    clock, text = [100.0], io.StringIO()
    monkeypatch.setattr("coordinator.records.terminal.time.monotonic", lambda: clock[0])
    width = 80 if terminal else 160
    return Live(Console(file=text, width=width, force_terminal=terminal, get_time=lambda: clock[0])), text, clock


def measured(completed: int) -> Measured:
    measures = Measures({"relative_distance": 0.5, "agreement": 0.25}, {}, {})
    return Measured(completed, measures, 0.0)


def completed(number: int, loss: float | None = None) -> RoundCompleted:
    return RoundCompleted(Phase.ROUNDS, number, {0: Stats(loss=loss)})


@pytest.fixture
def config(small: dict[str, Any]) -> RunConfig:
    return load_config(small)


def entered(config: RunConfig, stage: Stage, rounds: int = 0) -> StageEntered:
    run = config.run.model_copy(update={"rounds": rounds})
    return StageEntered(stage, config.model_copy(update={"run": run}))


def test_live__plain_lines_where_there_is_no_terminal(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, clock = live(monkeypatch)
    observer.observe(measured(0))
    observer.observe(entered(config, Stage.ROUNDS, 40))
    for number in range(1, 41):
        clock[0] += 0.5
        if number % 10 == 0:
            observer.observe(measured(number))
        observer.observe(completed(number, 0.125))
    observer.observe(StageLeft(Stage.ROUNDS))
    assert text.getvalue().splitlines() == [
        "before the first round: disagreement 0.500, agreement 25.0%",
        *(
            f"rounds {n}/40: 2.0 rounds/s, {20 - n // 2} s left, loss 0.125, disagreement 0.500, agreement 25.0%"
            for n in (10, 20, 30, 40)
        ),
    ]


def test_live__rounds_that_are_not_measured_are_told_every_ten_seconds(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, text, clock = live(monkeypatch)
    observer.observe(measured(0))
    observer.observe(entered(config, Stage.CONTROL_RUNS, 30))
    for number in range(1, 31):
        clock[0] += 1.0
        observer.observe(RoundCompleted(Phase.ALONE, number, {0: Stats(loss=0.5)}))
    assert text.getvalue().splitlines()[1:] == [
        "control alone 11/30: 1.0 rounds/s, 19 s left",
        "control alone 22/30: 1.0 rounds/s, 8 s left",
        "control alone 30/30: 1.0 rounds/s, 0 s left",
    ]


def test_live__bar_keeps_count_and_pace_at_eighty_columns(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, clock = live(monkeypatch, terminal=True)
    observer.observe(entered(config, Stage.ROUNDS, 200))
    for number in range(1, 201):
        clock[0] += 1 / 200
        observer.observe(measured(number))
        observer.observe(completed(number, 0.0126949))
    observer.observe(StageLeft(Stage.ROUNDS))
    shown = text.getvalue()
    assert "200/200" in shown and "200.0/s loss 0.0127, disagreement 0.500, agreement 25.0%" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_live__rounds_before_a_resume_are_no_pace(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    observer, text, clock = live(monkeypatch, terminal)
    observer.observe(entered(config, Stage.ROUNDS, 1040))
    for number in range(1001, 1021):
        clock[0] += 1.0
        observer.observe(measured(number))
        observer.observe(completed(number))
    if observer._bar is not None:
        (task,) = observer._bar.tasks
        assert task.completed == 1020 and task.fields["shown"].startswith("1.0/s")
        assert task.time_remaining == 20  # at a round a second
    observer.observe(StageLeft(Stage.ROUNDS))
    if not terminal:
        last = "rounds 1020/1040: 1.0 rounds/s, 20 s left, disagreement 0.500, agreement 25.0%"
        assert text.getvalue().splitlines()[-1] == last


RUN = Path("runs/x")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (RunReopened(RUN, 8, 12, Remaining.ROUNDS), "runs/x: 8 of 12 rounds are done"),
        (
            RunReopened(RUN, 0, 12, Remaining.EVERYTHING),
            "runs/x: there is no whole checkpoint: again from round 0",
        ),
        (
            RunReopened(RUN, 12, 12, Remaining.REPORT),
            "runs/x: all rounds are done; what is made of their numbers is not",
        ),
        (PeersRestored(Phase.ALONE, 4), "from the checkpoint of round 4"),
        (
            PeerDropped(Dropout(1, 5, "the loss is nan"), run_goes_on=True),
            "round 5, peer 1: the loss is nan; the others go on without it",
        ),
        (PeerDropped(Dropout(1, 5, "the loss is nan"), run_goes_on=False), ""),  # the result's message says it
        (
            ControlVoid(Phase.SHUFFLED, (0, 2)),
            "control shuffled: values that are not finite in peer 0, 2, so no verdict from it",
        ),
        (Fault(FaultKind.HOST_LOST, "a host was lost", 3, 1), "a host was lost"),
        (Note("waiting"), "waiting"),
        (CheckpointWritten(Phase.ROUNDS, 4), ""),
    ],
)
def test_in_words__one_line_an_event(event: RunEvent, line: str) -> None:
    assert in_words(event) == line


def test_in_words__stages(config: RunConfig) -> None:
    assert [in_words(StageEntered(stage, config)) for stage in Stage] == [
        "loading synthetic",
        "starting 3 peers (in-process); besides the run, 1 control run of as many rounds: alone",
        "probing the controls: raw pixels, untrained, calibrated",
        "",
        "probing the trained peers",
        "",
        "drawing figures",
    ]


def test_live__fits_the_protocol() -> None:
    assert isinstance(Live(Console()), RunObserver)
