"""What a run left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["finished", "interrupted", "stopped"]


@dataclass(frozen=True)
class Result:
    """What a run left: `summary` is what `summary.json` holds, `message` says why it ended early."""

    status: Status
    summary: dict[str, Any]
    folder: Path
    message: str = ""
