"""A run's folder: the resolved config, four tidy Parquet tables, the summary."""

import fcntl
import hashlib
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
from coordinator.experiment.reading import read_table, shown
from coordinator.experiment.redaction import has_secrets
from coordinator.experiment.renamed import renamed_in
from coordinator.planning.brought import NOT_ALONE

Row = dict[str, Any]
Changes = dict[str, dict[tuple[Any, ...], Row]]  # rows by table and key
MLFLOW_RUN = "mlflow_run"
UNREPORTED = ".unreported"  # exists while figures, page or MLflow run may be missing although numbers are written
LIVE = ".live"  # in `metrics`: rows since the last checkpoint, for readers of a running run
KEYS = {
    "rounds": ("round",),
    "peers": ("round", "peer"),
    "edges": ("round", "student", "teacher"),
    "pairs": ("round", "peer", "other"),
}


class RunFolder:
    """The folder `<output>/<name>-<time>/`, and in memory the rows of its tables."""

    def __init__(self, output: str | Path, name: str) -> None:
        self.path = _new_folder(Path(output), name)
        self._tables: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in KEYS}
        self._changes: list[Changes] = []
        self._unsaved = self.track()

    @classmethod
    def reopened(cls, path: Path) -> "RunFolder":
        """The existing folder of a run; its rows are not loaded yet."""
        folder = cls.__new__(cls)
        folder.path = path.resolve()  # resolve links, so that its name and parent are its own
        folder._tables, folder._changes = {name: {} for name in KEYS}, []
        folder._unsaved = folder.track()
        return folder

    @property
    def mlflow_run(self) -> str:
        """MLflow's id of the run; empty if there is none."""
        path = self.path / MLFLOW_RUN
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    @property
    def unreported(self) -> bool:
        """Whether figures, page or MLflow run may be missing although the run's numbers are written."""
        return (self.path / UNREPORTED).exists()

    def note_unreported(self) -> None:
        """Mark figures, page and MLflow run as possibly missing. Raises: OSError."""
        (self.path / UNREPORTED).touch()

    def note_reported(self) -> None:
        """Mark figures, page and MLflow run as complete."""
        (self.path / UNREPORTED).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder in a `with` block. Raises: ConfigError, if another process holds the lock."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            lock(handle, self.path)
            yield
        finally:
            os.close(handle)

    def load_tables(self, completed: int) -> bool:
        """Load the rows of rounds up to `completed`; returns whether none of these rounds is missing."""
        self._tables = {name: {} for name in KEYS}
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

    def save_rows(self) -> None:
        """Write the rows added or changed since the last call, so that they survive if the run is killed.

        On loading, later files win.
        """
        self._parts.mkdir(parents=True, exist_ok=True)
        number = len(list(self._parts.glob("rounds-*.parquet")))
        for name, rows in self._unsaved.items():
            new = self.rows("pairs") if name == "pairs" else list(rows.values())
            write_table(self._parts / f"{name}-{number:06d}.parquet", new, KEYS[name])
        for rows in self._unsaved.values():
            rows.clear()

    def track(self) -> Changes:
        """The rows that `record` adds or changes from now on, by table and key, until whoever asked clears them."""
        changes: Changes = {name: {} for name in KEYS}
        self._changes.append(changes)
        return changes

    @property
    def _parts(self) -> Path:
        return self.path / "metrics" / ".parts"

    def record(self, table: Literal["rounds", "peers", "edges"], key: Row, values: Row) -> None:
        """Add `values` to the row of `key` (round; round and peer; round and edge), which may be new."""
        place = tuple(key.values())
        row = self._tables[table].setdefault(place, dict(key))
        row.update(values)
        for changes in self._changes:
            changes[table][place] = row

    def replace(self, table: Literal["pairs"], rows: list[Row]) -> None:
        """Replace all rows of a table: `pairs` holds the last measured round only, with every pair of peers."""
        self._tables[table] = {tuple(row[name] for name in KEYS[table]): row for row in rows}

    def rows(self, table: Literal["rounds", "peers", "edges", "pairs"]) -> list[Row]:
        return list(self._tables[table].values())

    def write_text(self, name: str, text: str) -> Path:
        """Write a file atomically."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        return path

    def write_tables(self) -> list[Path]:
        """Write `metrics/{rounds,peers,edges,pairs}.parquet` and remove the files of `save_rows`."""
        written = []
        for name, rows in self._tables.items():
            path = self.path / "metrics" / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            write_table(path, list(rows.values()), KEYS[name])
            written.append(path)
        for folder in (self._parts, self.path / "metrics" / LIVE):
            shutil.rmtree(folder, ignore_errors=True)
        for rows in (rows for changes in self._changes for rows in changes.values()):
            rows.clear()  # they are all in the tables
        return written


def lock(handle: int, folder: Path) -> None:
    """Lock a folder until its descriptor `handle` is closed. Raises: ConfigError, if another process has the lock."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases the lock of a killed process
    except OSError:
        raise ConfigError(f"'{folder}' is being written by another process: wait for it, or end it") from None


def temporary_folder_prefix(folder: Path) -> str:
    """The prefix of the temporary folders in which an ablation's runs go on, different from any other ablation's."""
    folder = folder.resolve()
    return f"peer-consensus-{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}-"


def way_on(run: Path) -> str:
    """The advice to resume the run in a folder, with the command; from Python, if it was given objects from there."""
    try:
        alone = not (run / "config.toml").read_text(encoding="utf-8").startswith(NOT_ALONE)
    except OSError:  # as of a run that has not begun
        alone = True
    return f"go on with: peer-consensus resume {run}" if alone else f"go on from Python, as in {run}/config.toml"


def check_run(command: str, run: Path) -> None:
    """Raises: ConfigError, if `run` is not the folder of a run that this version can continue."""
    if not (run / "config.toml").is_file():
        raise ConfigError(
            f"{command}: '{run}' is no run's folder: it has no config.toml; name one such as runs/NAME-TIME"
        )
    if renamed_in(read_table(run / "config.toml")):
        raise ConfigError(
            f"{command}: '{run}' was written by an older version of peer-consensus, with other names of settings and "
            "another format of checkpoints: use that version, or start a new run"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically; if the text contains credentials, only the owner can read it."""
    with aside(path) as part:
        part.unlink(missing_ok=True)  # a leftover file would keep its mode
        with open(part, "x", encoding="utf-8", opener=_private if has_secrets(text) else None) as file:
            file.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_table(path: Path, rows: list[Row], keys: tuple[str, ...] = ()) -> None:
    """Write a Parquet file atomically. keys: see `to_arrow`."""
    with aside(path) as part:
        pq.write_table(to_arrow(rows, keys), part)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A temporary file that replaces `path` at the end of the `with` block; nothing is left of it if that fails."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def to_arrow(rows: list[Row], keys: tuple[str, ...] = ()) -> pa.Table:
    """Convert rows to a table with a column for every name in any row, in order of appearance; missing values are null.

    keys: integer columns, which exist even if there are no rows.
    """
    names = list(dict.fromkeys([*keys, *(name for row in rows for name in row)]))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pa.table({name: pa.array(column, pa.int64() if name in keys else None) for name, column in columns.items()})


def to_json(values: Any) -> str:
    """Serialise as JSON, with null for numbers that are not finite."""
    return json.dumps(_plain(values), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_output(output: str | Path) -> None:
    """Check before the peers are started that a run's folder can be created, without creating anything.

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
        nearest = next(folder for folder in (path, *path.parents) if folder.exists() or folder.is_symlink())
    except OSError as error:  # such as a name that is too long
        raise ConfigError(
            f"--output: {shown(str(output))} cannot be a folder ({error.strerror}): choose another"
        ) from None
    if nearest.is_symlink() and not nearest.exists():
        raise ConfigError(
            f"--output: '{output}' is or lies behind a link that leads nowhere ('{nearest}'): choose another"
        )
    if not nearest.is_dir():
        raise ConfigError(f"--output: '{output}' is a file or lies in one: name a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"--output: cannot make a folder in '{output}': no permission to write in '{nearest}'")


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
