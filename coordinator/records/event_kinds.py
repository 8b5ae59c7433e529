"""The kinds that events tell apart: stages, what remains of a resumed run, faults, endings; and the stages' times."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto


class Stage(StrEnum):
    """The stages of a run, in order. LOADING lasts a second at most: what is left of it goes on during START."""

    LOADING = "loading"
    START = "start"
    CONTROLS = "controls"
    ROUNDS = "rounds"
    FINAL_PROBES = "final-probes"
    CONTROL_RUNS = "control-runs"
    REPORT = "report"


class Remaining(Enum):
    """What a resumed run still has to do: some rounds, everything, or only the figures, page and MLflow run."""

    ROUNDS = auto()
    EVERYTHING = auto()
    REPORT = auto()


class FaultKind(StrEnum):
    """The kinds of faults that a run survives."""

    HOST_LOST = "host-lost"
    CHECKPOINT_NOT_WRITTEN = "checkpoint-not-written"
    CHECKPOINT_DAMAGED = "checkpoint-damaged"
    TABLES_DAMAGED = "tables-damaged"


class Status(StrEnum):
    """How a run or an ablation ended: complete, interrupted by the user, or stopped because it could not go on.

    FAILED: of a run, an error was raised; this occurs only in the event `RunEnded`, since there is no result then. Of
    an ablation, some of its runs failed.
    """

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass
class StageTimes:
    """How long the stages of a run took, over all processes that it had.

    seconds: wall-clock time by stage. Each moment counts for one stage, so they sum to the time of the whole.
    beside: stages of which some work was done while the rounds ran (on evaluators, on idle CPUs): the time of that work
    is in the rounds.
    """

    seconds: dict[Stage, float] = field(default_factory=dict)
    beside: set[Stage] = field(default_factory=set)

    def __add__(self, other: "StageTimes") -> "StageTimes":
        both = [*self.seconds, *other.seconds]
        total = {
            stage: self.seconds.get(stage, 0.0) + other.seconds.get(stage, 0.0) for stage in Stage if stage in both
        }
        return StageTimes(total, self.beside | other.beside)
