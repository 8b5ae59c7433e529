"""The results of an ablation's comparison as sentences."""

from coordinator.ablations.estimates import LEVEL, Comparison, Difference, Outcome
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Flag
from coordinator.reports.formatting import listed, p_value, quoted
from coordinator.reports.wording import (
    CONTROLS,
    FLAGS,
    IN_SENTENCE,
    amount,
    interval,
    measure_name,
    number,
    power_note,
    probe_name,
)


def in_words(comparison: Comparison) -> list[str]:
    """Sentences on gains, on all controls together, on flags, and on differences, in this order."""
    flags = flags_in_words(comparison)
    if len(comparison.seeds) < 2:
        return [few_seeds(comparison.seeds), *flags]
    return [*_claims(comparison), *_all_controls(comparison), *flags, *_differences(comparison)]


def few_seeds(seeds: tuple[int, ...]) -> str:
    """A sentence on why fewer than 2 seeds give no interval, and what to do."""
    count = f"there is one seed ({seeds[0]})" if seeds else "there is no seed"
    return (
        f"No interval, test or verdict can be given: they rest on the spread over seeds, and {count}; "
        "add seeds = [0, 1, 2]."
    )


def flags_in_words(comparison: Comparison) -> list[str]:
    """A sentence per cell that has flags."""
    return [
        f"{quoted(cell)}: "
        + "; ".join(
            f"{flag} in {count} of {comparison.finished[cell]} seeds" + _meaning(flag) for flag, count in flags.items()
        )
        + "."
        for cell, flags in comparison.flags.items()
        if flags
    ]


def _meaning(flag: str) -> str:
    """The explanation of a flag; empty for an unknown flag, as in a run of another version."""
    name = flag.partition(" (")[0]
    return f", {FLAGS[Flag(name)]}" if name in {*Flag} else ""


def _claims(comparison: Comparison) -> list[str]:
    """Sentences on gains: one per cell and control, covering all probes."""
    claimed = _claimed(comparison)
    if not claimed:
        return []
    controls = [gain for gain in CONTROLS if any(measure.gain is gain for measure in claimed)]
    meanings = dict(CONTROLS[gain] for gain in controls)
    note = power_note(comparison.num_claims, len(comparison.seeds))
    lines = [
        f"Gains: 95% t-intervals over {len(comparison.seeds)} seeds"
        + _corrected(comparison.num_claims, "test", " of a gain", "; p of t-tests against 0, "),
        *([note] if note else []),
        f"Controls: {'; '.join(f'{name}: {meaning}' for name, meaning in meanings.items())}.",
    ]
    for cell in comparison.cells:
        for gain in controls:
            measures = [measure for measure in claimed if measure.gain is gain]
            verdicts = {comparison.verdict(cell, measure.name) for measure in measures} - {None}
            parts = [_claim(comparison, cell, measure) for measure in measures]
            parts += ["the probes do not agree"] if len(verdicts) > 1 else []
            subject = f"{quoted(cell)}{' reset' if gain is Gain.RESET_OVER_UNTRAINED else ''}"
            lines.append(f"{subject} against {CONTROLS[gain][0]}: {'; '.join(parts)}.")
    return lines


def _claimed(comparison: Comparison) -> list[GainMeasure]:
    """The measures that verdicts rest on."""
    parsed = map(GainMeasure.parse, comparison.measures)
    return [measure for measure in parsed if measure is not None and measure.claims]


def _claim(comparison: Comparison, cell: str, measure: GainMeasure) -> str:
    """A probe's verdict on one cell, with its evidence."""
    name, by = measure.name, f"by {probe_name(measure.probe)}"
    found, verdict = comparison.estimates[cell, name], comparison.verdict(cell, name)
    if (cell, name) in comparison.void:
        return f"{by} no verdict, since this control {comparison.void[cell, name]}"
    p = comparison.p_holm.get((cell, name))
    if p is None or verdict is None:
        same = f"{number(found.mean, name)} points in all {found.n} seeds"
        return f"{by} no verdict, {_too_few(found.n, 'a value') if found.n < 2 else same}"
    evidence = [_evidence(found, p, name, comparison), *_caveat(found, p, comparison.num_claims)]
    return f"{by} {IN_SENTENCE.get(verdict, verdict)}, {number(found.mean, name)} points ({'; '.join(evidence)})"


def _all_controls(comparison: Comparison) -> list[str]:
    """Sentences on cells that beat calibrated networks and every control run that was measured and did something."""
    lines = []
    probes = dict.fromkeys(measure.probe for measure in _claimed(comparison))
    for cell in comparison.cells:
        by: dict[tuple[Gain, ...], list[str]] = {}
        for probe in probes:
            if comparison.beats_all(cell, probe):
                by.setdefault(comparison.controls(cell, probe), []).append(probe_name(probe))
        lines += [
            f"{quoted(cell)} beats {listed([CONTROLS[gain][0] for gain in controls])} by {listed(names)}."
            for controls, names in by.items()
        ]
    tried = any(comparison.beats_all(cell, probe) is not None for cell in comparison.cells for probe in probes)
    who = "No cell beats" if len(comparison.cells) > 1 else f"{quoted(comparison.cells[0])} does not beat"
    return lines or ([f"{who} all controls that were run by any probe."] if tried else [])


def _differences(comparison: Comparison) -> list[str]:
    """Sentences on differences found and not found, measure by measure."""
    if not comparison.differences:
        return []
    tests = comparison.num_differences
    note = power_note(tests, len(comparison.seeds), "difference")
    lines = [
        f"Differences from {quoted(comparison.reference)}: paired by seed, 95% t-intervals over "
        f"{len(comparison.seeds)} seeds" + _corrected(tests, "difference", "", "; p "),
        *([note] if note else []),
    ]
    for measure in comparison.measures_with_differences:
        rows, detected = comparison.differences_in(measure), (Outcome.ABOVE, Outcome.BELOW)
        lines += [_found(difference, comparison) for difference in rows if difference.outcome in detected]
        lines += _not_found([difference for difference in rows if difference.outcome is Outcome.NOT_FOUND], tests)
        lines += _equal([difference for difference in rows if difference.outcome is Outcome.EQUAL])
        lines += [_untested(difference) for difference in rows if difference.outcome is Outcome.UNTESTED]
    return lines


def _found(difference: Difference, comparison: Comparison) -> str:
    assert difference.p_holm is not None
    mean = difference.estimate.mean
    return (
        f"{measure_name(difference.measure)}: {quoted(difference.cell)} is {amount(mean, difference.measure)} "
        f"{'above' if mean > 0 else 'below'} {quoted(difference.reference)} "
        f"({_evidence(difference.estimate, difference.p_holm, difference.measure, comparison)})."
    )


def _untested(difference: Difference) -> str:
    found, names = difference.estimate, (quoted(difference.cell), quoted(difference.reference))
    if found.n < 2:
        return (
            f"{measure_name(difference.measure)}: {names[0]} cannot be compared with {names[1]}, "
            f"{_too_few(found.n, 'both values')}."
        )
    side = "above" if found.mean > 0 else "below"
    return (
        f"{measure_name(difference.measure)}: {names[0]} is {amount(found.mean, difference.measure)} {side} "
        f"{names[1]} in each of {found.n} seeds, which leaves no spread to test with."
    )


def _equal(differences: list[Difference]) -> list[str]:
    if not differences:
        return []
    cells, reference = [quoted(difference.cell) for difference in differences], quoted(differences[0].reference)
    verb = "equals" if len(cells) == 1 else "equal"
    return [f"{measure_name(differences[0].measure)}: {listed(cells)} {verb} {reference} with every seed."]


def _not_found(differences: list[Difference], tests: int) -> list[str]:
    """A sentence that no difference was found, with the largest difference that the intervals still allow."""
    if not differences:
        return []
    measure, cells, furthest = differences[0].measure, [], 0.0
    for difference in differences:
        found = difference.estimate
        assert found.low is not None and found.high is not None and difference.p_holm is not None
        furthest = max(furthest, abs(found.low), abs(found.high))
        cells.append(
            quoted(difference.cell) + "".join(f" ({caveat})" for caveat in _caveat(found, difference.p_holm, tests))
        )
    return [
        f"{measure_name(measure)}: no difference from {quoted(differences[0].reference)} found for "
        f"{', '.join(cells)}; the intervals reach to {amount(furthest, measure)} from 0, which is no evidence that "
        "they are equal."
    ]


def _evidence(found: Estimate, p: float, measure: str, comparison: Comparison) -> str:
    assert found.low is not None and found.high is not None
    spread = interval(found.low, found.high, measure) if found.varies else f"all {found.n} seeds equal"
    seeds = f", {found.n} of {len(comparison.seeds)} seeds" if found.n < len(comparison.seeds) else ""
    return f"{spread}, p {p_value(p) if p < 0.001 else f'= {p_value(p)}'}{seeds}"


def _caveat(found: Estimate, p_holm: float, tests: int) -> list[str]:
    """A caveat if the uncorrected interval excludes 0, but the corrected test is not significant."""
    if found.p is None or found.p >= LEVEL or p_holm < LEVEL:
        return []
    side = "above" if found.mean > 0 else "below"
    return [f"interval {side} 0, but not after Holm's correction over {tests} tests"]


def _corrected(count: int, noun: str, of: str, tests: str) -> str:
    """The end of a sentence on intervals: how the tests are corrected, if there are any."""
    family = f"1 {noun}" if count == 1 else f"all {count} {noun}s"
    return f"{tests}corrected by Holm's method over {family}{of} (one family)." if count else "; nothing to test."


def _too_few(n: int, noun: str) -> str:
    return f"{'no seed has' if n == 0 else 'only one seed has'} {noun}"
