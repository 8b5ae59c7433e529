"""The accumulated state of a run, apart from tables and probes: updated by events, saved in every checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from coordinator.measures.measure import Measures
from coordinator.records.events import (
    CheckpointWritten,
    Digested,
    EndedEarly,
    Fault,
    FaultKind,
    FaultsRecovered,
    Measured,
    PeerDropped,
    Probed,
    RoundCompleted,
    RoundsChanged,
    RunEvent,
    RunStarted,
    StageTimes,
    StopChecked,
    WeightsMeasured,
)
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import Phase
from peers.hosting.origin import Origin


@dataclass(frozen=True)
class SurvivedFault:
    """A fault. completed: the rounds done by then. seconds: recovery time; None until the lost rounds are repeated."""

    completed: int
    what: str
    seconds: float | None


@dataclass
class Training:
    """What the peers did in the run's own rounds, or in those of a control run.

    completed: number of rounds. steps, first_norms: of each student, its optimiser steps and the gradient norm of the
    first of them. failed: peers that failed. weight_change: of each peer, once the rounds of a control run are done.
    """

    completed: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    first_norms: dict[int, float] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    weight_change: dict[int, float] = field(default_factory=dict)

    def take(self, event: RoundCompleted) -> None:
        """Add a round, unless it was added before hosts were lost."""
        if event.replayed:
            return
        self.completed = event.completed
        self.failed |= {peer for peer, stats in event.stats.items() if stats.failure}
        for peer, stats in event.stats.items():
            if stats.gradient_norm is not None:
                self.steps[peer] = self.steps.get(peer, 0) + event.num_steps(peer)
                self.first_norms.setdefault(peer, stats.gradient_norm)


@dataclass
class RunState:
    """The state that the summary and later stages need; only `apply` changes it.

    bytes_exchanged: size of all messages received. seconds: wall-clock time of the rounds.
    peer_seconds, evaluation_seconds: total time of all peers for rounds, and for measuring and probing.
    last_checkpoint: completed rounds of the newest one. first, last: measures before the first round, and the latest
    ones, taken after `measured_at` rounds; both without links. trainings: of the run and of its control runs. dropped:
    failures by peer. digests: of the trained peers, after the final probes. probed: rounds after which the peers were
    probed. checkpoints: number of them written, of all phases. stop_values: by round, of the measure of `run.stop`.
    ended: why and after which round the run ends, if that is before its last one. times: of the stages, until the
    newest checkpoint: where a run that is resumed goes on counting. liars: peers that no mean is about.
    workers: how many processes began in which way.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        ser_json_bytes="hex", val_json_bytes="hex", ser_json_inf_nan="constants", extra="forbid"
    )

    bytes_exchanged: int = 0
    seconds: float = 0.0
    peer_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    last_checkpoint: int = 0
    first: Measures | None = None
    last: Measures | None = None
    measured_at: int = 0
    trainings: dict[Phase, Training] = field(default_factory=dict)
    dropped: dict[int, Dropout] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)
    probed: set[int] = field(default_factory=set)
    faults: list[SurvivedFault] = field(default_factory=list)
    checkpoints: int = 0
    stop_values: dict[int, float] = field(default_factory=dict)
    ended: EndedEarly | None = None
    times: StageTimes = field(default_factory=StageTimes)
    liars: frozenset[int] = frozenset()
    workers: dict[Origin, int] = field(default_factory=dict)

    def training(self, phase: Phase) -> Training:
        """What is known of a training: nothing, if it has not begun."""
        return self.trainings.get(phase) or Training()

    @property
    def completed(self) -> int:
        """The number of the run's own rounds."""
        return self.training(Phase.ROUNDS).completed

    def last_round(self, planned: int) -> int:
        """The number of rounds that the run has in all: those planned, unless it ends early."""
        return planned if self.ended is None else self.ended.completed

    @property
    def students(self) -> list[int]:
        """The peers over which gains are averaged: those that took a step, have not dropped out, and do not lie."""
        return sorted(self.training(Phase.ROUNDS).steps.keys() - self.dropped.keys() - self.liars)

    def apply(self, event: RunEvent) -> None:
        """Update the state with an event."""
        match event:
            case RunStarted():
                self.liars, self.workers = event.config.peers.liars, dict(event.workers)
            case RoundCompleted():
                self.trainings.setdefault(event.phase, Training()).take(event)
                if event.phase is Phase.ROUNDS:
                    self._take_round(event)
            case WeightsMeasured():
                self.trainings[event.phase].weight_change = dict(event.changes)
            case Measured():
                self.evaluation_seconds += event.seconds
                self.last, self.measured_at = replace(event.measures, edges={}), event.completed
                self.first = self.first or self.last
            case Probed():
                self.evaluation_seconds += sum(outcome.seconds for outcome in event.outcomes)
                self.probed |= set() if event.completed is None else {event.completed}
            case StopChecked():
                self.stop_values[event.completed] = event.value
            case EndedEarly():
                self._end_early(event)
            case Digested():
                self.digests = event.digests
            case PeerDropped():
                self.dropped.setdefault(event.dropout.peer, event.dropout)
            case CheckpointWritten():
                self.checkpoints, self.times = self.checkpoints + 1, event.times
                if event.phase is Phase.ROUNDS:
                    self.last_checkpoint = event.completed
            case Fault() | FaultsRecovered():
                self._take_fault(event)
            case RoundsChanged():
                self._change_rounds()
            case _:
                pass

    def _take_round(self, event: RoundCompleted) -> None:
        self.seconds += event.seconds
        self.peer_seconds += event.peer_seconds
        if not event.replayed:
            self.bytes_exchanged += event.num_bytes

    def _take_fault(self, event: Fault | FaultsRecovered) -> None:
        if isinstance(event, Fault):
            seconds = None if event.kind is FaultKind.HOST_LOST else 0.0
            self.faults.append(SurvivedFault(event.completed, event.what, seconds))
        else:
            self.faults = [
                replace(fault, seconds=event.seconds) if fault.seconds is None else fault for fault in self.faults
            ]

    def _end_early(self, event: EndedEarly) -> None:
        self.ended = event
        for phase, training in list(self.trainings.items()):
            if phase.control and training.completed > event.completed:
                del self.trainings[phase]  # it has gone beyond this round, and begins again

    def _change_rounds(self) -> None:
        if self.ended is not None and self.ended.by == "run.stop":
            self.stop_values = {}  # a rule that follows counts from here
        self.digests, self.ended = [], None
        self.trainings = {Phase.ROUNDS: self.training(Phase.ROUNDS)}

    def with_checkpoint(self, event: CheckpointWritten) -> "RunState":
        """The state after a checkpoint has been written, to be stored in that checkpoint."""
        state = replace(self)  # a shallow copy suffices: this event changes no set or list
        state.apply(event)
        return state

    def to_json(self) -> dict[str, Any]:
        """Convert all fields to JSON types."""
        table: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return table

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "RunState":
        """The inverse of `to_json`. Raises: ValueError, if a field is missing, unknown or invalid.

        Checkpoints of older versions have no times, on which no result depends, and no liars.
        """
        missing = {entry.name for entry in fields(cls)} - table.keys() - {"times", "liars"}
        if missing:
            raise ValueError(f"the run's state has no {min(missing)}")
        try:
            return _ADAPTER.validate_json(json.dumps(table))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(
                f"the run's state has a wrong {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None


_ADAPTER = TypeAdapter(RunState)
