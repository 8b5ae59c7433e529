"""The kinds that events tell apart: stages of a run, what remains of a resumed one, faults."""

from enum import Enum, StrEnum, auto


class Stage(Enum):
    """The stages of a run, in order."""

    LOADING = auto()
    START = auto()
    CONTROLS = auto()
    ROUNDS = auto()
    FINAL_PROBES = auto()
    CONTROL_RUNS = auto()
    REPORT = auto()


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
