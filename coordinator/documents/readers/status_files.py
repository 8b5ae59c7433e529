"""How a run stands, by its config, `.progress.json` and `summary.json`; and whether its process is alive."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from coordinator.documents.readers.table_files import Identity, opened
from coordinator.experiment.config import ConfigError, RunConfig, config_from
from coordinator.experiment.reading import from_json, read_table
from coordinator.records.files.progress import PROGRESS as PROGRESS

SUMMARY, CONFIG = "summary.json", "config.toml"
MOST_BYTES = 64 * 2**20  # of a file that is read whole
MOST = 1e300  # of a number in it: what is computed with such numbers stays finite
UNLIKE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)  # raised by what no run writes
Result = TypeVar("Result")
SILENCE = 600.0  # seconds without a sign of life after which a run on another host counts as lost
RUNNING, LOST, UNKNOWN = "running", "lost", "unknown"


class JsonFile:
    """A file of JSON that is read again only if it has changed. damaged: why it cannot be read; "" if it can."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: Identity | None = None
        self._content: dict[str, Any] = {}
        self._damage, self.aside = "", ""

    @property
    def content(self) -> dict[str, Any]:
        """The table in the file; {} if there is none, or it is set aside: `aside` then says why, until it changes."""
        return {} if self.aside else self._content

    @property
    def damaged(self) -> str:
        why = self._damage or self.aside
        return f"{self._path.name} cannot be read ({why})" if why else ""

    def read(self) -> bool:
        """Read it again if it has changed; returns whether it has."""
        try:
            identity = Identity.of(os.stat(self._path))
            if identity == self._identity:
                return False
            with opened(self._path) as file:
                identity, text = Identity.of(os.fstat(file.fileno())), file.read(MOST_BYTES + 1)
        except OSError as error:
            before, self._identity, self._content, self.aside = (self._identity, self._damage), None, {}, ""
            self._damage = "" if isinstance(error, FileNotFoundError) else error.strerror or ""
            return before != (None, self._damage)
        self._identity, self._content, self._damage, self.aside = identity, {}, "", ""
        try:
            content = from_json(text)
            if not isinstance(content, dict):
                raise ValueError("it holds no table")
            if not _is_finite(content):
                raise ValueError("it holds numbers that are not finite")
            self._content = content
        except ValueError as error:
            self._damage = str(error)
        return True


def tolerantly(make: Callable[[], Result], files: Sequence[JsonFile]) -> Result:
    """What `make` returns; if the content of a file is not such as a run writes, then without it, and it is named."""
    try:
        return make()
    except UNLIKE as error:
        why = f"it holds what no run writes: {type(error).__name__}"
    for some in (*([file] for file in files), files):
        for file in some:
            file.aside = why
        try:
            return make()
        except UNLIKE:
            if some is files:
                raise
        for file in some:
            file.aside = ""
    raise AssertionError("the last try returns or raises")


def _is_finite(value: Any) -> bool:
    """Whether one can compute with all numbers in a value of JSON."""
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int | float) or abs(value) <= MOST  # false for nan


class ConfigFile:
    """`config.toml` of a run, read again only if it has changed. config: None if it is missing or damaged."""

    def __init__(self, run: Path) -> None:
        self._path = run / CONFIG
        self._identity: Identity | None = None
        self.config: RunConfig | None = None
        self.damaged = ""

    def read(self) -> bool:
        """Read it again if it has changed; returns whether it has."""
        try:
            identity = Identity.of(os.stat(self._path))
        except OSError:
            changed, self._identity, self.config = self._identity is not None, None, None
            self.damaged = f"{CONFIG} is missing"
            return changed
        if identity == self._identity:
            return False
        self._identity, self.damaged = identity, ""
        try:
            self.config = config_from(read_table(self._path))
        except ConfigError as error:
            self.config, self.damaged = None, f"{CONFIG} cannot be read ({str(error).splitlines()[0][:200]})"
        return True


def status_of(
    progress: dict[str, Any], summary: dict[str, Any], now: Callable[[], float] = time.time
) -> tuple[str, str]:
    """The status of a run and a message: as in `summary.json`, or `running`, `lost`, `unknown`.

    A summary beside the progress of a living process is that of an earlier end of the run.
    """
    if progress.get("status") == RUNNING:
        if is_alive(progress, now):
            return RUNNING, str(progress.get("message", ""))
        if not summary.get("status") or summary.get("rounds") != progress.get("completed"):
            return LOST, f"no sign of life since {_at(progress.get('at'), now)}"
    for source in (progress, summary):
        if source.get("status") and source.get("status") != RUNNING:
            return str(source["status"]), str(source.get("message") or "")
    return UNKNOWN, "neither a summary nor progress is in the folder: the run was killed, or is of an older version"


def results_of(status: str, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of the run as it is now; {} if it goes on or was lost: then there is none, or an earlier end's."""
    return summary if status not in (RUNNING, LOST) else {}


def is_alive(progress: dict[str, Any], now: Callable[[], float] = time.time) -> bool:
    """Whether the process that wrote the progress is there; of another host, whether it wrote a while ago."""
    if progress.get("host") != socket.gethostname():
        at = progress.get("at")
        return isinstance(at, int | float) and now() - at < SILENCE
    try:
        pid = int(progress["pid"])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] not in "ZX" and fields[19] == progress.get("pid_started", fields[19])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return False
    except OSError:
        return _answers(pid) if not Path("/proc/self/stat").exists() else False


def _answers(pid: int) -> bool:
    """Whether there is a process of this number, on a system without /proc."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _at(seconds: Any, now: Callable[[], float]) -> str:
    """A time of today as 14:03, of another day with its date."""
    if not isinstance(seconds, int | float):
        return "its start"
    try:
        then = time.localtime(seconds)
    except (OSError, OverflowError, ValueError):  # there is no such year
        return "its start"
    return time.strftime("%H:%M" if then[:3] == time.localtime(now())[:3] else "%Y-%m-%d %H:%M", then)
