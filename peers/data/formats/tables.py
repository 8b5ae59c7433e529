"""Opens Parquet files, Arrow files and tables in memory alike, and reports any problem with them in one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

Source = Any
"""A Path of a Parquet or Arrow file (.feather too, and streams as Hugging Face's `datasets` writes), or a pa.Table."""

_ARROW_FILE, _ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"  # how these begin
_BATCH_ROWS = 512


def shown(source: Source) -> str:
    """What an error message calls the source."""
    return f"'{source}'" if isinstance(source, Path) else "the table"


def num_rows(sources: Sequence[Source]) -> int:
    """The number of rows of all `sources`. Raises: ValueError, if one cannot be read."""
    return sum(OpenTable(source).num_rows for source in sources)


class OpenTable:
    """A source of columns whose rows are read when they are asked for; Arrow files are mapped into memory."""

    def __init__(self, source: Source) -> None:
        """Open it. Raises: ValueError, if it is no table."""
        self.source = source
        self._parquet: Any = None
        self._open_arrow: Any = None
        with readable(source):
            self.schema: Any = self._open(source) if isinstance(source, Path) else source.schema

    def _open(self, path: Path) -> Any:
        """Find the file's format by its first bytes; returns its schema."""
        with path.open("rb") as file:
            start = file.read(len(_ARROW_FILE))
        if start == _ARROW_FILE or start[:4] == _ARROW_STREAM:
            self._open_arrow = pa.ipc.open_file if start == _ARROW_FILE else pa.ipc.open_stream
            with pa.memory_map(str(path)) as mapped:
                return self._open_arrow(mapped).schema
        self._parquet = pq.ParquetFile(path)
        return self._parquet.schema_arrow

    @property
    def num_rows(self) -> int:
        """Raises: ValueError, if the file is damaged."""
        if self._parquet:
            return int(self._parquet.metadata.num_rows)
        with readable(self.source):
            return len(self._read_arrow(0)) if self._open_arrow else int(self.source.num_rows)

    def column(self, name: str) -> Any:
        """The whole column as a ChunkedArray. Raises: ValueError, if it is damaged, or if two have this name."""
        with readable(self.source):
            if self._parquet:
                return self._parquet.read(columns=[name]).column(name)
            if not self._open_arrow:
                return self.source.column(name)
            if len(self.schema.get_all_field_indices(name)) > 1:
                raise KeyError(f"two columns '{name}'")
            column = self._read_arrow(self.schema.get_field_index(name)).column(0)
            column.validate(full=True)  # else damaged offsets would be read from outside the file
            return column

    def parts(self, name: str, rows: Any) -> Iterator[tuple[int, Any]]:
        """(number of its first row, values) of parts of a column, in order: all those with any of the ascending `rows`.

        Raises: ValueError, as `column` does.
        """
        if self._parquet:
            yield from self._parquet_parts(name, rows)
            return
        first = 0
        for chunk in self.column(name).chunks:
            if _any_within(rows, first, first + len(chunk)):
                yield first, chunk
            first += len(chunk)

    def _parquet_parts(self, name: str, rows: Any) -> Iterator[tuple[int, Any]]:
        """Row groups without any of the rows are not read."""
        first = 0
        for group in range(self._parquet.num_row_groups):
            end = first + self._parquet.metadata.row_group(group).num_rows
            if _any_within(rows, first, end):
                batches = self._parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[name])
                while first < end and (batch := self._next(batches)) is not None:
                    yield first, batch.column(0)
                    first += len(batch)
            first = end

    def _next(self, batches: Iterator[Any]) -> Any:
        with readable(self.source):
            return next(batches, None)

    def _read_arrow(self, column: int) -> Any:
        """A table of one column of an Arrow file."""
        options = pa.ipc.IpcReadOptions(included_fields=[column])
        with self._open_arrow(pa.memory_map(str(self.source)), options=options) as reader:
            return reader.read_all()


def open_table(source: Source, column: str, field: str) -> OpenTable:
    """Open a source and check that it has `column`, which the config's `field` names.

    Raises: ValueError, if it is no table or has no such column.
    """
    table = OpenTable(source)
    columns = table.schema.names
    if column not in columns:
        known = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
        raise ValueError(f"{field}: no column '{column}' in {shown(source)}; set it to one of {known}")
    return table


def within(rows: Any, first: int, end: int) -> Any:
    """Those of the ascending `rows` that are from `first` on and before `end`."""
    low, high = rows.searchsorted([first, end])
    return rows[low:high]


def _any_within(rows: Any, first: int, end: int) -> bool:
    return len(within(rows, first, end)) > 0


@contextmanager
def readable(source: Source) -> Iterator[None]:
    """Turn any error of reading a source (damaged pages, duplicate columns, ...) into a one-line ValueError."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, OverflowError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        if not isinstance(source, Path):
            raise ValueError(f"data.path: the table cannot be read ({reason}); build it again") from error
        kind = "Arrow" if source.suffix.lower() in (".arrow", ".feather", ".ipc") else "Parquet"
        raise ValueError(f"data.path: '{source}' is not a readable {kind} file ({reason}); export it again") from error
