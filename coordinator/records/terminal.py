"""Shows a run's progress: lines that are redrawn on a terminal, plain lines elsewhere; or, if quiet, only warnings."""

import time
from collections.abc import Callable

from rich.console import Console

from coordinator.experiment.config import RunConfig
from coordinator.measures.declared import Shown, shown_in
from coordinator.measures.gains import Condition
from coordinator.records.events import (
    ControlVoid,
    EndedEarly,
    Fault,
    Measured,
    Note,
    PeerDropped,
    PeersRestored,
    Probed,
    ProbesDone,
    Remaining,
    RoundCompleted,
    RunEvent,
    RunReopened,
    Stage,
    StageEntered,
    StageLeft,
)
from coordinator.records.live_lines import LiveLines, Track
from coordinator.records.plain_text import say
from coordinator.records.stage_clock import StageClock, virtual_time
from coordinator.scheduling.scheduler import Phase
from peers.base.brought import called

IN_PROGRESS = shown_in(Shown.PROGRESS)
MEASURED, UNMEASURED = 1.0, 10.0  # minimum seconds between progress lines, with and without new measures
STAGES_OF_ROUNDS = (Stage.ROUNDS, Stage.CONTROL_RUNS)
STAGES_OF_PROBES = (Stage.CONTROLS, Stage.FINAL_PROBES)
WARNINGS = (Fault, PeerDropped, ControlVoid)  # what a run survives or gives up
PROBE = "linear"  # whose gain is shown while a run goes on


class Live:
    """Shows rounds/s, remaining time, loss, the latest measures declared for the progress line, and the linear gain.

    began: when the command began, by `time.monotonic`, if that was before the run.
    """

    def __init__(self, console: Console, began: float | None = None) -> None:
        self.console = console
        self._began = began
        self._clock = StageClock(time.monotonic)
        self._lines: LiveLines | None = None
        self._tracks: dict[Phase, Track] = {}
        self._probes: Track | None = None
        self._stage, self._entered = Stage.START, 0.0  # and when it was entered
        self._gain = _GainSoFar()
        self._measured = ""
        self._is_new = False  # whether the latest measures have not been shown yet
        self._total, self._last = 0, 0.0  # rounds of a phase; time of the last event
        self._imports: float | None = None

    def observe(self, event: RunEvent) -> None:
        if self._imports is None:
            self._imports = 0.0 if self._began is None else time.monotonic() - self._began
        self._clock.observe(event)
        self._gain.observe(event)
        if isinstance(event, StageEntered):
            self._end()
            self._stage, self._entered, self._probes = event.stage, time.monotonic(), None
        match event:
            case StageEntered(stage=stage, config=config) if stage in STAGES_OF_ROUNDS:
                self._begin(config.run.rounds)
            case StageLeft():
                self._end()
            case Measured():
                self._measure(event)
            case RoundCompleted():
                self._round(event)
            case ProbesDone() if self._stage in STAGES_OF_PROBES:
                self._count(event)
            case _:
                line = in_words(event)
                if line:
                    self._print(line, "yellow" if isinstance(event, WARNINGS) else "dim")

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds of this command by stage, from its begin until now."""
        stages = {stage.value: seconds for stage, seconds in self._clock.times.seconds.items()}
        return ({"imports": self._imports} if self._imports else {}) | stages

    def _print(self, text: str, style: str = "dim") -> None:
        say(self.console, text, style)

    def _measure(self, event: Measured) -> None:
        scalars = event.measures.scalars
        shown = [measure.written(scalars[measure.name]) for measure in IN_PROGRESS if measure.name in scalars]
        self._measured, self._is_new = ", ".join(shown), bool(shown)  # nothing, where only liars are left
        if event.completed == 0:
            self._print(f"before the first round: {self._measured}")

    def _begin(self, num_rounds: int) -> None:
        self._total, self._last, self._tracks = num_rounds, time.monotonic(), {}
        self._measured, self._is_new = "", False
        self._open()
        if self._lines is not None:
            self._lines.measured = self._gain.in_words(0)

    def _open(self) -> None:
        """Redraw lines from now on, on a terminal."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._lines = LiveLines(self.console)

    def _track(self, event: RoundCompleted) -> Track:
        """The track of the event's phase, begun with its first event."""
        phase = event.phase
        if phase not in self._tracks:
            title = "rounds" if phase.control is None else f"control {phase.control}"
            track = self._tracks[phase] = Track(title, self._total, event.completed - 1, self._last, self._last)
            if self._lines is not None and phase.control is None:
                self._lines.own = track
            elif self._lines is not None:
                self._lines.controls.append(track)
        return self._tracks[phase]

    def _round(self, event: RoundCompleted) -> None:
        track, is_run = self._track(event), event.phase is Phase.ROUNDS
        track.completed, track.last = event.completed, time.monotonic()
        self._last = track.last
        is_new = is_run and self._is_new
        self._is_new = self._is_new and not is_run
        loss = f"loss {event.loss:.3g}" if is_run and not event.replayed and event.loss is not None else ""
        parts = (_virtual(event), loss, self._measured, self._gain.in_words(event.completed)) if is_run else ()
        shown = ", ".join(filter(None, parts))
        if self._lines is not None:
            self._lines.measured = shown if is_run else self._lines.measured
        elif track.completed == self._total or track.last - track.shown > (MEASURED if is_new else UNMEASURED):
            track.shown = track.last
            line = ", ".join(filter(None, (f"{track.rate:.1f} rounds/s", track.left, shown)))
            say(self.console, f"{track.title} {track.count}: {line}")

    def _count(self, event: ProbesDone) -> None:
        """Show how many probes of the stage are done."""
        now = time.monotonic()
        if self._probes is None:
            self._probes = Track("probes", event.total, event.done - 1, self._entered, self._entered, first=now)
            self._open()
            if self._lines is not None:
                self._lines.own = self._probes
        self._probes.completed, self._probes.last = event.done, now
        if self._lines is None and now - self._probes.shown > UNMEASURED:
            self._probes.shown = now
            say(self.console, f"probes {self._probes.count}: {self._probes.left}")
        if event.done == event.total:
            self._end()

    def _end(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None


def _virtual(event: RoundCompleted) -> str:
    """The virtual time after a round; empty without a simulated network."""
    timing = event.timing
    return "" if timing is None else f"virtual {virtual_time(timing.virtual_seconds)}"


class _GainSoFar:
    """The linear probe's mean gain over calibrated networks, as far as it is known while the run goes on."""

    def __init__(self) -> None:
        self._calibrated: dict[int, float] = {}
        self._latest: dict[int, float] = {}
        self._probed = 0  # rounds that were completed then
        self._students: set[int] = set()
        self._dropped: set[int] = set()

    def observe(self, event: RunEvent) -> None:
        match event:
            case RoundCompleted(phase=Phase.ROUNDS):
                self._students |= event.losses.keys()
            case PeerDropped(dropout=dropout):
                self._dropped.add(dropout.peer)
            case Probed():
                accuracies = event.accuracies.get(f"{PROBE}_accuracy")
                found = {} if accuracies is None else dict(zip(event.probed, accuracies, strict=True))
                if event.condition is Condition.CALIBRATED:
                    self._calibrated = found
                elif event.completed and event.condition in (None, Condition.TRAINED):
                    self._latest, self._probed = found, event.completed
            case _:
                pass

    def in_words(self, completed: int) -> str:
        """Such as `linear gain +2.0 points`, with its round if that is an earlier one; empty if it is not known yet."""
        known = self._latest.keys() & self._calibrated.keys()
        peers = sorted(known & self._students - self._dropped)
        if not peers:
            return ""
        gain = sum(self._latest[peer] - self._calibrated[peer] for peer in peers) / len(peers)
        when = f" (round {self._probed})" if self._probed < completed else ""
        return f"{PROBE} gain {round(100 * gain, 9) + 0.0:+.1f} points{when}"  # as the verdicts round it


class Warned:
    """Shows nothing but what a run survives or gives up. tell: gets a line for each."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, WARNINGS) and in_words(event):
            self._tell(in_words(event))


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
