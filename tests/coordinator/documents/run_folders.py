"""Folders of runs as they are while a run goes on: made of the tables of a finished one, step by step."""

import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.records.files.progress import PROGRESS, started_at
from coordinator.records.files.run_folder import KEYS, write_table

TABLES = ("rounds", "peers", "edges")


def finished_run(output: Path, rounds: int, peers: int = 3, name: str = "run", probe_every: int = 0) -> Path:
    """The folder of a small run without figures, control runs and MLflow."""
    table = {
        "run": {"rounds": rounds, "name": name},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"count": peers, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "ring"},
        "evaluation": {
            "every": 2,
            "probe_every": probe_every,
            "probe_batch": 20,
            "probes": ["knn"],
            "controls": [],
        },
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordinator.figures.run.save", lambda *_: None)
        return simulate(load_config(table), output).folder


class Staged:
    """A folder that goes through the states of the run in `source`: rows in live files, in parts, in the end all."""

    def __init__(self, source: Path, target: Path, running: bool = True) -> None:
        self.source, self.path = source, target
        target.mkdir(parents=True)
        shutil.copy(source / "config.toml", target)
        self._rows = {name: pq.read_table(source / "metrics" / f"{name}.parquet").to_pylist() for name in TABLES}
        self._saved, self._live_from, self._number, self._parts = -1, -1, 0, 0
        self.completed = -1
        self._alive = running

    def live(self, completed: int, anew: bool = False) -> None:
        """Rows up to round `completed` in the newest live file, or in another one from now on."""
        if anew:
            self._number, self._live_from = self._number + 1, self.completed
        self.completed = max(completed, self.completed)
        self._write(".live", self._number, self._live_from, self.completed)
        self.progress()

    def checkpoint(self) -> None:
        """What was live is in the next parts; the live files go."""
        self._write(".parts", self._parts, self._saved, self.completed)
        self._parts, self._saved, self._live_from = self._parts + 1, self.completed, self.completed
        shutil.rmtree(self.path / "metrics" / ".live", ignore_errors=True)
        self._number += 1

    def end(self) -> None:
        """The tables of the whole run, and its summary, as `RunFolder.write_tables` leaves them."""
        (self.path / "metrics").mkdir(exist_ok=True)
        for name in TABLES:
            shutil.copy(self.source / "metrics" / f"{name}.parquet", self.path / "metrics")
        shutil.copy(self.source / "summary.json", self.path)
        for folder in (".live", ".parts"):
            shutil.rmtree(self.path / "metrics" / folder, ignore_errors=True)
        self.completed = max(row["round"] for row in self._rows["rounds"])
        known = json.loads((self.source / PROGRESS).read_text())
        self.progress("finished", "report", probes=known["probes"], bytes=known["bytes"])

    def progress(self, status: str = "running", stage: str = "rounds", **values: Any) -> None:
        known = {
            "status": status,
            "stage": stage,
            "message": "",
            "completed": max(self.completed, 0),
            "total": max(row["round"] for row in self._rows["rounds"]),
            "at": 1_790_000_000.0 + self.completed,
            "started": 1_790_000_000.0,
            "host": socket.gethostname(),
            "pid": os.getpid() if self._alive else 2**22 + 1,
            "pid_started": started_at(os.getpid()),
            "probes": {},
            **values,
        }
        aside = self.path / f".{PROGRESS}.part"
        aside.write_text(json.dumps(known))
        os.replace(aside, self.path / PROGRESS)

    def _write(self, folder: str, number: int, after: int, until: int) -> None:
        place = self.path / "metrics" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            rows = [row for row in self._rows[name] if after < row["round"] <= until]
            if rows:
                write_table(place / f"{name}-{number:06d}.parquet", rows, KEYS[name])


def progress_of(process: int, started: str, host: str = "", at: float | None = None) -> dict[str, Any]:
    """What a running process has written of itself."""
    here = host or socket.gethostname()
    return {"status": "running", "host": here, "pid": process, "pid_started": started, "at": at or time.time()}


def damaged(table: Path) -> None:
    """Cuts a Parquet file in half."""
    content = table.read_bytes()
    table.write_bytes(content[: len(content) // 2])


def rows_of(run: Path, table: str) -> list[dict[str, Any]]:
    found: pa.Table = pq.read_table(run / "metrics" / f"{table}.parquet")
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows
