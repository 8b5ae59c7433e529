"""The end of a run before its last planned round: by the rule `run.stop`, or because an observer raised `StopRun`."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import cast

from coordinator.checkpoints.manager import CheckpointManager
from coordinator.experiment.config import RunConfig
from coordinator.measures import stop_rule
from coordinator.measures.gains import Condition
from coordinator.planning.plan import Plan
from coordinator.pools.base import Pool
from coordinator.records.events import EndedEarly, Measured, Probed, RoundCompleted, RunEvent, StopChecked
from coordinator.records.observer import Observers
from coordinator.records.recorder import Recorder
from coordinator.run.controls import Controls
from coordinator.scheduling.probing import observe
from coordinator.scheduling.scheduler import Phase, RoundRecord
from peers.probing.config import ProbeName


def holds(config: RunConfig, observers: Observers) -> Callable[[int], bool]:
    """After which rounds it has to be known whether the run ends there, before the next one is submitted."""
    evaluation = config.evaluation

    def held(completed: int) -> bool:
        cadences = (evaluation.every, evaluation.probe_every) if observers.hold_rounds else ()
        return stop_rule.due(config, completed) or any(every and completed % every == 0 for every in cadences)

    return held


class EarlyEnd:
    """Decides after each round whether the run ends there, and publishes `EndedEarly`.

    The rule decides from the values in the run's state alone, which checkpoints contain: so it decides the same in
    every pool, in a repeated round, and in a resumed run. It is told of events to note the value of its measure.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, observers: Observers, controls: Controls, checkpoints: CheckpointManager
    ) -> None:
        self._plan, self._config, self._rule = plan, plan.config, plan.config.run.stop
        self._recorder, self._state, self._observers = recorder, recorder.state, observers
        self._controls, self._checkpoints = controls, checkpoints
        self._found: tuple[int, float] | None = None  # round and value that the rule has not seen yet
        self._position = 0  # rounds that the peers have completed; fewer than the state's while rounds are replayed
        observers.attach(self)

    def observe(self, event: RunEvent) -> None:
        """Note the value of the rule's measure, if this event has it and the rule has not seen it."""
        if not isinstance(event, Measured | RoundCompleted | Probed) or event.completed is None or self._rule is None:
            return
        if stop_rule.due(self._config, event.completed) and event.completed not in self._state.stop_values:
            value = self._value(event, self._rule.measure)
            if value is not None:
                self._found = (event.completed, value)

    def begin(self, start: int) -> None:
        """The rounds begin, or go on, after `start` of them."""
        self._position = start

    def prepare(self, completed: int) -> None:
        """Record the controls that the rule compares with after this round, before the round's probes are read."""
        gain = self._rule is not None and self._rule.measure.endswith(f".{stop_rule.GAIN}")
        if gain and stop_rule.due(self._config, completed):
            self._controls.read()

    def after(self, record: RoundRecord) -> None:
        """End the run after this round, which is recorded, if the rule says so."""
        self._position, found, self._found = record.completed, self._found, None
        if found is None or self._rule is None or self._state.ended is not None:
            return
        self._recorder.publish(StopChecked(*found))
        values = [value for _, value in sorted(self._state.stop_values.items())]
        reason = stop_rule.reason(self._rule, values)
        if reason:
            self._end(EndedEarly(found[0], "run.stop", reason, found[1]))

    @property
    def is_asked(self) -> bool:
        """Whether an observer has asked for the end, and the rounds that were recorded are not being replayed."""
        return self._observers.ending is not None and 1 <= self._state.completed <= self._position

    def conclude(self, pool: Pool) -> RoundRecord | None:
        """After the rounds: end the run if an observer asked for it, and measure its last round if it is not yet.

        Returns the last round with its observations, if they were made here.
        """
        ending, completed = self._observers.ending, self._position
        if ending is not None and self.is_asked and self._state.ended is None and completed < self._config.run.rounds:
            self._end(EndedEarly(completed, "observer", ending.reason or "no reason given"))
        if self._state.ended is None or self._state.measured_at == completed:
            return None
        round_ = self._plan.schedule(completed - 1)
        observations = observe(pool, self._observers.want_outputs(completed)).get()
        self._recorder.measured(completed, observations, round_)
        return RoundRecord(completed, round_, {}, 0, observations)

    def _end(self, event: EndedEarly) -> None:
        self._recorder.publish(event)
        if event.completed < self._config.run.rounds:
            self._controls.forget(Condition.CALIBRATED)  # it was shown the last batches of the rounds that were planned
            self._recorder.probes.forget(Condition.CALIBRATED)
            self._checkpoints.discard_beyond(event.completed)

    def _value(self, event: Measured | RoundCompleted | Probed, measure: str) -> float | None:
        """The value of a measure if this event has it: the loss of a round, a measure of consensus, or of a probe."""
        match event:
            case RoundCompleted(phase=Phase.ROUNDS) if measure == stop_rule.LOSS:
                return event.loss
            case Measured():
                return event.measures.scalars.get(measure.removeprefix("consensus."))
            case Probed() if stop_rule.is_probe(measure) and self._recorder.probes.probed(self._state.students):
                _, probe, number = measure.split(".")
                return self._of_probe(cast(ProbeName, probe), number, event.accuracies[f"{probe}_accuracy"])
            case _:
                return None

    def _of_probe(self, probe: ProbeName, number: str, accuracies: Sequence[float]) -> float:
        students = self._state.students
        if number == stop_rule.GAIN:
            return self._recorder.probes.mean_gain(probe, accuracies, students)
        return fmean(accuracies[row] for row in self._recorder.probes.rows(students))
