"""The few lines that a comparison comes to: which cells learned, which beat their controls, and which differ."""

from coordinator.ablations.comparisons.estimates import Comparison, Outcome
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.verdict import Verdict
from coordinator.reports.formatting import listed, quoted
from coordinator.reports.wording import CONTROLS, amount, gain_of, interval, measure_name, number

MOST_NAMES = 6  # cells that a sentence names; the table has all


def headline(comparison: Comparison) -> list[str]:
    """At most three sentences: on learning, on the controls of the exchange, and on differences between cells.

    That one cell has learned and another has not does not show that they differ.

    With fewer than 2 seeds: why there is no verdict, and what to do.
    """
    if len(comparison.seeds) < 2:
        return [few_seeds(comparison.seeds)]
    learned = _one_learned(comparison) if len(comparison.cells) == 1 else _learned(comparison)
    return [*learned, *_all_controls(comparison), *_differing(comparison)]


def few_seeds(seeds: tuple[int, ...]) -> str:
    """A sentence on why fewer than 2 seeds give no interval, and what to do."""
    count = f"there is one seed ({seeds[0]})" if seeds else "there is no seed"
    return (
        f"No interval, test or verdict can be given: they rest on the spread over seeds, and {count}; "
        "add seeds = [0, 1, 2]."
    )


def briefly(cells: list[str]) -> str:
    """The cells for use in a sentence: the first of them, and how many more there are."""
    more = len(cells) - MOST_NAMES
    names = [quoted(cell) for cell in cells]
    return listed(names if more < 2 else [*names[:MOST_NAMES], f"{more} more"])


def claimed(comparison: Comparison) -> list[GainMeasure]:
    """The measures that verdicts rest on."""
    parsed = map(GainMeasure.parse, comparison.measures)
    return [measure for measure in parsed if measure is not None and measure.claims]


def _on_learning(comparison: Comparison) -> list[GainMeasure]:
    """The gains over calibrated networks, one for each probe."""
    return [measure for measure in claimed(comparison) if measure.gain is Gain.OVER_CALIBRATED]


def _one_learned(comparison: Comparison) -> list[str]:
    (cell,) = comparison.cells
    parts = []
    for measure in _on_learning(comparison):
        found = comparison.estimates[cell, measure.name]
        verdict = comparison.verdict(cell, measure.name) or Verdict.NONE
        parts.append(f"{verdict} by {gain_of(measure)}")
        if found.low is not None and found.high is not None:
            spread = interval(found.low, found.high, measure.name) if found.varies else "with all seeds"
            parts[-1] += f" ({number(found.mean, measure.name)} points, {spread})"
    return [f"{quoted(cell)}: {', '.join(parts)}."] if parts else []


def _learned(comparison: Comparison) -> list[str]:
    """A sentence on the cells that learned, and on those that degraded, by each probe."""
    measures = _on_learning(comparison)
    if not measures:
        return []
    by = {verdict: _cells_by_probe(comparison, measures, verdict) for verdict in (Verdict.LEARNED, Verdict.DEGRADED)}
    if any(cells for _, cells in by[Verdict.LEARNED]):
        parts = [f"by {probe}: {briefly(cells) if cells else 'no cell'}" for probe, cells in by[Verdict.LEARNED]]
        sentence = f"Shown to have learned {'; '.join(parts)}."
    else:
        sentence = f"No cell is shown to have learned, by {listed([probe for probe, _ in by[Verdict.LEARNED]])}."
    worse = [f"by {probe}: {briefly(cells)}" for probe, cells in by[Verdict.DEGRADED] if cells]
    return [sentence + (f" Degraded {'; '.join(worse)}." if worse else "")]


def _cells_by_probe(
    comparison: Comparison, measures: list[GainMeasure], verdict: Verdict
) -> list[tuple[str, list[str]]]:
    return [
        (
            gain_of(measure),
            [cell for cell in comparison.cells if comparison.verdict(cell, measure.name) is verdict],
        )
        for measure in measures
    ]


def _all_controls(comparison: Comparison) -> list[str]:
    """A sentence on the cells that beat calibrated networks and every control run that was measured and did something.

    Empty if no cell was compared with a control run.
    """
    subjects = dict.fromkeys(measure.over(Gain.OVER_CALIBRATED) for measure in claimed(comparison))
    beaten: dict[tuple[tuple[Gain, ...], str], list[str]] = {}
    tried = False
    for subject in subjects:
        for cell in comparison.cells:
            beats = comparison.beats_all(cell, subject.probe, subject.scope)
            tried = tried or beats is not None
            if beats:
                key = comparison.controls(cell, subject.probe, subject.scope), gain_of(subject)
                beaten.setdefault(key, []).append(cell)
    parts = [
        f"{briefly(cells)} {'beats' if len(cells) == 1 else 'beat'} {listed([CONTROLS[gain][0] for gain in controls])} "
        f"by {subject}"
        for (controls, subject), cells in beaten.items()
    ]
    if parts:
        return [f"{'; '.join(parts)}."]
    who = "No cell beats" if len(comparison.cells) > 1 else f"{quoted(comparison.cells[0])} does not beat"
    return [f"{who} all controls that were run by any probe."] if tried else []


def _differing(comparison: Comparison) -> list[str]:
    """A sentence on the differences from the reference that were found; empty if there is none to find."""
    if not comparison.differences:
        return []
    parts, reference = [], quoted(comparison.reference)
    for measure in comparison.measures_with_differences:
        for outcome, side in ((Outcome.ABOVE, "above"), (Outcome.BELOW, "below")):
            found = [each for each in comparison.differences_in(measure) if each.outcome is outcome]
            if found:
                cells, largest = [each.cell for each in found], max(abs(each.estimate.mean) for each in found)
                up_to = "by" if len(found) == 1 else "by up to"
                parts.append(f"{briefly(cells)} in {measure_name(measure)} ({up_to} {amount(largest, measure)} {side})")
    same = " where the same peers are honest" if comparison.apart else ""
    none = f"No difference from {reference} found{same}."
    return [f"Different from {reference}: {'; '.join(parts)}." if parts else none]
