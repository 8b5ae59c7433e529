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
    Fault,
    FaultKind,
    FaultsRecovered,
    Measured,
    PeerDropped,
    Probed,
    RoundCompleted,
    RoundsChanged,
    RunEvent,
)
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import Phase


@dataclass(frozen=True)
class SurvivedFault:
    """A fault. completed: the rounds done by then. seconds: recovery time; None until the lost rounds are repeated."""

    completed: int
    what: str
    seconds: float | None


@dataclass
class RunState:
    """The state that the summary and later stages need; only `apply` changes it.

    completed: number of rounds. bytes_exchanged: size of all messages received. seconds: wall-clock time of the rounds.
    peer_seconds, evaluation_seconds: total time of all peers for rounds, and for measuring and probing.
    last_checkpoint: completed rounds of the newest one. first, last: measures before the first round, and the latest
    ones, taken after `measured_at` rounds; both without links. studied: peers that took at least one step.
    failed_alone: peers that failed in the control alone. dropped: failures by peer. digests: of the trained peers,
    after the final probes. probed: rounds after which the peers were probed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        ser_json_bytes="hex", val_json_bytes="hex", ser_json_inf_nan="constants", extra="forbid"
    )

    completed: int = 0
    bytes_exchanged: int = 0
    seconds: float = 0.0
    peer_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    last_checkpoint: int = 0
    first: Measures | None = None
    last: Measures | None = None
    measured_at: int = 0
    studied: set[int] = field(default_factory=set)
    failed_alone: set[int] = field(default_factory=set)
    dropped: dict[int, Dropout] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)
    probed: set[int] = field(default_factory=set)
    faults: list[SurvivedFault] = field(default_factory=list)

    @property
    def students(self) -> list[int]:
        """The peers over which gains are averaged: those that took a step and have not dropped out."""
        return sorted(self.studied - self.dropped.keys())

    def apply(self, event: RunEvent) -> None:
        """Update the state with an event."""
        match event:
            case RoundCompleted(phase=Phase.ROUNDS):
                self._take_round(event)
            case RoundCompleted():
                self.failed_alone |= {peer for peer, stats in event.stats.items() if stats.failure}
            case Measured():
                self.evaluation_seconds += event.seconds
                self.last, self.measured_at = replace(event.measures, edges={}), event.completed
                self.first = self.first or self.last
            case Probed():
                self.evaluation_seconds += sum(outcome.seconds for outcome in event.outcomes)
                self.probed |= set() if event.completed is None else {event.completed}
            case Digested():
                self.digests = event.digests
            case PeerDropped():
                self.dropped.setdefault(event.dropout.peer, event.dropout)
            case CheckpointWritten(phase=Phase.ROUNDS):
                self.last_checkpoint = event.completed
            case Fault():
                seconds = None if event.kind is FaultKind.HOST_LOST else 0.0
                self.faults.append(SurvivedFault(event.completed, event.what, seconds))
            case FaultsRecovered():
                self.faults = [
                    replace(fault, seconds=event.seconds) if fault.seconds is None else fault for fault in self.faults
                ]
            case RoundsChanged():
                self.digests, self.failed_alone = [], set()
            case _:
                pass

    def _take_round(self, event: RoundCompleted) -> None:
        self.seconds += event.seconds
        self.peer_seconds += event.peer_seconds
        if not event.replayed:
            self.completed = event.completed
            self.bytes_exchanged += event.num_bytes
            self.studied |= event.losses.keys()

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
        """The inverse of `to_json`. Raises: ValueError, if a field is missing, unknown or invalid."""
        missing = {entry.name for entry in fields(cls)} - table.keys()
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
