"""The verdicts of a run for a page."""

from collections.abc import Mapping
from typing import Any

from coordinator.reports.verdicts import VerdictLine, verdict_lines


def verdicts_of(summary: Mapping[str, Any]) -> list[VerdictLine]:
    """The verdicts in a summary; none if it is empty, or not of a shape that this version knows."""
    try:
        lines = verdict_lines(summary)
        return lines if all(isinstance(line.text, str) and _has_numbers(line) for line in lines) else []
    except (AttributeError, KeyError, TypeError, ValueError):  # a file that somebody has changed
        return []


def _has_numbers(line: VerdictLine) -> bool:
    """Whether its numbers are numbers or unknown."""
    return all(value is None or isinstance(value, int | float) for value in (line.mean, line.low, line.high))
