"""The Parquet files of a run's tables, while the run goes on and after it: what is new in them is read once."""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from coordinator.records.files.run_folder import LIVE

FOLDERS = (LIVE, ".parts", "")  # in `metrics`, in the order in which rows move from one to the next
LONG = ("events",)  # tables that may not fit in memory, written once: they are read piece by piece
ATTEMPTS = 5  # times that the folder is looked through while its files are moved


class Identity(NamedTuple):
    """What tells two versions of a file apart, without reading them."""

    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


def opened(path: Path) -> BinaryIO:
    """A file to read from. Raises: OSError, also for a pipe or a device, which may keep the reader waiting for ever."""
    if stat.S_ISREG(path.stat().st_mode):
        return path.open("rb")
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


class TableFiles:
    """The files `metrics/<table>.parquet`, `.parts/<table>-*.parquet` and `.live/<table>-*.parquet` of a run.

    Each file is whole, and replaced at once if it changes. A row of a later one takes the place of one with the same
    key: the files of checkpoints go before the live ones. damaged: names of files that cannot be read.
    """

    def __init__(self, run: Path) -> None:
        self._metrics = run / "metrics"
        self._read: dict[str, Identity] = {}
        self.damaged: dict[str, str] = {}

    def is_afresh(self) -> bool:
        """Whether a final table is another one than what was read, so that all has to be read again."""
        found = self._scan()
        return any(
            name in found and found[name] != identity for name, identity in self._read.items() if "/" not in name
        )

    def read(self, tables: Collection[str], take: Callable[[str, pa.Table], None], columns: Collection[str]) -> bool:
        """Give every table that is new or has changed to `take`, with those of the columns that it has.

        Returns whether there was any. Files that vanish meanwhile have become others: the folder is looked through
        again.
        """
        some = False
        for _ in range(ATTEMPTS):
            gone = False
            for name in self._ordered(tables):
                try:
                    some |= self._take(name, take, columns)
                except FileNotFoundError:
                    gone = True
                except OSError as error:
                    some |= self.damaged.get(name) != error.strerror
                    self.damaged[name] = error.strerror or ""
            if not gone:
                break
        return some

    def _take(self, name: str, take: Callable[[str, pa.Table], None], columns: Collection[str]) -> bool:
        with opened(self._metrics / name) as file:
            identity = Identity.of(os.fstat(file.fileno()))
            if self._read.get(name) == identity:
                return False
            self.damaged.pop(name, None)
            try:
                content = pq.ParquetFile(file)
                known = [column for column in content.schema_arrow.names if column in columns]
                for piece in _pieces(content, known, _table_of(name) in LONG):
                    take(_table_of(name), piece)
            except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
                self.damaged[name] = str(error).partition("\n")[0][:160]
            self._read[name] = identity
        return True

    def _ordered(self, tables: Collection[str]) -> list[str]:
        """The names of new and changed files: table by table, and in each the final one, checkpoints' and live ones."""
        names = [name for name, identity in self._scan().items() if self._read.get(name) != identity]
        places = list(tables)
        return sorted(
            (name for name in names if _table_of(name) in places),
            key=lambda name: (places.index(_table_of(name)), -FOLDERS.index(name.rpartition("/")[0]), name),
        )

    def _scan(self) -> dict[str, Identity]:
        """All files by name below `metrics`; those whose rows move on are listed first, so that no row is missed."""
        return {
            f"{folder}/{name}" if folder else name: identity
            for folder in FOLDERS
            for name, identity in _parquet_in(self._metrics / folder)
        }


def _parquet_in(folder: Path) -> Iterator[tuple[str, Identity]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".parquet") and not entry.name.startswith("."):
                    with suppress(OSError):
                        yield entry.name, Identity.of(entry.stat())
    except OSError:  # there is no such folder, or it is being removed
        return


def _pieces(content: pq.ParquetFile, columns: list[str], is_long: bool) -> Iterator[pa.Table]:
    if not is_long:
        yield content.read(columns=columns)
        return
    for batch in content.iter_batches(columns=columns):
        yield pa.Table.from_batches([batch])


def _table_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".parquet").partition("-")[0]
