"""Reads the tables that users bring, CSV or Parquet: devices, and intervals in which peers are online.

Never a pickle. FedScale's device and availability rows are taken under their own names. Mistakes name the row.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from topologies.worlds.section import LONGEST_ABSENCE, LONGEST_STEP, SLOWEST_LINK, shortened

MAX_BYTES = 256 * 2**20
KILOBIT = 125.0  # bytes
Numbers = Float[np.ndarray, " rows"]
Intervals = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rows:
    """A table. where: the setting and the file's name. cells: by column.

    named: whether its first line names the columns. One of numbers only does not: then columns are "0", "1", and so on.
    """

    where: str
    cells: dict[str, list[object]]
    named: bool = True

    def number(self, column: str, row: int) -> float:
        """A cell as a finite number. Raises: ValueError."""
        return self.finite(self.cells[column][row], column, row)

    def finite(self, cell: object, column: str, row: int) -> float:
        """A value that stands in this column and row as a finite number. Raises: ValueError."""
        try:
            value = float(str(cell))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            what = "nothing" if cell is None or not str(cell).strip() else shortened(cell)
            raise ValueError(f"{self.at(row)}: {column} must be a number, got {what}; correct it")
        return value

    def numbers(self, column: str) -> Numbers:
        """A whole column of finite numbers. Raises: ValueError."""
        return np.array([self.number(column, row) for row in range(len(self))], float)

    def at(self, row: int) -> str:
        """Where a mistake is."""
        return f"{self.where} row {row + 1}"

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()), []))


def check_file(path: Path, field: str, wanted: str) -> str:
    """Refuse what is no regular file of a bearable size; gives `field: name`. Raises: ValueError."""
    try:
        if not path.is_file():
            problem = "it is no file" if path.exists() else "no such file"
        elif path.stat().st_size > MAX_BYTES:
            problem = f"it has more than {MAX_BYTES >> 20} MiB"
        elif path.suffix.lower() in (".pkl", ".pickle", ".pt"):
            problem = "pickles run code when they are read"
        else:
            return f"{field}: {path.name}"
    except (OSError, ValueError) as error:
        problem = str(error)
    raise ValueError(f"{field}: cannot read {repr(str(path))[1:-1]}: {problem}; name {wanted}")


def read_rows(path: Path, field: str) -> Rows:
    """A table of at least one row; CSV, or Parquet by its suffix. Raises: ValueError."""
    where = check_file(path, field, "a CSV or Parquet file")
    try:
        rows = _parquet(path, where) if path.suffix.lower() in (".parquet", ".pq") else _csv(path, where)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{where}: cannot be read, {reason}; write a CSV or Parquet file") from None
    if not len(rows):
        raise ValueError(f"{where}: must have at least one row below its header, got none; add it")
    return rows


def device_seconds(path: Path, samples: int | None) -> Numbers:
    """The seconds of a computation of each device. samples: of a computation, for milliseconds a sample.

    Raises: ValueError.
    """
    rows = read_rows(path, "network.compute.path")
    if "seconds" in rows.cells:
        seconds, column = rows.numbers("seconds"), "seconds"
        if samples is not None:
            raise ValueError(
                f"network.compute.samples: must be left out, since {path.name} has whole computations, got {samples}; "
                "remove it"
            )
    elif "computation" in rows.cells:
        if samples is None:
            raise ValueError(
                f"network.compute.samples: must be set, since {path.name} has milliseconds a sample, got nothing; "
                "set the samples of a computation, such as data.batch_size"
            )
        seconds, column = rows.numbers("computation") * samples / 1000, "computation"
    else:
        raise _no_column(rows, "seconds or computation")
    for row in np.flatnonzero((seconds <= 0) | (seconds > LONGEST_STEP))[:1]:
        rule = "above 0" if seconds[row] <= 0 else "at most an hour a computation (it looks like milliseconds)"
        raise ValueError(f"{rows.at(int(row))}: {column} must be {rule}, got {rows.cells[column][row]}; correct it")
    return seconds


def device_rates(path: Path) -> tuple[Numbers, Numbers]:
    """Bytes a second up and down of each device. Raises: ValueError."""
    rows = read_rows(path, "network.bandwidth.path")
    if {"up", "down"} <= rows.cells.keys():
        columns, rates = ("up", "down"), [rows.numbers("up"), rows.numbers("down")]
    elif "communication" in rows.cells:
        columns, rates = ("communication",) * 2, [rows.numbers("communication") * KILOBIT] * 2
    else:
        raise _no_column(rows, "up and down, or communication")
    for column, rate in zip(columns, rates, strict=True):
        for row in np.flatnonzero(rate < SLOWEST_LINK)[:1]:
            unit = "8 kbit/s" if column == "communication" else "1,000 bytes a second (it looks like Mbit/s)"
            rule = "above 0" if rate[row] <= 0 else f"at least {unit}"
            raise ValueError(f"{rows.at(int(row))}: {column} must be {rule}, got {rows.cells[column][row]}; correct it")
    return rates[0], rates[1]


def presence(path: Path, num_peers: int, period: float | None) -> dict[int, Intervals]:
    """The intervals, ascending, in which each peer that the file names is online.

    Raises: ValueError: for intervals that are reversed, overlap, or end after `period`; for peers that do not exist.
    """
    rows = read_rows(path, "network.churn.path")
    names = ("peer", "start", "end") if "peer" in rows.cells else ("client_id", "active", "inactive")
    if not set(names) <= rows.cells.keys():
        raise _no_column(rows, "peer,start,end or client_id,active,inactive")
    found: dict[int, list[tuple[float, float, int]]] = {}
    for row in range(len(rows)):
        number = rows.number(names[0], row)
        if not 0 <= number < num_peers or number != int(number):
            if names[0] == "client_id" and number == int(number) and number >= num_peers:
                continue  # FedScale has more clients than most runs have peers
            raise ValueError(
                f"{rows.at(row)}: {names[0]} must be from 0 to peers.count - 1 = {num_peers - 1}, got {number:g}; "
                "correct it"
            )
        for start, end in _intervals(rows, names, row):
            if start < 0 or end <= start:
                what = "at least 0" if start < 0 else f"before {names[2]} = {end:g}"
                raise ValueError(f"{rows.at(row)}: {names[1]} must be {what}, got {start:g}; correct the interval")
            if end > LONGEST_ABSENCE:
                raise ValueError(f"{rows.at(row)}: {names[2]} must be at most 1e9 seconds, got {end:g}; lower it")
            if period is not None and end > period:
                raise ValueError(
                    f"{rows.at(row)}: {names[2]} must be at most network.churn.period = {period:g}, got {end:g}; "
                    "raise it"
                )
            found.setdefault(int(number), []).append((start, end, row))
    return {peer: _ascending(intervals, rows) for peer, intervals in found.items()}


def _ascending(intervals: list[tuple[float, float, int]], rows: Rows) -> Intervals:
    """Sorted; intervals that touch are one. Raises: ValueError: for those that overlap."""
    merged: list[tuple[float, float]] = []
    for start, end, row in sorted(intervals):
        if merged and start < merged[-1][1]:
            raise ValueError(
                f"{rows.at(row)}: must begin after the peer's interval before it ends at {merged[-1][1]:g}, got "
                f"{start:g}; join the two"
            )
        if merged and start == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)


def _intervals(rows: Rows, names: tuple[str, str, str], row: int) -> Iterator[tuple[float, float]]:
    """The interval of a row, or those of FedScale's two lists."""
    starts, ends = rows.cells[names[1]][row], rows.cells[names[2]][row]
    if not isinstance(starts, list) or not isinstance(ends, list):
        yield rows.number(names[1], row), rows.number(names[2], row)
        return
    # FedScale starts some clients online: then the first end has no start before it
    if len(ends) == len(starts) + 1:
        starts = [0, *starts]
    if len(starts) != len(ends):
        raise ValueError(
            f"{rows.at(row)}: must have as many ends as starts, got {len(starts)} and {len(ends)}; correct it"
        )
    for start, end in zip(starts, ends, strict=True):
        yield rows.finite(start, names[1], row), rows.finite(end, names[2], row)


def _csv(path: Path, where: str) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (line for line in file if line.strip() and not line.lstrip().startswith("#"))
        header, *rest = [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)] or [[]]
    named = not header or not all(_is_number(cell) for cell in header)
    if not named:
        header, rest = [str(place) for place in range(len(header))], [header, *rest]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{where}: must name each column once, got '{twice}' twice; rename one of them")
    for number, row in enumerate(rest, 1):
        if len(row) != len(header):
            raise ValueError(f"{where} row {number}: must have {len(header)} cells, got {len(row)}; correct it")
    return Rows(where, {name: [row[place] for row in rest] for place, name in enumerate(header)}, named)


def _parquet(path: Path, where: str) -> Rows:
    table = pq.read_table(path)
    return Rows(where, {name: table.column(name).to_pylist() for name in table.column_names})


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _no_column(rows: Rows, wanted: str) -> ValueError:
    return ValueError(
        f"{rows.where}: must have the column {wanted}, got {', '.join(rows.cells)[:200]}; name it in the header"
    )
