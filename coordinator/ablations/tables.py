"""What an ablation prints at its end: estimates per cell, differences from the reference, and a few lines of words."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coordinator.ablations.attack_tables import print_attacks
from coordinator.ablations.comparisons.attacks import AttackRow
from coordinator.ablations.comparisons.estimates import Comparison, Outcome
from coordinator.ablations.comparisons.sentences import not_reached, others, reached_by
from coordinator.measures.statistics import Estimate
from coordinator.records.plain_text import say, visible
from coordinator.reports.formatting import p_value
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import heading, interval, number

MOST_LINES = 5  # of words, beneath the tables; the page has all
OUTCOMES = {
    Outcome.UNTESTED: "",
    Outcome.EQUAL: "equal",
    Outcome.NOT_FOUND: "none found",
    Outcome.ABOVE: "above",
    Outcome.BELOW: "below",
}


def print_comparison(comparison: Comparison, console: Console, attacks: Sequence[AttackRow] = ()) -> None:
    """Print both tables, what it comes to, and the weightiest caveats, as many as fit in a few lines.

    attacks: of cells in which liars vary, a third table.

    Intervals are over seeds, p values are corrected by Holm's method.
    """
    console.print(_estimates(comparison))
    if comparison.differences:
        console.print()
        console.print(_differences(comparison))
    print_attacks(attacks, console)
    console.print()
    for place, line in enumerate(_fitting([*comparison.headline, *comparison.words], console)):
        say(console, line, "bold" if place < len(comparison.headline) else "")


def _fitting(sentences: Sequence[str], console: Console) -> list[str]:
    """The first sentence, and all that still fit in the few lines that there are."""
    kept: list[str] = []
    taken = 0
    for sentence in sentences:
        lines = len(Text(visible(sentence)).wrap(console, console.width)) if console.is_terminal else 1
        if taken + lines <= MOST_LINES or not kept:
            kept.append(sentence)
            taken += lines
    return kept


def _estimates(comparison: Comparison) -> Table:
    """A row per cell under each measure's heading; for a single cell a row per measure."""
    several = len(comparison.cells) > 1
    first = "cell" if several else "over seeds"
    table = compact_table(first, "mean", "95% interval", "p (Holm)", "verdict", wrapped=(first, "verdict"))
    for measure in comparison.measures:
        if several:
            table.add_row(heading(measure))
        for cell in comparison.cells:
            p, missed = comparison.p_holm.get((cell, measure)), comparison.missed.get((cell, measure))
            name = _name(cell, comparison) if several else heading(measure)
            if missed is not None:
                table.add_row(name, not_reached(measure), reached_by(missed), "", others(missed, measure))
                continue
            cells = _cells(comparison.estimates[cell, measure], p, measure, len(comparison.seeds))
            table.add_row(name, *cells, comparison.verdict_in_words(cell, measure))
    _add_flags(comparison, table)
    return table


def _add_flags(comparison: Comparison, table: Table) -> None:
    """Add how many runs raised each flag: a row per cell, or the only row."""
    counts = {
        cell: [f"{flag} {count}/{comparison.finished[cell]}" for flag, count in flags.items()]
        for cell, flags in comparison.flags.items()
    }
    if not any(counts.values()):
        return
    if len(comparison.cells) == 1:
        table.add_row("flags (runs)", "", "", "", "\n".join(*counts.values()))
        return
    table.add_row("flags (runs)")
    for cell, raised in counts.items():
        if raised:
            table.add_row(_name(cell, comparison), "", "", "", "\n".join(raised))


def _differences(comparison: Comparison) -> Table:
    names = ("cell - reference *", "mean", "95% interval", "p (Holm)", "difference")
    table = compact_table(*names, wrapped=(names[0], names[-1]))
    for measure in comparison.measures_with_differences:
        table.add_row(heading(measure))
        for difference in comparison.differences_in(measure):
            cells = _cells(difference.estimate, difference.p_holm, measure, len(comparison.seeds))
            table.add_row(_name(difference.cell, comparison), *cells, OUTCOMES[difference.outcome])
    return table


def _name(cell: str, comparison: Comparison) -> str:
    """The cell's name, indented, with an asterisk for the reference."""
    return f"  {cell}" + (" *" if cell == comparison.reference and len(comparison.cells) > 1 else "")


def _cells(found: Estimate, p: float | None, measure: str, num_seeds: int) -> list[str]:
    """Mean (with the number of seeds if some are missing), interval and p as text; empty if there is none."""
    mean = number(found.mean, measure) if math.isfinite(found.mean) else "none"
    if 0 < found.n < num_seeds:
        mean += f" ({found.n}/{num_seeds})"
    spread = ""
    if found.low is not None and found.high is not None:
        spread = interval(found.low, found.high, measure) if found.varies else "all seeds equal"
    return [mean, spread, "" if p is None else p_value(p)]
