"""The document of a folder of runs, or of an ablation: a line for each run, read bit by bit where there are many."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from coordinator.documents.headline import verdicts_of
from coordinator.documents.readers.numbers import shortened
from coordinator.documents.readers.run_rows import floats, whole_numbers
from coordinator.documents.readers.status_files import (
    CONFIG,
    PROGRESS,
    RUNNING,
    SUMMARY,
    JsonFile,
    results_of,
    status_of,
    tolerantly,
)
from coordinator.documents.readers.table_files import TableFiles
from coordinator.measures.declared import Measure, Shown, shown_in
from coordinator.measures.units import FRACTION
from coordinator.records.files.run_folder import temporary_folder_prefix

FORMAT = 1
MOST = 2_000  # runs in a list, the newest ones
POINTS = 60  # of a sparkline
ABLATION = "ablation.toml"
CURVES = shown_in(Shown.CURVE)
Document = dict[str, Any]


class RunList:
    """Makes the list of a folder again and again; what was read of a run is read again only if it has changed.

    token_of: the opaque name of a run's folder in addresses. seconds: time for what is new at each call; the rest of
    it comes with the next calls, the newest runs first.
    """

    def __init__(self, folder: Path, token_of: Callable[[Path], str], seconds: float = 1.0) -> None:
        self._folder, self._token_of, self._seconds = folder, token_of, seconds
        self._summary = JsonFile(folder / SUMMARY)  # of an ablation
        self._entries: dict[Path, _Entry] = {}
        self._document: Document | None = None

    def read(self) -> Document:
        """The document as of now: the same object as before if nothing has changed."""
        until = time.monotonic() + self._seconds
        found = {path: self._entries.get(path) or _Entry(path, self._token_of(path)) for path in self._paths()}
        newest = sorted(found.values(), key=lambda entry: entry.order(), reverse=True)[:MOST]
        changed = self._document is None or {entry.path for entry in newest} != self._entries.keys()
        changed |= self._summary.read()
        self._entries = {entry.path: entry for entry in newest}
        for entry in newest:
            if time.monotonic() > until:
                break  # those that are left have their names only, or are as they were
            changed |= entry.read()
        if changed or self._document is None:
            self._document = {
                "format": FORMAT,
                "kind": "list",
                "name": self._folder.name,
                "title": self._folder.name,
                "headline": self._headline(),
                "runs": [entry.row for entry in sorted(newest, key=_Entry.place, reverse=True)],
            }
        return self._document

    def _headline(self) -> list[str]:
        """What an ablation comes to, in sentences; none of a folder of runs."""
        found = self._summary.content.get("headline") if (self._folder / ABLATION).is_file() else None
        return [str(line) for line in found] if isinstance(found, list) else []

    def _paths(self) -> Iterator[Path]:
        if (self._folder / ABLATION).is_file():
            for cell in _folders(self._folder / "cells"):
                yield from (path for path in _folders(cell) if path in self._entries or (path / CONFIG).is_file())
            yield from _going_on(self._folder)
            return
        for path in _folders(self._folder):
            if path in self._entries or (path / CONFIG).is_file() or (path / ABLATION).is_file():
                yield path


class _Entry:
    """The line of one run, or of one ablation."""

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self._is_ablation = (path / ABLATION).is_file()
        self._progress, self._summary = JsonFile(path / PROGRESS), JsonFile(path / SUMMARY)
        self._files = TableFiles(path)
        self._began = self._begin()
        self._is_still = False  # whether nothing changes but together with its progress or summary
        self._curves: dict[str, dict[int, float]] = {measure.name: {} for measure in CURVES}
        self.row: dict[str, Any] = {
            "id": token,
            "name": path.name,
            "kind": "ablation" if self._is_ablation else "run",
            "status": "unknown",
            "completed": 0,
            "total": 0,
            "headline": [],
            "sparklines": [],
            "at": None,
        }

    def place(self) -> tuple[bool, float, str]:
        """In the list: what goes on first, then the youngest; so a line stays in place while its run goes on."""
        return self.row["status"] == RUNNING, self._began, self.path.name

    def _begin(self) -> float:
        try:
            return os.stat(self.path / (ABLATION if self._is_ablation else CONFIG)).st_mtime
        except OSError:
            return 0.0

    def order(self) -> tuple[float, str]:
        """By the time of the last change of its summary or progress, else of its folder."""
        for name in (PROGRESS, SUMMARY, ""):
            try:
                return os.stat(self.path / name).st_mtime, self.path.name
            except OSError:
                continue
        return 0.0, self.path.name

    def read(self) -> bool:
        """Read what is new; returns whether the line has changed. A line is never changed, but replaced."""
        new = [self._progress.read(), self._summary.read()]
        if self._is_still and not any(new):
            return False
        found = tolerantly(self._of_ablation if self._is_ablation else self._of_run, [self._progress, self._summary])
        row = {**self.row, **found}
        self._is_still = not self._is_ablation and row["status"] != RUNNING
        if row == self.row:
            return False
        self.row = row
        return True

    def _of_run(self) -> dict[str, Any]:
        progress, summary = self._progress.content, self._summary.content
        status, message = status_of(progress, summary)
        results = results_of(status, summary)
        if self._files.is_afresh():
            self._files = TableFiles(self.path)
        self._files.read(("rounds",), self._take, ("round", *self._curves))
        asked = summary.get("config", {}).get("run", {}) if isinstance(summary.get("config"), dict) else {}
        lines = verdicts_of(results)
        return {
            "name": str(asked.get("name", self.path.name)) if self.path.name.startswith("seed-") else self.path.name,
            "status": status,
            "completed": _count(results.get("rounds"), progress.get("completed")),
            "total": _count(progress.get("total"), asked.get("rounds"), results.get("rounds")),
            "headline": [line.text for line in lines]
            or [text for text in (message, self._progress.damaged, self._summary.damaged) if text],
            "tones": [str(line.tone) for line in lines],
            "sparklines": [
                _sparkline(measure, self._curves[measure.name])
                for measure in CURVES
                if len(self._curves[measure.name]) > 1
            ],
            "at": at if isinstance(at := progress.get("at"), int | float) else self._modified(),
        }

    def _of_ablation(self) -> dict[str, Any]:
        summary = self._summary.content
        done = sum((path / SUMMARY).is_file() for cell in _folders(self.path / "cells") for path in _folders(cell))
        headline = summary.get("headline")
        running = _is_locked(self.path / ".lock")
        return {
            "status": RUNNING if running else "finished" if summary else "interrupted",
            "completed": done,
            "total": _count(self._progress.content.get("runs"), done),
            "headline": [str(line) for line in headline] if isinstance(headline, list) else [],
            "at": self._modified(),
        }

    def _modified(self) -> float:
        return round(self.order()[0], 1)

    def _take(self, table: str, rows: pa.Table) -> None:
        numbers = whole_numbers(rows, "round").tolist()
        for name, curve in self._curves.items():
            if name in rows.column_names:
                values = zip(numbers, floats(rows, name).tolist(), strict=True)
                curve.update((number, value) for number, value in values if value == value)


def _sparkline(measure: Measure[Any], curve: dict[int, float]) -> Document:
    """Some of the curve's values in the order of its rounds, with the last one; shares are in percent."""
    rounds, is_share = sorted(curve), measure.unit == FRACTION
    stride, factor = -(-len(rounds) // POINTS), 100.0 if is_share else 1.0
    kept = sorted({*rounds[::stride], rounds[-1]})
    return {
        "title": f"{measure.title} (%)" if is_share else measure.title,
        "y": [shortened(factor * curve[number]) for number in kept],
    }


def _count(*values: Any) -> int:
    """The first that is a count."""
    return next((value for value in values if isinstance(value, int) and value >= 0), 0)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _going_on(ablation: Path) -> Iterator[Path]:
    """The folders of an ablation's runs that go on, on this machine: they come into its own folder at their end."""
    prefix = temporary_folder_prefix(ablation)
    for aside in _folders(Path(tempfile.gettempdir())):
        if aside.name.startswith(prefix):
            yield from (path for path in _folders(aside) if (path / CONFIG).is_file())


def _is_locked(path: Path) -> bool:
    """Whether a process has a lock on a file, by the kernel's list: to try the lock would keep others from it."""
    try:
        status = os.stat(path)
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        return f" {device} " in Path("/proc/locks").read_text()
    except OSError:
        return False
