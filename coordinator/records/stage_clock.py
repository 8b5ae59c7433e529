"""Measures how long the stages of a run take, from its events."""

import time
from collections.abc import Callable

from coordinator.measures.gains import Condition
from coordinator.records.events import Probed, RoundCompleted, RunEnded, RunEvent, Stage, StageEntered, StageTimes

CONTROLS = (Condition.RAW_PIXELS, Condition.UNTRAINED, Condition.CALIBRATED)


class StageClock:
    """An observer that measures the stages: each lasts until the next begins, the last one until the run has ended.

    clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: Stage | None = None
        self._since = 0.0
        self._times = StageTimes()

    @property
    def times(self) -> StageTimes:
        """The times until now."""
        return self._times + self._running

    def observe(self, event: RunEvent) -> None:
        match event:
            case StageEntered(stage=stage):
                self._turn(stage)
            case RunEnded():
                self._turn(None)
            case RoundCompleted(phase=phase) if phase.control is not None:
                self._note_beside(Stage.CONTROL_RUNS)
            case Probed(condition=condition) if condition in CONTROLS:
                self._note_beside(Stage.CONTROLS)
            case _:
                pass

    @property
    def _running(self) -> StageTimes:
        """The part of the stage that is running which is not yet in the sum."""
        return StageTimes({} if self._stage is None else {self._stage: self._clock() - self._since})

    def _turn(self, stage: Stage | None) -> None:
        self._times, self._stage, self._since = self._times + self._running, stage, self._clock()

    def _note_beside(self, stage: Stage) -> None:
        if self._stage is Stage.ROUNDS:
            self._times.beside.add(stage)


def duration(seconds: float | int) -> str:
    """A time as people read it: `0.6 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def virtual_time(seconds: float | int) -> str:
    """A virtual time as people read it: `0 s`, `12 ms`, `1.25 s`, `3 min 5 s`, `2 h 10 min`, `3.1 days`."""
    if seconds <= 0:
        return "0 s"
    if seconds < 9.995e-4:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    return duration(seconds) if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
