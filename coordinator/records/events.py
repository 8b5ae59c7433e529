"""The typed events of a run: each is applied to the run's state and then passed to its observers, in order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int

from coordinator.experiment.config import RunConfig
from coordinator.measures import pooling
from coordinator.measures.measure import Measures
from coordinator.records.event_kinds import FaultKind as FaultKind
from coordinator.records.event_kinds import Remaining as Remaining
from coordinator.records.event_kinds import Stage as Stage
from coordinator.records.event_kinds import StageTimes as StageTimes
from coordinator.records.event_kinds import Status
from coordinator.records.probe_events import Probed as Probed
from coordinator.records.probe_events import ProbesDone as ProbesDone
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import Phase, RoundTiming
from peers.exchange.assignment import Stats
from peers.hosting.origin import Origin


@dataclass(frozen=True)
class RunReopened:
    """A run is resumed from its folder, with `completed` of `num_rounds` rounds done."""

    folder: Path
    completed: int
    num_rounds: int
    remaining: Remaining


@dataclass(frozen=True)
class RunStarted:
    """The peers are ready and the run's folder exists. workers: how many of its processes began in which way."""

    config: RunConfig
    folder: Path
    workers: Mapping[Origin, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StageEntered:
    """A stage begins. config: tells how long it will be, for example through `config.run.rounds`."""

    stage: Stage
    config: RunConfig


@dataclass(frozen=True)
class StageLeft:
    """The stage ROUNDS or CONTROL_RUNS is over, whether or not it was completed."""

    stage: Stage


@dataclass(frozen=True)
class PeersRestored:
    """All peers were restored from a checkpoint written after `completed` rounds of a phase."""

    phase: Phase
    completed: int


@dataclass(frozen=True)
class Measured:
    """Measures after a round, published before its `RoundCompleted`; `completed` is 0 before the first round.

    seconds: the peers' total time spent on the observations.
    """

    completed: int
    measures: Measures
    seconds: float


@dataclass(frozen=True, eq=False)
class OutputsMeasured:
    """The peers' features and outputs (logits) on the probe batch, for observers with `wants_outputs(completed)`.

    Published after the `Measured` of the same round, to those observers only whose method returned True for it.
    features, outputs: by peer, [examples, dim]; of the forward pass that the measures are of, in which BatchNorm uses
    the batch's own statistics. labels: of the examples. examples: their places among the test images. Read-only.
    """

    completed: int
    features: Mapping[int, Float32[np.ndarray, "examples features"]]
    outputs: Mapping[int, Float32[np.ndarray, "examples outputs"]]
    labels: Int[np.ndarray, " examples"]
    examples: Int[np.ndarray, " examples"]


@dataclass(frozen=True)
class RoundCompleted:
    """A round of a phase is complete. stats: those of its participants.

    num_bytes: size of the messages received in this round. bytes_so_far: the total of the phase ROUNDS when this event
    is published, in which every round counts once: a replayed round does not raise it.
    seconds: wall-clock time since the previous round. peer_seconds: the peers' total computing time since then.
    replayed: the round was published before, and is repeated after the loss of hosts. timing: of the round in a
    simulated network; None without one. liars: peers that means do not count.
    """

    phase: Phase
    completed: int
    stats: Mapping[int, Stats]
    num_bytes: int = 0
    bytes_so_far: int = 0
    seconds: float = 0.0
    peer_seconds: float = 0.0
    replayed: bool = False
    timing: RoundTiming | None = None
    liars: Collection[int] = ()

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each honest student."""
        losses = {peer: stats.loss for peer, stats in self.stats.items() if stats.loss is not None}
        return {peer: loss for peer, loss in losses.items() if peer not in self.liars}

    @property
    def loss(self) -> float | None:
        """The honest students' mean loss; None if there were no students."""
        losses = self.losses
        return sum(losses.values()) / len(losses) if losses else None

    @property
    def row(self) -> dict[str, Any]:
        """The round's numbers by their names in tables and MLflow."""
        return {
            "loss": self.loss,
            "students": len(self.losses),
            "bytes": self.num_bytes,
            "bytes_so_far": self.bytes_so_far,
            **pooling.of_round(stats.heard for stats in self.stats.values()),
            **({} if self.timing is None else self.timing.row),
        }

    def num_steps(self, peer: int) -> int:
        """The learning steps of a student in this round: several, or one, where a round is not a step of everybody."""
        return 1 if self.timing is None else self.timing.steps.get(peer, 1)


@dataclass(frozen=True)
class StopChecked:
    """The value of the measure that the config's rule `run.stop` looks at, after a round."""

    completed: int
    value: float


@dataclass(frozen=True)
class EndedEarly:
    """The run ends after `completed` rounds, as if these had been all; final probes and control runs follow.

    by: `run.stop`, or `observer` if one raised `StopRun`. rule: the condition that holds, or the observer's reason.
    value: of the rule's measure.
    """

    completed: int
    by: Literal["run.stop", "observer"]
    rule: str
    value: float | None = None


@dataclass(frozen=True)
class Digested:
    """The run's rounds and final probes are done. digests: SHA-256 of each peer's parameters and buffers."""

    digests: list[bytes]


@dataclass(frozen=True)
class PeerDropped:
    """A peer has failed. run_goes_on: whether the run goes on without it or stops."""

    dropout: Dropout
    run_goes_on: bool


@dataclass(frozen=True)
class ControlVoid:
    """A control run is void because these peers failed in it; there is no verdict from it."""

    phase: Phase
    peers: tuple[int, ...]


@dataclass(frozen=True)
class WeightsMeasured:
    """The rounds of a control run are done. changes: |theta - theta_0| / |theta_0| of each peer."""

    phase: Phase
    changes: Mapping[int, float]


@dataclass(frozen=True)
class CheckpointWritten:
    """A checkpoint is complete. A failure to write one is a `Fault`. times: of the run's stages until then."""

    phase: Phase
    completed: int
    times: StageTimes = field(default_factory=StageTimes, compare=False)


@dataclass(frozen=True)
class Fault:
    """A fault that the run survives. completed: the rounds done by then. number: counts the run's faults from 1."""

    kind: FaultKind
    what: str
    completed: int
    number: int


@dataclass(frozen=True)
class FaultsRecovered:
    """All rounds that were undone by lost hosts have been repeated. seconds: time since the loss."""

    seconds: float


@dataclass(frozen=True)
class RoundsChanged:
    """The run is resumed with a different number of rounds, so its final results no longer hold."""


@dataclass(frozen=True)
class Note:
    """A text for people, without meaning for the program."""

    text: str


@dataclass(frozen=True)
class RunEnded:
    """The last event of every call of `simulate` and `resume`, published exactly once, however the call ends.

    Nothing more will be written to the run's folder. status: FAILED if an error is raised, even if the summary of the
    results so far calls the run stopped. message: the reason if the run did not finish; of an error, the first line.
    folder: None if the run was refused or failed before it had a folder.
    """

    status: Status
    message: str
    folder: Path | None


RunEvent = (
    RunReopened
    | RunStarted
    | StageEntered
    | StageLeft
    | PeersRestored
    | Measured
    | OutputsMeasured
    | RoundCompleted
    | Probed
    | ProbesDone
    | StopChecked
    | EndedEarly
    | Digested
    | PeerDropped
    | ControlVoid
    | WeightsMeasured
    | CheckpointWritten
    | Fault
    | FaultsRecovered
    | RoundsChanged
    | Note
    | RunEnded
)
