"""The verdicts of a run for a page, and the tables beside them: of liars, and of accuracies by held classes."""

from collections.abc import Mapping
from typing import Any

from coordinator.documents.readers.folder_reader import RunReader
from coordinator.measures import pooling
from coordinator.reports.holdings import accuracy_table
from coordinator.reports.unequal import liar_table
from coordinator.reports.verdicts import VerdictLine, verdict_lines


def verdicts_of(summary: Mapping[str, Any]) -> list[VerdictLine]:
    """The verdicts in a summary; none if it is empty, or not of a shape that this version knows."""
    try:
        lines = verdict_lines(summary)
        return lines if all(isinstance(line.text, str) and _has_numbers(line) for line in lines) else []
    except (AttributeError, KeyError, TypeError, ValueError):  # a file that somebody has changed
        return []


def tables_of(reader: RunReader) -> list[dict[str, Any]]:
    """Title, names of columns and rows of each table; liars are known from the start, accuracies at the end."""
    try:
        found = {"liars": _liars(reader), "on whose classes?": accuracy_table(reader.results)}
    except (AttributeError, KeyError, TypeError, ValueError):  # a file that somebody has changed
        return []
    return [{"title": title, "names": names, "rows": rows} for title, (names, rows) in found.items() if rows]


def _liars(reader: RunReader) -> tuple[list[str], list[list[str]]]:
    """Who lies, and what has become of their lies by now."""
    if reader.config is None or not reader.config.peers.liars:
        return [], []
    rows = [{"round": number, **row} for number, row in sorted(reader.rows.rounds.items())]
    peers = reader.config.peers.model_dump(mode="json", exclude_none=True, include={"adversaries"})
    return liar_table(peers, pooling.of_run(rows))


def _has_numbers(line: VerdictLine) -> bool:
    """Whether its numbers are numbers or unknown."""
    return all(value is None or isinstance(value, int | float) for value in (line.mean, line.low, line.high))
