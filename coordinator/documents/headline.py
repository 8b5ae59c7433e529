"""The verdicts of a run for a page."""

from collections.abc import Mapping
from typing import Any

from coordinator.reports.verdicts import VerdictLine, verdict_lines


def verdicts_of(summary: Mapping[str, Any]) -> list[VerdictLine]:
    """The verdicts in a summary; none if it is empty, or not of a shape that this version knows."""
    try:
        return verdict_lines(summary)
    except (AttributeError, KeyError, TypeError, ValueError):  # a file that somebody has changed
        return []
