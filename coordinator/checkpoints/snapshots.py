"""Coordinated snapshots: written aside by all peers, completed and renamed by the coordinator, read newest first.

A checkpoint is a folder with a file for each peer, the coordinator's own numbers, and a manifest with the SHA-256 of
every one of them and of itself: half of one, or one whose bits have changed, is seen to be no checkpoint.
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
from peers.learning.snapshot import DamagedCheckpoint, content_of, file_of

FORMAT = 2
MANIFEST, ARRAYS = "manifest.json", "coordinator.safetensors"
T = TypeVar("T")
NAME = re.compile(rf"({'|'.join(Phase)})-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as its manifest tells it; `files`: SHA-256 by name."""

    folder: str
    phase: Phase
    completed: int
    files: dict[str, str]
    state: dict[str, Any]

    @property
    def planned_rounds(self) -> int:
        """How many rounds the run was to have when this was written."""
        return int(self.state["rounds"])

    def checksums(self, num_peers: int) -> dict[int, str]:
        """The SHA-256 of each peer's file. Raises: DamagedCheckpoint, if a peer is not in it."""
        absent = [peer for peer in range(num_peers) if file_of(peer) not in self.files]
        if absent:
            raise DamagedCheckpoint(f"it has no peer {absent[0]}")
        return {peer: self.files[file_of(peer)] for peer in range(num_peers)}

    def arrays(self) -> bytes:
        """The coordinator's arrays. Raises: DamagedCheckpoint."""
        return content_of(self.folder, ARRAYS, self.files.get(ARRAYS, "none"))


class Checkpoints:
    """The checkpoints of one run, in a folder of their own; the last `keep` of each phase stay."""

    def __init__(self, url: str, keep: int) -> None:
        self.url = url
        self.keep = keep
        self._folder = Folder(url)

    def aside(self, phase: Phase, completed: int) -> str:
        """Where the peers write while a checkpoint is not complete."""
        return f"{self._folder.url}/{_part(phase, completed)}"

    def complete(
        self, phase: Phase, completed: int, checksums: Sequence[str], state: Mapping[str, Any], arrays: bytes
    ) -> None:
        """Turn what all peers have written into a checkpoint, with the coordinator's part; then drop the oldest.

        Raises: OSError; then there is no new checkpoint, and those before stay.
        """
        part = _part(phase, completed)
        missing = {file_of(peer) for peer in range(len(checksums))} - set(Folder(self.aside(phase, completed)).names())
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

    def newest_whole(self, phase: Phase, take: Callable[[Checkpoint], T]) -> tuple[T | None, list[str]]:
        """What `take` makes of the newest checkpoint that is whole, None where none is; and what was found damaged.

        take: raises DamagedCheckpoint where what it reads is not what was written.
        Raises: ConfigError, if one was written by a version of this program whose checkpoints cannot be read.
        """
        damaged: list[str] = []
        for completed in self.completed(phase):
            try:
                return take(self._read(phase, completed)), damaged
            except DamagedCheckpoint as error:
                name = f"the checkpoint of {round_name(phase, completed)}"
                damaged.append(f"{name} is damaged: {error}; the one before it is used, if there is one")
        return None, damaged

    def discard_incomplete(self) -> None:
        """Remove what was written aside and never became a checkpoint."""
        for name in self._folder.names():
            if name.startswith(".") and name.endswith(".part"):
                self._folder.remove(name)

    def completed(self, phase: Phase) -> list[int]:
        """After how many rounds there are checkpoints, newest first."""
        found = (NAME.fullmatch(name) for name in self._folder.names())
        return sorted((int(each[2]) for each in found if each and each[1] == phase), reverse=True)

    def _read(self, phase: Phase, completed: int) -> Checkpoint:
        name = _name(phase, completed)
        try:
            manifest = from_json(self._folder.read(f"{name}/{MANIFEST}"))
            written = manifest.pop("sha256")
            if written != _sha256(_canonical(manifest)):
                raise DamagedCheckpoint(f"{MANIFEST} is not what was written: its checksum differs")
            if manifest["format"] != FORMAT:
                raise ConfigError(
                    f"'{self._folder.url}/{name}' has format {manifest['format']}, but this version of peer-consensus "
                    f"reads format {FORMAT}: go on with the version that wrote it, or start a new run"
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
    """Where a run's checkpoints are: below `checkpoint.path` under the run's name, or in the run's own folder."""
    return f"{path.rstrip('/')}/{run.name}" if path else str(run / "checkpoints")


def round_name(phase: Phase, completed: int) -> str:
    """What people call the round that a checkpoint was written after."""
    return f"round {completed}" + (" alone" if phase is Phase.ALONE else "")


def _name(phase: Phase, completed: int) -> str:
    return f"{phase}-{completed:06d}"


def _part(phase: Phase, completed: int) -> str:
    return f".{_name(phase, completed)}.part"


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
