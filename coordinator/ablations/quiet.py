"""An ablation without progress: at its end the verdicts, one a line, and the folder; what failed on standard error."""

import sys
from collections.abc import Iterator
from pathlib import Path

from coordinator.ablations.ablate import AblationResult, ablate
from coordinator.ablations.comparisons.estimates import Comparison, Outcome
from coordinator.ablations.comparisons.sentences import not_reached, others, reached_by
from coordinator.ablations.grids.grid import Ablation
from coordinator.ablations.runs.parallel_runs import RunStatus
from coordinator.ablations.tables import OUTCOMES
from coordinator.measures.distance import Arrival
from coordinator.measures.statistics import Estimate
from coordinator.measures.targets import Target
from coordinator.records.files.result import Status
from coordinator.records.plain_text import visible
from coordinator.reports.formatting import p_value, short
from coordinator.reports.wording import interval, measure_name, number, unit_of
from coordinator.run.signals import Interrupts


def run_quietly(ablation: Ablation, output: Path, json: bool = False) -> Status:
    """Run an ablation and print its verdicts, or with `json` its summary; returns how it ended."""
    with Interrupts(handled=True):
        result = ablate(ablation, output)
    for line in _failures(result):
        print(f"note: {visible(line)}", file=sys.stderr)
    if json:
        if result.comparison is not None:
            print((result.folder / "summary.json").read_text(), end="")
        return result.status
    for line in [*(verdicts(result.comparison) if result.comparison else []), short(result.folder)]:
        print(visible(line))
    return result.status


def verdicts(comparison: Comparison) -> Iterator[str]:
    """A line for each tested gain, with its verdict, mean, interval over seeds and p, and for each target, with what
    it cost; then for each difference.
    """
    for measure in comparison.measures:
        for cell in comparison.cells:
            words, named = comparison.verdict_in_words(cell, measure), f"{cell}: " if len(comparison.cells) > 1 else ""
            missed = comparison.missed.get((cell, measure))
            found = _estimate(comparison.estimates[cell, measure], comparison.p_holm.get((cell, measure)), measure)
            if words:
                yield f"{named}{measure_name(measure)}: {words}{found}"
            elif missed is not None:
                parts = filter(None, (f"{not_reached(measure)} {reached_by(missed)}", others(missed, measure)))
                yield f"{named}{measure_name(measure)}: {', '.join(parts)}"
            elif found and (Target.parse(measure) is not None or Arrival.parse(measure) is not None):
                yield f"{named}{measure_name(measure)}: {found.removeprefix(', ')}"
    for difference in comparison.differences:
        if difference.outcome is not Outcome.UNTESTED:
            found = _estimate(difference.estimate, difference.p_holm, difference.measure)
            named = f"{difference.cell} - {comparison.reference}: {measure_name(difference.measure)}"
            yield f"{named}: {OUTCOMES[difference.outcome]}{found}"


def _estimate(found: Estimate, p: float | None, measure: str) -> str:
    """Mean, interval and p, such as `, +2.5 points (+1.8 to +3.3), p 0.006`; empty if the mean is unknown."""
    if not found.n:
        return ""
    unit = f" {unit_of(measure)}" if unit_of(measure) else ""
    spread = "" if found.low is None or found.high is None else f" ({interval(found.low, found.high, measure)})"
    return f", {number(found.mean, measure)}{unit}{spread}" + ("" if p is None else f", p {p_value(p)}")


def _failures(result: AblationResult) -> Iterator[str]:
    if result.status is Status.INTERRUPTED:
        yield f"interrupted: {result.num_finished} of {len(result.rows)} runs done; the same command continues"
    for row in result.rows:
        if row["status"] == RunStatus.FAILED:
            yield f"failed: {row['cell']}, seed {row['seed']}: {row['error']}"
