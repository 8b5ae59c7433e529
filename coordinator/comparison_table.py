"""What an ablation prints: every cell's measures, the differences from the reference, then both in words."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coordinator.comparison import Comparison, Difference
from coordinator.report import compact_table
from coordinator.statistics import Estimate
from coordinator.wording import interval, is_gain, measure_name, number, p_value


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
    table = compact_table("cell", "mean", "95% interval", "p", "verdict", wrapped="cell")
    for measure in comparison.measures:
        table.add_row(_heading(measure))
        for cell in comparison.cells:
            name = f"{cell} *" if cell == comparison.reference and len(comparison.cells) > 1 else cell
            p = comparison.p_holm.get((cell, measure))
            cells = _cells(comparison.estimates[cell, measure], p, measure, len(comparison.seeds))
            table.add_row(f"  {escape(name)}", *cells, comparison.verdict(cell, measure))
    return table


def _differences(comparison: Comparison) -> Table:
    table = compact_table("cell - reference *", "mean", "95% interval", "p", "difference", wrapped="cell - reference *")
    for measure in comparison.measures:
        table.add_row(_heading(measure))
        for each in comparison.differences:
            if each.measure == measure:
                cells = _cells(each.estimate, each.p_holm, measure, len(comparison.seeds))
                table.add_row(f"  {escape(each.cell)}", *cells, _said(each))
    return table


def _heading(measure: str) -> str:
    return escape(measure_name(measure)) + (" (points)" if is_gain(measure) else "")


def _cells(each: Estimate, p: float | None, measure: str, num_seeds: int) -> list[str]:
    """Mean (with the seeds it is over, if some are missing), interval and p; empty where there is none."""
    mean = number(each.mean, measure) if math.isfinite(each.mean) else "none"
    if 0 < each.n < num_seeds:
        mean += f" ({each.n}/{num_seeds})"
    spread = ""
    if each.low is not None and each.high is not None:
        spread = interval(each.low, each.high, measure) if each.low < each.high else "all seeds equal"
    return [mean, spread, "" if p is None else p_value(p)]


def _said(each: Difference) -> str:
    if each.p_holm is None:
        return ""
    if not each.found:
        return "none found"
    return "above" if each.estimate.mean > 0 else "below"
