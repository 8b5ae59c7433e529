"""Coordinated snapshots: written aside by all peers, then renamed as one."""

import json
import os
import shutil
from pathlib import Path


def aside(checkpoints: Path, completed: int) -> Path:
    """Where the peers write while a checkpoint is not complete."""
    return checkpoints / f".round-{completed:06d}.part"


def complete(checkpoints: Path, completed: int, checksums: list[str]) -> Path:
    """Turn what all peers have written into a checkpoint, with the SHA-256 of every file beside them."""
    folder = aside(checkpoints, completed)
    manifest = {"completed": completed, "sha256": checksums}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    final = checkpoints / f"round-{completed:06d}"
    os.replace(folder, final)
    return final


def discard_incomplete(checkpoints: Path) -> None:
    """Remove what was written aside and never became a checkpoint."""
    for part in checkpoints.glob(".round-*.part"):
        shutil.rmtree(part, ignore_errors=True)
