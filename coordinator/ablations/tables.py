"""Terminal tables of an ablation: estimates per cell, differences from the reference, then both as sentences."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coordinator.ablations.estimates import Comparison, Outcome
from coordinator.measures.statistics import Estimate
from coordinator.reports.formatting import p_value
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import heading, interval, number

OUTCOMES = {
    Outcome.UNTESTED: "",
    Outcome.EQUAL: "equal",
    Outcome.NOT_FOUND: "none found",
    Outcome.ABOVE: "above",
    Outcome.BELOW: "below",
}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print both tables and the sentences; intervals are over seeds, p values are corrected by Holm's method."""
    console.print(_estimates(comparison))
    if comparison.differences:
        console.print()
        console.print(_differences(comparison))
    console.print()
    for line in comparison.words:
        console.print(line, highlight=False, markup=False)


def _estimates(comparison: Comparison) -> Table:
    """A row per cell under each measure's heading; for a single cell a row per measure."""
    several = len(comparison.cells) > 1
    first = "cell" if several else "over seeds"
    table = compact_table(first, "mean", "95% interval", "p (Holm)", "verdict", wrapped=(first, "verdict"))
    for measure in comparison.measures:
        if several:
            table.add_row(escape(heading(measure)))
        for cell in comparison.cells:
            p = comparison.p_holm.get((cell, measure))
            cells = _cells(comparison.estimates[cell, measure], p, measure, len(comparison.seeds))
            name = _name(cell, comparison) if several else escape(heading(measure))
            table.add_row(name, *cells, comparison.verdict_in_words(cell, measure))
    if any(comparison.flags.values()):
        table.add_row("flags (runs)")
    for cell, flags in comparison.flags.items():
        for flag, count in flags.items():
            table.add_row(_name(cell, comparison), "", "", "", f"{flag} {count}/{comparison.finished[cell]}")
    return table


def _differences(comparison: Comparison) -> Table:
    names = ("cell - reference *", "mean", "95% interval", "p (Holm)", "difference")
    table = compact_table(*names, wrapped=names[0])
    for measure in comparison.measures_with_differences:
        table.add_row(escape(heading(measure)))
        for difference in comparison.differences_in(measure):
            cells = _cells(difference.estimate, difference.p_holm, measure, len(comparison.seeds))
            table.add_row(_name(difference.cell, comparison), *cells, OUTCOMES[difference.outcome])
    return table


def _name(cell: str, comparison: Comparison) -> str:
    """The cell's name, indented, with an asterisk for the reference."""
    return f"  {escape(cell)}" + (" *" if cell == comparison.reference and len(comparison.cells) > 1 else "")


def _cells(found: Estimate, p: float | None, measure: str, num_seeds: int) -> list[str]:
    """Mean (with the number of seeds if some are missing), interval and p as text; empty if there is none."""
    mean = number(found.mean, measure) if math.isfinite(found.mean) else "none"
    if 0 < found.n < num_seeds:
        mean += f" ({found.n}/{num_seeds})"
    spread = ""
    if found.low is not None and found.high is not None:
        spread = interval(found.low, found.high, measure) if found.varies else "all seeds equal"
    return [mean, spread, "" if p is None else p_value(p)]
