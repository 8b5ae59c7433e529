"""What a comparison of cells shows, in sentences."""

from coordinator.ablations.estimates import LEVEL, Comparison, Difference
from coordinator.measures.statistics import Estimate
from coordinator.reports.wording import (
    CONTROLS,
    FLAGS,
    SAID,
    amount,
    control_of,
    interval,
    is_claim,
    listed,
    measure_name,
    number,
    p_value,
    power_note,
    probe_name,
    quoted,
)


def in_words(comparison: Comparison) -> list[str]:
    """Claims, both controls at once, flags, differences."""
    flags = flags_in_words(comparison)
    if len(comparison.seeds) < 2:
        return [few_seeds(comparison.seeds), *flags]
    return [*_claims(comparison), *_both_controls(comparison), *flags, *_differences(comparison)]


def few_seeds(seeds: tuple[int, ...]) -> str:
    """Why fewer than 2 seeds give no interval, and what to do."""
    there = f"there is one seed ({seeds[0]})" if seeds else "there is no seed"
    return (
        f"No interval, test or verdict can be given: they rest on the spread over seeds, and {there}; "
        "add seeds = [0, 1, 2]."
    )


def flags_in_words(comparison: Comparison) -> list[str]:
    """A sentence per cell that has any."""
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
    text = FLAGS.get(flag.partition(" (")[0])
    return f", {text}" if text else ""


def _claims(comparison: Comparison) -> list[str]:
    """One sentence per cell and control, with all probes in it."""
    claimed = [measure for measure in comparison.measures if is_claim(measure)]
    if not claimed:
        return []
    controls = [control for control in CONTROLS if control in map(control_of, claimed)]
    meanings = dict(CONTROLS[control] for control in controls)
    note = power_note(comparison.num_claims, len(comparison.seeds))
    lines = [
        f"Gains: 95% t-intervals over {len(comparison.seeds)} seeds"
        + _corrected(comparison.num_claims, "test", " of a gain", "; p of t-tests against 0, "),
        *([note] if note else []),
        f"Controls: {'; '.join(f'{name}: {meaning}' for name, meaning in meanings.items())}.",
    ]
    for cell in comparison.cells:
        for control in controls:
            measures = [measure for measure in claimed if control_of(measure) == control]
            verdicts = {comparison.verdict(cell, measure) for measure in measures} - {""}
            parts = [_claim(comparison, cell, measure) for measure in measures]
            parts += ["the probes do not agree"] if len(verdicts) > 1 else []
            who = f"{quoted(cell)}{' reset' if control.startswith('reset') else ''}"
            lines.append(f"{who} against {CONTROLS[control][0]}: {'; '.join(parts)}.")
    return lines


def _claim(comparison: Comparison, cell: str, measure: str) -> str:
    """A probe's verdict on one cell, and what it rests on."""
    each, p = comparison.estimates[cell, measure], comparison.p_holm.get((cell, measure))
    by = f"by {probe_name(measure.split('.')[1])}"
    if p is None:
        why = (
            _too_few(each.n, "a value") if each.n < 2 else f"{number(each.mean, measure)} points in all {each.n} seeds"
        )
        return f"{by} no verdict, {why}"
    verdict = comparison.verdict(cell, measure)
    evidence = [_evidence(each, p, measure, comparison), *_caveat(each, p, comparison.num_claims)]
    return f"{by} {SAID.get(verdict, verdict)}, {number(each.mean, measure)} points ({'; '.join(evidence)})"


def _both_controls(comparison: Comparison) -> list[str]:
    """Which cells gain over calibrated networks and over peers alone, where a probe was measured against both."""
    probes = dict.fromkeys(measure.split(".")[1] for measure in comparison.measures if is_claim(measure))
    beaten = {
        cell: {probe: comparison.beats_both(cell, probe) for probe in probes if comparison.beats_both(cell, probe)}
        for cell in comparison.cells
    }
    lines = [
        f"{quoted(cell)} beats both controls by {listed([probe_name(probe) for probe in by])}."
        for cell, by in beaten.items()
        if by
    ]
    asked = any(comparison.beats_both(comparison.reference, probe) is not None for probe in probes)
    return lines or (["No cell beats both controls by any probe."] if asked else [])


def _differences(comparison: Comparison) -> list[str]:
    """What differs from the reference and what was not found to, measure by measure."""
    if not comparison.differences:
        return []
    tests = comparison.num_differences
    note = power_note(tests, len(comparison.seeds), "difference")
    lines = [
        f"Differences from {quoted(comparison.reference)}: paired by seed, 95% t-intervals over "
        f"{len(comparison.seeds)} seeds" + _corrected(tests, "difference", "", "; p "),
        *([note] if note else []),
    ]
    for measure in comparison.compared:
        here = [each for each in comparison.differences if each.measure == measure]
        lines += [_found(each, comparison) for each in here if each.found]
        lines += _not_found([each for each in here if each.estimate.varies and not each.found], tests)
        lines += _equal([each for each in here if each.p_holm is not None and not each.estimate.varies])
        lines += [_untested(each) for each in here if each.p_holm is None]
    return lines


def _found(each: Difference, comparison: Comparison) -> str:
    assert each.p_holm is not None
    mean = each.estimate.mean
    return (
        f"{measure_name(each.measure)}: {quoted(each.cell)} is {amount(mean, each.measure)} "
        f"{'above' if mean > 0 else 'below'} {quoted(each.reference)} "
        f"({_evidence(each.estimate, each.p_holm, each.measure, comparison)})."
    )


def _untested(each: Difference) -> str:
    found, names = each.estimate, (quoted(each.cell), quoted(each.reference))
    if found.n < 2:
        return (
            f"{measure_name(each.measure)}: {names[0]} cannot be compared with {names[1]}, "
            f"{_too_few(found.n, 'both values')}."
        )
    side = "above" if found.mean > 0 else "below"
    return (
        f"{measure_name(each.measure)}: {names[0]} is {amount(found.mean, each.measure)} {side} {names[1]} in each of "
        f"{found.n} seeds, which leaves no spread to test with."
    )


def _equal(differences: list[Difference]) -> list[str]:
    if not differences:
        return []
    cells, reference = [quoted(each.cell) for each in differences], quoted(differences[0].reference)
    verb = "equals" if len(cells) == 1 else "equal"
    return [f"{measure_name(differences[0].measure)}: {listed(cells)} {verb} {reference} with every seed."]


def _not_found(differences: list[Difference], tests: int) -> list[str]:
    """Absence of evidence, said as such, with how far apart the cells may still be."""
    if not differences:
        return []
    measure, cells, furthest = differences[0].measure, [], 0.0
    for each in differences:
        found = each.estimate
        assert found.low is not None and found.high is not None and each.p_holm is not None
        furthest = max(furthest, abs(found.low), abs(found.high))
        cells.append(quoted(each.cell) + "".join(f" ({caveat})" for caveat in _caveat(found, each.p_holm, tests)))
    return [
        f"{measure_name(measure)}: no difference from {quoted(differences[0].reference)} found for "
        f"{', '.join(cells)}; the intervals reach to {amount(furthest, measure)} from 0, which is no evidence that "
        "they are equal."
    ]


def _evidence(each: Estimate, p: float, measure: str, comparison: Comparison) -> str:
    assert each.low is not None and each.high is not None
    spread = interval(each.low, each.high, measure) if each.varies else f"all {each.n} seeds equal"
    seeds = f", {each.n} of {len(comparison.seeds)} seeds" if each.n < len(comparison.seeds) else ""
    return f"{spread}, p {p_value(p) if p < 0.001 else f'= {p_value(p)}'}{seeds}"


def _caveat(each: Estimate, p_holm: float, tests: int) -> list[str]:
    """Said where the interval, which is not corrected, and the corrected test disagree."""
    if each.p is None or each.p >= LEVEL or p_holm < LEVEL:
        return []
    side = "above" if each.mean > 0 else "below"
    return [f"interval {side} 0, but not after Holm's correction over {tests} tests"]


def _corrected(count: int, what: str, of: str, tests: str) -> str:
    """The end of a sentence on intervals: by what the tests are corrected, if there are any."""
    family = f"1 {what}" if count == 1 else f"all {count} {what}s"
    return f"{tests}corrected by Holm's method over {family}{of} (one family)." if count else "; nothing to test."


def _too_few(n: int, what: str) -> str:
    return f"{'no seed has' if n == 0 else 'only one seed has'} {what}"
