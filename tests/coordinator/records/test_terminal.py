import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from coordinator import load_config
from coordinator.experiment.config import RunConfig
from coordinator.measures.gains import Condition
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
    Probed,
    ProbesDone,
    Remaining,
    RoundCompleted,
    RunEnded,
    RunEvent,
    RunReopened,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.records.files.result import Status
from coordinator.records.observer import RunObserver
from coordinator.records.plain_text import PlainConsole
from coordinator.records.terminal import Live, Warned, in_words
from coordinator.reports.formatting import points
from coordinator.scheduling.dropouts import Dropout
from peers.exchange.assignment import Stats
from peers.probing.measuring import ProbeOutcome


def live(
    monkeypatch: pytest.MonkeyPatch, terminal: bool = False, width: int = 80, **environment: str
) -> tuple[Live, io.StringIO, list[float]]:
    """A terminal's observer, what it has written, and its clock in seconds."""
    clock, text = [100.0], io.StringIO()
    monkeypatch.setattr("coordinator.records.terminal.time.monotonic", lambda: clock[0])
    options: dict[str, Any] = {"width": width, "_environ": {"TERM": "xterm-256color", **environment}}
    options |= {"force_terminal": True} if terminal else {"width": 160, "soft_wrap": True, "force_terminal": False}
    return Live(PlainConsole(file=text, get_time=lambda: clock[0], **options)), text, clock


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


def test_live__probes_done_of_those_to_do(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, clock = live(monkeypatch)
    observer.observe(entered(config, Stage.FINAL_PROBES))
    for done in range(1, 31):
        clock[0] += 1.0
        observer.observe(ProbesDone(done, 30))
    observer.observe(entered(config, Stage.ROUNDS, 30))
    observer.observe(ProbesDone(1, 2))  # of an evaluator, beside the rounds
    assert text.getvalue().splitlines() == [
        "probing the trained peers",
        "probes 11/30: 19 s left",
        "probes 22/30: 8 s left",
    ]


def test_live__probes_that_wait_for_processes_to_start_do_not_tell_the_pace(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, text, clock = live(monkeypatch)
    observer.observe(entered(config, Stage.CONTROLS))
    clock[0] += 40.0
    for done in (1, 12, 30):
        observer.observe(ProbesDone(done, 30))
        clock[0] += 11.0
    assert text.getvalue().splitlines()[1:] == [
        "probes 1/30: time left not known yet",
        "probes 12/30: 18 s left",
        "probes 30/30: 0 s left",
    ]


def test_live__the_bar_of_probes_stays_when_they_are_done(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, clock = live(monkeypatch, terminal=True)
    observer.observe(entered(config, Stage.CONTROLS))
    for done in range(1, 5):
        clock[0] += 1.0
        observer.observe(ProbesDone(done, 4))
    assert re.search(r"probes .*4/4 1.0/s, in 4.0 s", last_lines(text)[-1])


def gained(condition: Condition | None, completed: int | None, *correct: int) -> Probed:
    """A linear probe of 100 test examples, by peer how many it has right."""
    right = [np.arange(100) < count for count in correct]
    return Probed([ProbeOutcome({"linear": each}) for each in right], completed, condition)


def last_lines(text: io.StringIO) -> list[str]:
    """What stands on a terminal of unlimited height after all that was redrawn."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", text.getvalue()):
        if part == "\n":
            row += 1
            lines += [""] if row == len(lines) else []
        elif part.endswith("A") and part.startswith("\x1b["):
            row -= int(part[2:-1])
        elif part == "\x1b[2K" or part == "\r":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]


WIDTHS = [40, 60, 80, 120, 200]


@pytest.mark.parametrize("width", WIDTHS)
def test_live__what_matters_stays_whole_at_any_width(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Round, pace, time left, loss, measures and gain of the run; the control run beneath; no line is too long."""
    observer, text, clock = live(monkeypatch, terminal=True, width=width)
    observer.observe(gained(Condition.CALIBRATED, None, 50, 50, 0))
    observer.observe(entered(config, Stage.ROUNDS, 100_000))
    observer.observe(measured(50_000))
    for number in range(1, 50_001, 10_000):
        clock[0] += 50.0
        observer.observe(completed(number, 0.0126949))
        observer.observe(RoundCompleted(Phase.ALONE_MATCHED, number, {0: Stats(loss=0.5)}))
    observer.observe(gained(None, 40_001, 54, 0, 0))  # peers 1 and 2 are no students
    clock[0] += 50.0
    observer.observe(completed(50_001, 0.0126949))
    observer.observe(StageLeft(Stage.ROUNDS))
    found = last_lines(text)
    assert max(map(cell_len, found)) <= width
    told = " ".join(" ".join(found).split())
    for part in (
        "rounds",
        "50001/100000",
        "166.7/s, 5 min 0 s left",
        "loss 0.0127, disagreement 0.500, agreement 25.0%, linear gain +4.0 points (round 40001)",
        "control alone-matched",
        "40001/100000",
        "200.0/s, 5 min 0 s left",  # since the first round of the run
    ):
        assert part in told, part
    assert told.index("linear gain") < told.index("control")


def test_live__the_bars_of_all_trainings_begin_and_end_alike(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, text, clock = live(monkeypatch, terminal=True)
    observer.observe(entered(config, Stage.ROUNDS, 200))
    observer.observe(measured(0))
    for number in range(1, 201):
        clock[0] += 1 / 200
        observer.observe(completed(number, 0.0126949))
        observer.observe(RoundCompleted(Phase.ALONE, (number + 1) // 2, {0: Stats(loss=0.5)}))
    observer.observe(StageLeft(Stage.ROUNDS))
    run, measures, control = last_lines(text)[-3:]
    assert measures == "loss 0.0127, disagreement 0.500, agreement 25.0%"
    assert run.endswith(" 200/200 200.0/s, in 1.0 s") and control.endswith(" 100/200 100.5/s, 1 s left")
    bars = [re.search("[━╺╸]+", line) for line in (run, control)]
    assert bars[0] is not None and bars[1] is not None and bars[0].span() == bars[1].span()


def test_live__gain_of_students_beside_the_control_runs(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known after the final probes: the mean over students that have not dropped out, less that of calibrated peers."""
    observer, text, clock = live(monkeypatch, terminal=True)
    observer.observe(gained(Condition.CALIBRATED, None, 50, 60, 70))
    observer.observe(RoundCompleted(Phase.ROUNDS, 1, {0: Stats(loss=0.5), 1: Stats(), 2: Stats(loss=0.5)}))
    observer.observe(PeerDropped(Dropout(2, 1, "the loss is nan"), run_goes_on=True))
    observer.observe(gained(Condition.TRAINED, 1, 47, 99, 99))
    observer.observe(entered(config, Stage.CONTROL_RUNS, 2))
    clock[0] += 1.0
    observer.observe(RoundCompleted(Phase.ALONE, 2, {0: Stats(loss=0.5)}))
    observer.observe(StageLeft(Stage.CONTROL_RUNS))
    assert last_lines(text)[-2] == "linear gain -3.0 points"


def test_live__the_gain_rounds_as_the_verdict_does(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean of 1.15 points, whose sum in floating point is a little more."""
    observer, text, clock = live(monkeypatch, terminal=True)
    of = {
        each: [ProbeOutcome({"linear": np.arange(1000) < count}) for count in each] for each in ((914, 910), (925, 922))
    }
    observer.observe(Probed(of[914, 910], None, Condition.CALIBRATED))
    observer.observe(RoundCompleted(Phase.ROUNDS, 1, {0: Stats(loss=0.5), 1: Stats(loss=0.5)}))
    observer.observe(Probed(of[925, 922], 1, Condition.TRAINED))
    observer.observe(entered(config, Stage.CONTROL_RUNS, 2))
    clock[0] += 1.0
    observer.observe(RoundCompleted(Phase.ALONE, 2, {0: Stats(loss=0.5)}))
    observer.observe(StageLeft(Stage.CONTROL_RUNS))
    assert last_lines(text)[-2] == f"linear gain {points(0.0115)} points"


def test_live__no_escape_codes_on_a_dumb_terminal(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, clock = live(monkeypatch, terminal=True, TERM="dumb")
    observer.observe(entered(config, Stage.ROUNDS, 2))
    for number in (1, 2):
        clock[0] += 0.5
        observer.observe(completed(number, 0.125))
    observer.observe(StageLeft(Stage.ROUNDS))
    assert text.getvalue() == "rounds 2/2: 2.0 rounds/s, 0 s left, loss 0.125\n"


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
    observer.observe(StageLeft(Stage.ROUNDS))
    if terminal:
        run, measures = last_lines(text)
        assert run.endswith("1020/1040 1.0/s, 20 s left") and measures == "disagreement 0.500, agreement 25.0%"
    else:
        last = "rounds 1020/1040: 1.0 rounds/s, 20 s left, disagreement 0.500, agreement 25.0%"
        assert text.getvalue().splitlines()[-1] == last


def test_live__seconds_of_the_command_by_stage(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its begin, so with the time that the imports took, to the end of the run."""
    _, _, clock = live(monkeypatch)
    observer = Live(PlainConsole(file=io.StringIO()), began=98.0)
    for stage in (Stage.LOADING, Stage.START, Stage.REPORT):
        observer.observe(entered(config, stage))
        clock[0] += 1.5
    observer.observe(RunEnded(Status.FINISHED, "", RUN))
    clock[0] += 8.0
    assert observer.seconds == {"imports": 2.0, "loading": 1.5, "start": 1.5, "report": 1.5}


def test_live__names_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        observer, text, _ = live(monkeypatch, terminal)
        observer.observe(Note("[bold]\x1b[31m<script> :smile:"))
        assert re.sub("\x1b\\[[02]m", "", text.getvalue()) == "[bold]\\x1b[31m<script> :smile:\n"


def test_live__warnings_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, text, _ = live(monkeypatch, terminal=True)
    observer.observe(Note("waiting"))
    observer.observe(Fault(FaultKind.HOST_LOST, "a host was lost", 3, 1))
    assert text.getvalue() == "\x1b[2mwaiting\x1b[0m\n\x1b[33ma host was lost\x1b[0m\n"


def test_warned__tells_only_what_a_run_survives_or_gives_up(config: RunConfig) -> None:
    told = list[str]()
    observer = Warned(told.append)
    for event in (
        entered(config, Stage.LOADING),
        Note("waiting"),
        Fault(FaultKind.HOST_LOST, "a host was lost", 3, 1),
        completed(1, 0.5),
        PeerDropped(Dropout(1, 5, "the loss is nan"), run_goes_on=True),
        PeerDropped(Dropout(1, 5, "the loss is nan"), run_goes_on=False),
        ControlVoid(Phase.SHUFFLED, (0, 2)),
    ):
        observer.observe(event)
    assert told == [
        "a host was lost",
        "round 5, peer 1: the loss is nan; the others go on without it",
        "control shuffled: values that are not finite in peer 0, 2, so no verdict from it",
    ]


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
