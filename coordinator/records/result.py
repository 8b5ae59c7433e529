"""The result of a run and the way in which it ended."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Status(StrEnum):
    """How a run or an ablation ended: complete, interrupted by the user, or stopped because it could not go on.

    FAILED: of a run, an error was raised; this occurs only in the event `RunEnded`, since there is no result then. Of
    an ablation, some of its runs failed.
    """

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Ending:
    """How a run ended. message: if it ended early, the reason in words."""

    status: Status
    message: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a run. summary: the content of `summary.json`. message: the reason if the run ended early."""

    status: Status
    summary: dict[str, Any]
    folder: Path
    message: str = ""
