"""Latencies between places from a user's file: a square matrix, a list of pairs, or Shadow's GML.

Negative and missing entries are refused; asymmetric ones are allowed, and told.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from topologies.worlds import shadow
from topologies.worlds.places import LatencyTable, Table
from topologies.worlds.section import LONGEST_LATENCY, shortened
from topologies.worlds.table_file import Rows, read_rows

FIELD = "network.latency.path"
ANOTHER_UNIT = "another unit (network.latency.unit?)"
TOLD_FROM = 0.02  # relative difference of the two directions


def read(path: Path, unit: Literal["ms", "seconds"] = "ms", round_trip: bool | None = None) -> LatencyTable:
    """One-way latencies. unit: of a matrix. round_trip: whether values are round trips; None: all but GML's.

    Raises:
        ValueError: when the file cannot be read, or an entry is negative, missing, or looks like another unit.
    """
    if path.suffix.lower() == ".gml":
        names, seconds, notes = shadow.latencies(path, FIELD)
        seconds, halved = _filled(seconds), bool(round_trip)
    else:
        rows = read_rows(path, FIELD)
        listed = {"from", "to"} <= rows.cells.keys()
        names, seconds = _pairs(rows) if listed else _matrix(rows, 1e-3 if unit == "ms" else 1.0)
        halved, notes = round_trip is not False, ()
    where = f"{FIELD}: {path.name}"
    _check(names, seconds, where, halved)
    notes += _asymmetries(names, seconds, where)
    if halved and round_trip is None:
        notes += (f"{where}: taken as round trips, one way half of each; else set network.latency.round_trip to false",)
    return LatencyTable(names, seconds / 2 if halved else seconds, np.zeros(seconds.shape), {}, notes)


def _matrix(rows: Rows, second: float) -> tuple[tuple[str, ...], Table]:
    """A header of names, or none; each row one sender, whose first cell may be its name."""
    if not rows.named and len(rows) == len(rows.cells) + 1:  # names that are numbers
        names = [f"{column[0]}" for column in rows.cells.values()]
        columns = [column[1:] for column in rows.cells.values()]
        return _matrix(Rows(rows.where, dict(zip(names, columns, strict=True))), second)
    header = list(rows.cells)
    named = rows.named and len(header) == len(rows) + 1
    names = header[1:] if named else header
    if len(names) != len(rows):
        raise ValueError(
            f"{rows.where}: must be a square matrix below a header of names, or have columns from,to,ms, got "
            f"{len(rows)} rows of {len(header)} cells; correct it"
        )
    if named:
        for row, name in enumerate(rows.cells[header[0]]):
            if str(name) != names[row]:
                raise ValueError(
                    f"{rows.at(row)}: must be named as its column, {shortened(names[row])}, got {shortened(name)}; "
                    "reorder them"
                )
    seconds = np.array([[_entry(rows, name, row) for name in names] for row in range(len(rows))]) * second
    return tuple(names), seconds


def _entry(rows: Rows, column: str, row: int) -> float:
    """A cell of a matrix; a diagonal that is left out is 0."""
    cell = rows.cells[column][row]
    on_diagonal = list(rows.cells).index(column) - (len(rows.cells) - len(rows)) == row
    if on_diagonal and (cell is None or str(cell).strip() in ("", "-", "nan")):
        return 0.0
    return rows.number(column, row)


def _pairs(rows: Rows) -> tuple[tuple[str, ...], Table]:
    """Columns from, to and ms or seconds. A pair in one direction only is for both; inside a place 0 if left out."""
    column = next((name for name in ("ms", "seconds", "p50") if name in rows.cells), None)
    if column is None:
        raise ValueError(
            f"{rows.where}: must have a column ms or seconds beside from and to, got {', '.join(rows.cells)[:200]}; "
            "name it in the header"
        )
    sources, targets = (list(map(str, rows.cells[name])) for name in ("from", "to"))
    names = tuple(dict.fromkeys([*sources, *targets]))
    place = {name: index for index, name in enumerate(names)}
    seconds = np.full((len(names), len(names)), np.nan)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        cell = place[source], place[target]
        if not np.isnan(seconds[cell]):
            raise ValueError(
                f"{rows.at(row)}: must name a pair once, got {_name(source)} to {_name(target)} again; "
                "remove one of them"
            )
        seconds[cell] = rows.number(column, row) * (1.0 if column == "seconds" else 1e-3)
    return names, _filled(seconds)


def _filled(seconds: Table) -> Table:
    """What is known in one direction only is taken for both, and the inside of a place for 0."""
    both = np.where(np.isnan(seconds), seconds.T, seconds)
    inside = np.diag_indices(len(both))
    both[inside] = np.nan_to_num(both[inside])
    return both


def _check(names: tuple[str, ...], seconds: Table, where: str, halved: bool) -> None:
    """Refuse what is missing, negative or of another unit. Raises: ValueError."""
    most = LONGEST_LATENCY * (2 if halved else 1)
    for wrong, rule in (
        (np.isnan(seconds), "must be there for every pair, got none"),
        (seconds < 0, "must be at least 0, got {value:g} ms"),
        (seconds > most, f"must be at most {most:g} seconds, got {{value:g}} ms, which looks like {ANOTHER_UNIT}"),
    ):
        for source, target in np.argwhere(wrong)[:1]:
            pair = f"the latency from {_name(names[source])} to {_name(names[target])}"
            raise ValueError(
                f"{where}: {pair} {rule.format(value=seconds[source, target] * 1000)}; correct "
                f"{np.count_nonzero(wrong)} of {wrong.size} entries"
            )
    others = seconds[~np.eye(len(seconds), dtype=bool)]
    if len(others) and 0 < others.max() < 1e-5:
        raise ValueError(
            f"{where}: latencies must be above 0.01 ms, got {others.max() * 1000:g} ms as the longest, which looks "
            "like seconds; set network.latency.unit, or write a column seconds"
        )


def _name(name: str) -> str:
    """A place as lines tell it, without quotes."""
    return shortened(name)[1:-1]


def _asymmetries(names: tuple[str, ...], seconds: Table, where: str) -> tuple[str, ...]:
    """One line if the two directions of some pairs differ by more than 2%."""
    larger, gap = np.maximum(seconds, seconds.T), np.abs(seconds - seconds.T)
    odd = np.triu(gap > TOLD_FROM * larger)
    if not odd.any():
        return ()
    source, target = np.unravel_index(np.argmax(np.where(odd, gap, 0)), odd.shape)
    there, back = seconds[source, target] * 1000, seconds[target, source] * 1000
    return (
        f"{where}: {np.count_nonzero(odd)} pairs are not symmetric, at most {_name(names[source])} to "
        f"{_name(names[target])} with {there:g} ms there and {back:g} ms back; both directions are used as they are",
    )
