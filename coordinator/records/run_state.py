"""All that a run has come to, beside its tables and its probes: changed by events, saved with every checkpoint."""

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
    """A fault, after which round it came, and the seconds that it cost; None until its rounds are done again."""

    completed: int
    what: str
    seconds: float | None


@dataclass
class RunState:
    """What the summary and the next stage need to know; only `apply` changes it.

    completed, bytes_exchanged: rounds, and bytes of the messages heard in them. seconds: of the rounds; peer_seconds,
    evaluation_seconds: what all peers together spent on them, and on measuring and probing. last_checkpoint: the round
    of the newest one. first, last: consensus before the first round and as last measured, after `measured_at` rounds,
    without the links. studied: peers that took at least one step. failed_alone: peers that failed in the control alone.
    dropped: by peer. digests: of the trained peers, once they are probed. probed: rounds after which peers were probed.
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
        """The peers whose gain counts: those that took a step and have not dropped out."""
        return sorted(self.studied - self.dropped.keys())

    def apply(self, event: RunEvent) -> None:
        """Take up what has happened."""
        match event:
            case RoundCompleted(phase=Phase.ROUNDS):
                self._take_round(event)
            case RoundCompleted():
                self.failed_alone |= {peer for peer, each in event.stats.items() if each.failure}
            case Measured():
                self.evaluation_seconds += event.seconds
                self.last, self.measured_at = replace(event.measures, edges={}), event.completed
                self.first = self.first or self.last
            case Probed():
                self.evaluation_seconds += sum(each.seconds for each in event.outcomes)
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
                    replace(each, seconds=event.seconds) if each.seconds is None else each for each in self.faults
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
        """The state as it will be once a checkpoint is written, which is what goes into that checkpoint."""
        state = replace(self)  # shallow: a checkpoint changes no set and no list
        state.apply(event)
        return state

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON can hold it."""
        table: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return table

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "RunState":
        """The state that `to_json` was called on. Raises: ValueError, if a field is missing or unknown."""
        missing = {each.name for each in fields(cls)} - table.keys()
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
