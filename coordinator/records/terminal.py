"""Shows a run's progress: a live bar on a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from coordinator.experiment.config import RunConfig
from coordinator.measures.declared import Shown, shown_in
from coordinator.records.events import (
    ControlVoid,
    EndedEarly,
    Fault,
    Measured,
    Note,
    PeerDropped,
    PeersRestored,
    Remaining,
    RoundCompleted,
    RunEvent,
    RunReopened,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.scheduling.scheduler import Phase
from peers.base.brought import called

IN_PROGRESS = shown_in(Shown.PROGRESS)
MEASURED, UNMEASURED = 1.0, 10.0  # minimum seconds between progress lines, with and without new measures
STAGES_OF_ROUNDS = (Stage.ROUNDS, Stage.CONTROL_RUNS)


@dataclass
class _Track:
    """The progress of a phase. before: rounds done before this process. start, shown: times of start, last line."""

    before: int
    start: float
    shown: float
    task: TaskID | None = None


class Live:
    """Shows rounds/s, remaining time, loss, and the latest values of the measures declared for the progress line."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._tracks: dict[Phase, _Track] = {}
        self._measured = ""
        self._is_new = False  # whether the latest measures have not been shown yet
        self._total, self._last = 0, 0.0  # rounds of a phase; time of the last event

    def observe(self, event: RunEvent) -> None:
        match event:
            case StageEntered(stage=stage, config=config) if stage in STAGES_OF_ROUNDS:
                self._begin(config.run.rounds)
            case StageLeft():
                self._end()
            case Measured():
                self._measure(event)
            case RoundCompleted():
                self._round(event)
            case _:
                line = in_words(event)
                if line:
                    self._print(line)

    def _print(self, text: str) -> None:
        self.console.print(f"[dim]{text}[/dim]" if self.console.is_terminal else text, highlight=False)

    def _measure(self, event: Measured) -> None:
        scalars = event.measures.scalars
        shown = [measure.written(scalars[measure.name]) for measure in IN_PROGRESS if measure.name in scalars]
        if shown:
            self._measured, self._is_new = ", ".join(shown), True
        if event.completed == 0:
            self._print(f"before the first round: {self._measured}")

    def _begin(self, num_rounds: int) -> None:
        self._total, self._last, self._tracks = num_rounds, time.monotonic(), {}
        self._measured, self._is_new = "", False
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=None, table_column=Column(ratio=1)),  # takes the rest of the line
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[shown]}", table_column=Column(no_wrap=True)),
            )
            self._bar = Progress(*columns, console=self.console, expand=True)
            self._bar.start()

    def _track(self, event: RoundCompleted) -> _Track:
        """The track of the event's phase, begun with its first event."""
        if event.phase not in self._tracks:
            track = self._tracks[event.phase] = _Track(event.completed - 1, self._last, self._last)
            if self._bar is not None:
                track.task = self._bar.add_task(_title(event.phase), total=self._total, shown="")
        return self._tracks[event.phase]

    def _round(self, event: RoundCompleted) -> None:
        completed, track, is_run = event.completed, self._track(event), event.phase is Phase.ROUNDS
        self._last = time.monotonic()
        is_new = is_run and self._is_new
        self._is_new = self._is_new and not is_run
        rate = (completed - track.before) / max(self._last - track.start, 1e-9)
        loss = f"loss {event.loss:.3g}" if is_run and not event.replayed and event.loss is not None else ""
        shown = ", ".join(filter(None, (loss, self._measured if is_run else "")))
        if self._bar is not None and track.task is not None:
            self._bar.update(track.task, completed=completed, shown=f"{rate:.1f}/s {shown}")
        elif completed == self._total or self._last - track.shown > (MEASURED if is_new else UNMEASURED):
            track.shown = self._last
            pace = f"{rate:.1f} rounds/s, {(self._total - completed) / rate:.0f} s left"
            line = ", ".join(filter(None, (pace, shown)))
            self.console.print(f"{_title(event.phase)} {completed}/{self._total}: {line}", highlight=False)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _title(phase: Phase) -> str:
    return "rounds" if phase.control is None else f"control {phase.control}"


def in_words(event: RunEvent) -> str:
    """The line of text for an event; empty if the event is displayed in another way, or not at all."""
    match event:
        case StageEntered(stage=stage, config=config):
            return _stage(stage, config)
        case RunReopened():
            return f"{event.folder}: {_remaining(event)}"
        case PeersRestored(completed=completed):
            return f"from the checkpoint of round {completed}"
        case EndedEarly():
            value = f", at {event.value:.4g}" if event.value is not None else ""
            return f"{event.by}: {event.rule}{value}; the rounds end after {event.completed}"
        case PeerDropped(dropout=dropout, run_goes_on=True):
            return f"{dropout}; the others go on without it"
        case ControlVoid(phase=phase, peers=peers):
            named = ", ".join(map(str, peers))
            return f"control {phase.control}: values that are not finite in peer {named}, so no verdict from it"
        case Fault(what=text) | Note(text=text):
            return text
        case _:
            return ""


def _stage(stage: Stage, config: RunConfig) -> str:
    lines = {
        Stage.LOADING: f"loading {called(config.data)}",
        Stage.START: f"starting {config.peers.count} peers ({config.hosting.pool}){_cost(config)}",
        Stage.CONTROLS: "probing the controls: raw pixels, untrained, calibrated",
        Stage.FINAL_PROBES: "probing the trained peers",
        Stage.REPORT: "drawing figures, closing MLflow" if config.tracking.enabled else "drawing figures",
    }
    return lines.get(stage, "")


def _cost(config: RunConfig) -> str:
    """What the control runs cost, before they start."""
    controls = config.evaluation.controls
    if not controls:
        return ""
    runs = "1 control run" if len(controls) == 1 else f"{len(controls)} control runs"
    return f"; besides the run, {runs} of as many rounds: {', '.join(controls)}"


def _remaining(event: RunReopened) -> str:
    if event.remaining is Remaining.REPORT:
        return "all rounds are done; what is made of their numbers is not"
    if event.remaining is Remaining.EVERYTHING:
        return "there is no whole checkpoint: again from round 0"
    return f"{event.completed} of {event.num_rounds} rounds are done"
