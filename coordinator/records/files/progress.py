"""What a run shows of itself while it goes on: its latest rows, and `.progress.json`, for whoever reads its folder."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordinator.experiment.config import RunConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.events import (
    CheckpointWritten,
    Measured,
    Note,
    PeerDropped,
    Probed,
    ProbesDone,
    RoundCompleted,
    RunEnded,
    RunEvent,
    Stage,
    StageEntered,
)
from coordinator.records.files.live_rows import LiveRows
from coordinator.records.files.run_folder import RunFolder, to_json
from coordinator.records.run_state import RunState

PROGRESS = ".progress.json"
SECONDS = 0.25  # at least this long between two writings
SHARE = 0.02  # of the run's time at most, however large the tables are


class Progress:
    """Keeps a run's folder readable while the run goes on; a disk that is full costs one note, and no round.

    clock: seconds, monotonic.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: RunState,
        probes: ProbeTable,
        config: RunConfig,
        tell: Callable[[Note], object] = lambda note: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._state, self._probes, self._config = folder, state, probes, config
        self._tell, self._clock = tell, clock
        self._rows = LiveRows(folder)
        self._stage = Stage.START
        self._counted: list[int] | None = None  # probes of the stage that are done, and all of them
        self._ended: RunEnded | None = None
        self._due = 0.0
        self._identity = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": started_at(os.getpid())}
        self._started = time.time()
        self._is_new, self._fails = False, False

    def observe(self, event: RunEvent) -> None:
        match event:
            case StageEntered():
                self._stage, self._config, self._counted = event.stage, event.config, None
                self._write(at_once=True)
            case RunEnded():
                self._ended = event
                self._write(at_once=True)
            case CheckpointWritten():
                self._try(self._rows.clear)  # they are in the files of the checkpoint
            case ProbesDone():
                self._counted = [event.done, event.total]
                self._write()
            case RoundCompleted() | Measured() | Probed() | PeerDropped():
                self._is_new = True
                self._write()
            case _:
                pass

    def _write(self, at_once: bool = False) -> None:
        """Write rows and progress, unless that was done a moment ago."""
        begun = self._clock()
        if begun < self._due and not at_once:
            return
        if self._is_new and self._ended is None:
            self._try(self._rows.write)
        self._try(self._write_progress)
        self._is_new, now = False, self._clock()
        self._due = now + max(SECONDS, (now - begun) / SHARE)

    def _write_progress(self) -> None:
        if not self._folder.path.is_dir():  # of a run that was refused: nothing is left of it
            return
        self._folder.write_text(PROGRESS, to_json(self._content()))

    def _content(self) -> dict[str, Any]:
        state, ended = self._state, self._ended
        return {
            "status": "running" if ended is None else ended.status.value,
            "message": "" if ended is None else without_secrets(ended.message),
            "stage": self._stage.value,
            "probes_done": self._counted,
            "completed": state.completed,
            "total": self._config.run.rounds,
            "controls": {
                str(phase.control): each.completed for phase, each in state.trainings.items() if phase.control
            },
            "bytes": state.bytes_exchanged,
            "dropped": {
                str(peer): {"round": each.completed, "reason": each.reason} for peer, each in state.dropped.items()
            },
            "faults": [
                {"round": fault.completed, "what": without_secrets(fault.what), "seconds": fault.seconds}
                for fault in state.faults
            ],
            "probes": self._accuracies(),
            "probed": self._probes.peers,
            "at": time.time(),
            "started": self._started,
            **self._identity,
        }

    def _accuracies(self) -> dict[str, dict[str, list[float]]]:
        """By condition and probe, the accuracy of each probed peer, as far as they are known."""
        found: dict[str, dict[str, list[float]]] = {}
        for (probe, condition), correct in self._probes.correct.items():
            found.setdefault(condition.value, {})[probe] = correct.mean(axis=1).tolist()
        return found

    def _try(self, write: Callable[[], None]) -> None:
        """Write, or say once why that is not possible: the run itself does not need it."""
        try:
            write()
        except OSError as error:
            if not self._fails:
                why = error.strerror or str(error)
                self._tell(Note(f"the live page gets nothing new ({why}); the run goes on"))
            self._fails = True


def started_at(pid: int) -> str:
    """When a process of this machine began, to tell it from a later one with the same number; empty if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
