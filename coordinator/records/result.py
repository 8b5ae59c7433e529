"""What a run left."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Status(StrEnum):
    """How a run ended: all done; by the user; because it could not go on."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Ending:
    """How a run ended, and why it ended early, for people to read."""

    status: Status
    message: str = ""


@dataclass(frozen=True)
class Result:
    """What a run left: `summary` is what `summary.json` holds, `message` says why it ended early."""

    status: Status
    summary: dict[str, Any]
    folder: Path
    message: str = ""
