"""What an ablation prints: every cell's measures, the differences from the reference, then both in words."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coordinator.ablations.estimates import Comparison, Difference
from coordinator.measures.statistics import Estimate
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import heading, interval, number, p_value


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Two tables, measure by measure, and the words; intervals are over seeds, p is corrected by Holm's method."""
    console.print(_estimates(comparison))
    if comparison.differences:
        console.print()
        console.print(_differences(comparison))
    console.print()
    for line in comparison.words:
        console.print(line, highlight=False, markup=False)


def _estimates(comparison: Comparison) -> Table:
    table = compact_table("cell", "mean", "95% interval", "p (Holm)", "verdict", wrapped="cell")
    for measure in comparison.measures:
        table.add_row(escape(heading(measure)))
        for cell in comparison.cells:
            p = comparison.p_holm.get((cell, measure))
            cells = _cells(comparison.estimates[cell, measure], p, measure, len(comparison.seeds))
            table.add_row(_name(cell, comparison), *cells, comparison.verdict(cell, measure))
    if any(comparison.flags.values()):
        table.add_row("flags (runs)")
    for cell, flags in comparison.flags.items():
        for flag, count in flags.items():
            table.add_row(_name(cell, comparison), "", "", "", f"{flag} {count}/{comparison.finished[cell]}")
    return table


def _differences(comparison: Comparison) -> Table:
    names = ("cell - reference *", "mean", "95% interval", "p (Holm)", "difference")
    table = compact_table(*names, wrapped=names[0])
    for measure in comparison.compared:
        table.add_row(escape(heading(measure)))
        for each in comparison.differences:
            if each.measure == measure:
                cells = _cells(each.estimate, each.p_holm, measure, len(comparison.seeds))
                table.add_row(_name(each.cell, comparison), *cells, _said(each))
    return table


def _name(cell: str, comparison: Comparison) -> str:
    """Set in, with an asterisk on the reference."""
    return f"  {escape(cell)}" + (" *" if cell == comparison.reference and len(comparison.cells) > 1 else "")


def _cells(each: Estimate, p: float | None, measure: str, num_seeds: int) -> list[str]:
    """Mean (with the seeds it is over, if some are missing), interval and p; empty where there is none."""
    mean = number(each.mean, measure) if math.isfinite(each.mean) else "none"
    if 0 < each.n < num_seeds:
        mean += f" ({each.n}/{num_seeds})"
    spread = ""
    if each.low is not None and each.high is not None:
        spread = interval(each.low, each.high, measure) if each.varies else "all seeds equal"
    return [mean, spread, "" if p is None else p_value(p)]


def _said(each: Difference) -> str:
    if each.p_holm is None:
        return ""
    if not each.estimate.varies:
        return "equal"
    if not each.found:
        return "none found"
    return "above" if each.estimate.mean > 0 else "below"
