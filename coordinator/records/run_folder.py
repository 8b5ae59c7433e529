"""A run's folder: the resolved config, four tidy Parquet tables, the summary."""

import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coordinator.experiment.config import ConfigError
from coordinator.experiment.reading import shown
from coordinator.experiment.redaction import has_secrets

Row = dict[str, Any]
MLFLOW_RUN = "mlflow_run"
UNREPORTED = ".unreported"  # there while a run's numbers are written and its figures, page and MLflow run may not be
KEYS = {
    "rounds": ("round",),
    "peers": ("round", "peer"),
    "edges": ("round", "student", "teacher"),
    "pairs": ("round", "peer", "other"),
}


class RunFolder:
    """`<output>/<name>-<time>/`, and the rows of its tables until they are written."""

    def __init__(self, output: str | Path, name: str) -> None:
        self.path = _new_folder(Path(output), name)
        self._tables: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in KEYS}
        self._saved = -1  # up to which round `save_rows` has written

    @classmethod
    def reopened(cls, path: Path) -> "RunFolder":
        """The folder of a run that was there before, still without rows."""
        folder = cls.__new__(cls)
        folder.path = path.resolve()  # however it was reached, its name and its neighbours are the same
        folder._tables, folder._saved = {name: {} for name in KEYS}, -1
        return folder

    @property
    def mlflow_run(self) -> str:
        """MLflow's name of the run, if it has one."""
        path = self.path / MLFLOW_RUN
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    @property
    def unreported(self) -> bool:
        """Whether the run's numbers are written, but not all that is made of them."""
        return (self.path / UNREPORTED).exists()

    def note_unreported(self) -> None:
        """From now on the numbers may be all that there is. Raises: OSError."""
        (self.path / UNREPORTED).touch()

    def note_reported(self) -> None:
        """All that is made of the numbers is there."""
        (self.path / UNREPORTED).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process at a time. Raises: ConfigError, if another one writes here."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            lock(handle, self.path)
            yield
        finally:
            os.close(handle)

    def load_tables(self, completed: int) -> bool:
        """Take up the rows of the rounds up to `completed`; whether all of these are there."""
        self._tables = {name: {} for name in KEYS}
        self._saved = completed
        if completed < 0:
            return True
        try:
            for name, keys in KEYS.items():
                whole = self.path / "metrics" / f"{name}.parquet"
                for path in filter(Path.is_file, [whole, *sorted(self._parts.glob(f"{name}-*.parquet"))]):
                    rows = (row for row in pq.read_table(path).to_pylist() if row["round"] <= completed)
                    found = {tuple(row[key] for key in keys): row for row in rows}
                    self._tables[name] = found if name == "pairs" else self._tables[name] | found
        except (OSError, pa.ArrowException, KeyError):
            return False
        return [key for (key,) in self._tables["rounds"]] == list(range(completed + 1))

    def save_rows(self, completed: int) -> None:
        """Write the rows that have come since the last time, for a run that may end without `write_tables`.

        The last round is written again: what is probed at the end comes late. What is read later counts.
        """
        self._parts.mkdir(parents=True, exist_ok=True)
        number = len(list(self._parts.glob("rounds-*.parquet")))
        for name, rows in self._tables.items():
            new = [row for row in rows.values() if name == "pairs" or self._saved <= row["round"] <= completed]
            write_table(self._parts / f"{name}-{number:06d}.parquet", new, KEYS[name])
        self._saved = completed

    @property
    def _parts(self) -> Path:
        return self.path / "metrics" / ".parts"

    def record(self, table: Literal["rounds", "peers", "edges"], key: Row, values: Row) -> None:
        """Add `values` to the row of `key` (round; round and peer; round and edge), which may be new."""
        self._tables[table].setdefault(tuple(key.values()), dict(key)).update(values)

    def replace(self, table: Literal["pairs"], rows: list[Row]) -> None:
        """Make these the table's only rows: it holds the last measured round alone, every pair of peers in it."""
        self._tables[table] = {tuple(row[name] for name in KEYS[table]): row for row in rows}

    def rows(self, table: Literal["rounds", "peers", "edges", "pairs"]) -> list[Row]:
        return list(self._tables[table].values())

    def write_text(self, name: str, text: str) -> Path:
        """Write a file in one step: it is there whole or not at all."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        return path

    def write_tables(self) -> list[Path]:
        """Write `metrics/{rounds,peers,edges,pairs}.parquet` anew."""
        written = []
        for name, rows in self._tables.items():
            path = self.path / "metrics" / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            write_table(path, list(rows.values()), KEYS[name])
            written.append(path)
        shutil.rmtree(self._parts, ignore_errors=True)
        return written


def lock(handle: int, folder: Path) -> None:
    """Hold what is open as `handle` until it is closed. Raises: ConfigError, if another process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a killed process leaves none
    except OSError:
        raise ConfigError(f"'{folder}' is being written by another process: wait for it, or end it") from None


def way_on(run: Path) -> str:
    """What to type to go on with the run in a folder."""
    return f"go on with: peer-consensus resume {run}"


def check_run(command: str, run: Path) -> None:
    """Raises: ConfigError, if a folder is no run's."""
    if not (run / "config.toml").is_file():
        raise ConfigError(
            f"{command}: '{run}' is no run's folder: it has no config.toml; name one such as runs/NAME-TIME"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: it is there whole or not at all; where it holds a password, for its owner alone."""
    with _aside(path) as aside:
        aside.unlink(missing_ok=True)  # one that was left keeps its mode
        with open(aside, "x", encoding="utf-8", opener=_private if has_secrets(text) else None) as file:
            file.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_table(path: Path, rows: list[Row], keys: tuple[str, ...] = ()) -> None:
    """Write a Parquet file in one step; `keys` as for `to_arrow`."""
    with _aside(path) as aside:
        pq.write_table(to_arrow(rows, keys), aside)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A file to write to that takes the place of `path` at the end."""
    aside = path.with_name(f".{path.name}.part")
    yield aside
    os.replace(aside, path)


def to_arrow(rows: list[Row], keys: tuple[str, ...] = ()) -> pa.Table:
    """One column per key that any row has, in the order of appearance; what a row lacks is null.

    The columns of `keys`, whole numbers, are there even where there is no row.
    """
    names = list(dict.fromkeys([*keys, *(name for row in rows for name in row)]))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table({name: pa.array(column, pa.int64() if name in keys else None) for name, column in columns.items()})


def to_json(values: Any) -> str:
    """JSON with null for what is not a finite number."""
    return json.dumps(_plain(values), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_output(output: str | Path) -> None:
    """Find out before the peers are started, and without leaving a trace, that a run's folder can be made.

    Raises: ConfigError.
    """
    path = Path(output).absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"--output: {shown(str(path))} is not UTF-8, which the MLflow store needs: choose another"
        ) from None
    try:
        there = next(each for each in (path, *path.parents) if each.exists() or each.is_symlink())
    except OSError as error:  # such as a name that is too long
        raise ConfigError(
            f"--output: {shown(str(output))} cannot be a folder ({error.strerror}): choose another"
        ) from None
    if there.is_symlink() and not there.exists():
        raise ConfigError(
            f"--output: '{output}' is or lies behind a link that leads nowhere ('{there}'): choose another"
        )
    if not there.is_dir():
        raise ConfigError(f"--output: '{output}' is a file or lies in one: name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--output: cannot make a folder in '{output}': no permission to write in '{there}'")


def _new_folder(output: Path, name: str) -> Path:
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for attempt in range(1000):
        path = output.absolute() / (f"{stem}-{attempt}" if attempt else stem)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"--output: cannot make a folder in '{output}': {error.strerror}") from None
        else:
            return path
    raise AssertionError(f"a thousand runs named {stem}")
