"""Honest gains by rule of pooling and number of liars, as tables of the terminal and the page."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from coordinator.ablations.comparisons.attacks import AttackRow
from coordinator.measures.statistics import Estimate
from coordinator.pages.parts import Table
from coordinator.records.plain_text import say
from coordinator.reports.formatting import points, points_between
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import gain_of, heading

TITLE = "Liars and rules of pooling"
NAMES = ("settings", "attack", "liars", "rule", "honest gain", "lost to the lies", "cost of the rule")
WORDS = ("settings", "attack", "rule")
MEANT = (
    "gain over calibrated of the honest peers; lost to the lies: what the same peers gain where nobody lies, "
    "less this; cost of the rule: what peers gain by the mean where nobody lies, less this; in points, paired by seed, "
    "with 95% intervals over seeds, not corrected"
)


def attack_tables(rows: Sequence[AttackRow]) -> list[Table]:
    """A table per probe, with a row per cell; without the column of settings where only liars and rules vary."""
    names = NAMES if any(row.cell.others for row in rows) else NAMES[1:]
    tables = []
    for measure in dict.fromkeys(row.measure for row in rows):
        caption = f"By {gain_of(measure)}: {MEANT}."
        found = [_cells(row)[-len(names) :] for row in rows if row.measure == measure]
        tables.append(Table(caption, names, found, words=WORDS))
    return tables


def _cells(row: AttackRow) -> list[str]:
    about = [row.cell.others, row.cell.attack, str(row.cell.liars), row.cell.rule]
    return [*about, *(_text(found) for found in (row.gain, row.lost, row.cost))]


def _text(found: Estimate | None) -> str:
    """A mean and its interval; empty if there is none."""
    if found is None or not np.isfinite(found.mean):
        return ""
    spread = f" ({points_between(found.low, found.high)})" if found.low is not None and found.high is not None else ""
    return points(found.mean) + spread


def print_attacks(rows: Sequence[AttackRow], console: Console) -> None:
    """Print a table of all probes, and what its columns mean; nothing if liars do not vary."""
    tables = attack_tables(rows)
    if not tables:
        return
    console.print()
    say(console, TITLE, "bold")
    shown = compact_table(*tables[0].names, wrapped=WORDS)
    for measure, table in zip(dict.fromkeys(row.measure for row in rows), tables, strict=True):
        shown.add_row(heading(measure.name))
        for cells in table.rows:
            shown.add_row(*cells)
    console.print(shown)
    say(console, f"honest gain: {MEANT}")
