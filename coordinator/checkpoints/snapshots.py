"""Coordinated snapshots: peers write to a temporary folder, which the coordinator completes and then renames.

A checkpoint is a folder with a file for each peer, or archives of many; the coordinator's own arrays; and a manifest
with the SHA-256 of each peer's content, of other files and of itself, so that incomplete and corrupted checkpoints are
detected.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from coordinator.experiment.config import ConfigError
from coordinator.experiment.reading import from_json
from coordinator.scheduling.scheduler import Phase
from peers.base.storage import Folder
from peers.learning.peer_files import DamagedCheckpoint, content_of, file_of, names_in

FORMAT, READABLE = 5, (4, 5)  # 4 has no archives
MANIFEST, ARRAYS = "manifest.json", "coordinator.safetensors"
T = TypeVar("T")
NAME = re.compile(rf"({'|'.join(Phase)})-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as described by its manifest. state: the coordinator's.

    files: SHA-256 by the name of a file, here or in an archive.
    """

    folder: str
    phase: Phase
    completed: int
    files: dict[str, str]
    state: dict[str, Any]

    @property
    def planned_rounds(self) -> int:
        """The number of rounds that the run was meant to have when this checkpoint was written."""
        return int(self.state["rounds"])

    def checksums(self, num_peers: int) -> dict[int, str]:
        """The SHA-256 of each peer's content. Raises: DamagedCheckpoint, if a peer is missing."""
        absent = [peer for peer in range(num_peers) if file_of(peer) not in self.files]
        if absent:
            raise DamagedCheckpoint(f"it has no peer {absent[0]}")
        return {peer: self.files[file_of(peer)] for peer in range(num_peers)}

    def arrays(self) -> bytes:
        """Read the coordinator's arrays. Raises: DamagedCheckpoint."""
        return content_of(self.folder, ARRAYS, self.files.get(ARRAYS, "none"))


class Checkpoints:
    """The checkpoints of one run in their folder. keep: the number of checkpoints kept for each phase."""

    def __init__(self, url: str, keep: int) -> None:
        self.url = url
        self.keep = keep
        self._folder = Folder(url)

    def aside(self, phase: Phase, completed: int) -> str:
        """The folder that peers write to until a checkpoint is complete."""
        return f"{self._folder.url}/{_part(phase, completed)}"

    def complete(
        self, phase: Phase, completed: int, checksums: Sequence[str], state: Mapping[str, Any], arrays: bytes
    ) -> None:
        """Add the coordinator's part to the peers' files, rename the folder, and delete old checkpoints.

        Raises: OSError, in which case there is no new checkpoint and the old ones remain.
        """
        part = _part(phase, completed)
        missing = {file_of(peer) for peer in range(len(checksums))} - names_in(self.aside(phase, completed))
        if missing:
            raise FileNotFoundError(
                f"{min(missing)} is not in '{self.url}': name a folder that all nodes reach as checkpoint.path"
            )
        self._folder.write(f"{part}/{ARRAYS}", arrays)
        files = {file_of(peer): checksum for peer, checksum in enumerate(checksums)} | {ARRAYS: _sha256(arrays)}
        body = {"format": FORMAT, "phase": phase, "completed": completed, "files": files, "state": dict(state)}
        manifest = {**body, "sha256": _sha256(_canonical(body))}
        self._folder.write(f"{part}/{MANIFEST}", json.dumps(manifest, indent=1).encode() + b"\n")
        self._folder.rename(part, _name(phase, completed))
        for old in self.completed(phase)[self.keep :]:
            self._folder.remove(_name(phase, old))

    def newest_whole(
        self, phase: Phase, take: Callable[[Checkpoint], T], most: int | None = None
    ) -> tuple[T | None, list[str]]:
        """Apply `take` to the newest intact checkpoint; returns its result (None without one) and messages on damage.

        take: raises DamagedCheckpoint if the content is corrupted; then the next older checkpoint is tried. most:
        checkpoints after more than this number of rounds are left out.
        Raises: ConfigError, if a checkpoint has the format of another version of this program.
        """
        damaged: list[str] = []
        for completed in (found for found in self.completed(phase) if most is None or found <= most):
            try:
                return take(self._read(phase, completed)), damaged
            except DamagedCheckpoint as error:
                name = f"the checkpoint of {round_name(phase, completed)}"
                damaged.append(f"{name} is damaged: {error}; the one before it is used, if there is one")
        return None, damaged

    def discard(self, phase: Phase, beyond: int = -1) -> None:
        """Remove all checkpoints of a phase that were written after more than `beyond` rounds."""
        for completed in (found for found in self.completed(phase) if found > beyond):
            self._folder.remove(_name(phase, completed))

    def discard_incomplete(self) -> None:
        """Remove temporary folders of checkpoints that were never completed."""
        for name in self._folder.names():
            if name.startswith(".") and name.endswith(".part"):
                self._folder.remove(name)

    def completed(self, phase: Phase) -> list[int]:
        """The completed rounds of every checkpoint of a phase, newest first."""
        matches = (NAME.fullmatch(name) for name in self._folder.names())
        return sorted((int(match[2]) for match in matches if match and match[1] == phase), reverse=True)

    def _read(self, phase: Phase, completed: int) -> Checkpoint:
        name = _name(phase, completed)
        try:
            manifest = from_json(self._folder.read(f"{name}/{MANIFEST}"))
            written = manifest.pop("sha256")
            if written != _sha256(_canonical(manifest)):
                raise DamagedCheckpoint(f"{MANIFEST} is not what was written: its checksum differs")
            if manifest["format"] not in READABLE:
                raise ConfigError(
                    f"'{self._folder.url}/{name}' has format {manifest['format']}, but this version of peer-consensus "
                    f"reads {' and '.join(map(str, READABLE))}: go on with the version that wrote it, or start a new "
                    "run"
                )
            return Checkpoint(
                f"{self._folder.url}/{name}", phase, manifest["completed"], manifest["files"], manifest["state"]
            )
        except OSError as error:
            raise DamagedCheckpoint(f"{MANIFEST} cannot be read: {error.strerror or error}") from None
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            if isinstance(error, DamagedCheckpoint | ConfigError):
                raise
            raise DamagedCheckpoint(f"{MANIFEST} is no manifest: {error}") from None


def url_of(path: str, run: Path) -> str:
    """The folder of a run's checkpoints: named after the run in `checkpoint.path`, or in the run's own folder."""
    return f"{path.rstrip('/')}/{run.name}" if path else str(run / "checkpoints")


def round_name(phase: Phase, completed: int) -> str:
    """A readable name for the round after which a checkpoint was written."""
    return f"round {completed}" + (f" of the control {phase.control}" if phase.control else "")


def _name(phase: Phase, completed: int) -> str:
    return f"{phase}-{completed:06d}"


def _part(phase: Phase, completed: int) -> str:
    return f".{_name(phase, completed)}.part"


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
