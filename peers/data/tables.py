"""Opens Parquet files, and reports any problem with them in one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def num_rows(files: Sequence[Path]) -> int:
    """The number of rows of all `files`. Raises: ValueError, if one is not Parquet."""
    total = 0
    for file in files:
        with readable(file):
            total += pq.read_metadata(file).num_rows
    return total


def open_table(file: Path, column: str, field: str) -> Any:
    """Open a file and check that it has `column`, which the config's `field` names.

    Raises: ValueError, if it is not Parquet or has no such column.
    """
    with readable(file):
        parquet = pq.ParquetFile(file)
    columns = parquet.schema_arrow.names
    if column not in columns:
        raise ValueError(f"{field}: no column '{column}' in '{file}'; set it to one of {', '.join(columns)}")
    return parquet


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn any error of reading the file (damaged pages, duplicate columns, ...) into a one-line ValueError."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, OverflowError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(f"data.path: '{file}' is not a readable Parquet file ({reason}); export it again") from error
