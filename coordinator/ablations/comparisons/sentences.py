"""What a comparison's tables do not say, in sentences: what flags mean, power, corrections, what was not tested."""

from collections import Counter

from coordinator.ablations.comparisons.estimates import LEVEL, Comparison, Missed, Outcome
from coordinator.ablations.comparisons.headline import briefly, claimed
from coordinator.measures.distance import Arrival
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Flag
from coordinator.reports.formatting import count_of, listed, quoted
from coordinator.reports.wording import CONTROLS, FLAGS, MORE_THAN, amount, interval, measure_name, number, power_note


def not_reached(measure: str) -> str:
    """What is said of a seed that did not reach a target; of one in which a gain is not above 0 at the end."""
    return "not reached" if Arrival.parse(measure) is None else "nothing arrived"


def reached_by(missed: Missed) -> str:
    """How many seeds did not reach a target: `in 2 of 3 seeds`."""
    return f"in {missed.seeds} of {count_of(missed.of, 'seed')}"


def others(missed: Missed, measure: str) -> str:
    """What a target cost the seeds that have reached it: `the others: 12.3 to 15.1`; empty if there is none."""
    reached = missed.of - missed.seeds
    if not reached:
        return ""
    cost = number(missed.low, measure) if reached == 1 else interval(missed.low, missed.high, measure)
    return f"the other{'s' * (reached > 1)}: {cost}"


def in_words(comparison: Comparison) -> list[str]:
    """The caveats of a comparison, the weightiest first; at most ten sentences, none of which repeats a table."""
    flags = _flags(comparison)
    if len(comparison.seeds) < 2:
        return [*_apart(comparison), *flags, *_missed(comparison)]
    seeds = len(comparison.seeds)
    notes = [
        *_apart(comparison),
        *flags,
        *_void(comparison),
        *_missed(comparison),
        power_note(comparison.num_claims, seeds),
        *_corrections(comparison),
        power_note(comparison.num_differences, seeds, "difference"),
        *_not_found(comparison),
        *_untested(comparison),
        *_controls(comparison),
    ]
    return [note for note in notes if note]


def _apart(comparison: Comparison) -> list[str]:
    """A sentence on cells that are not compared with the reference, because other peers lie in them."""
    if not comparison.apart:
        return []
    return [
        f"Not compared with {quoted(comparison.reference)}, as other peers lie there and means are of honest peers: "
        f"{briefly([*comparison.apart])}; the table of liars compares the same peers."
    ]


def _flags(comparison: Comparison) -> list[str]:
    """A sentence on what the flags mean that were raised; the table counts them."""
    raised = {flag.partition(" (")[0] for flags in comparison.flags.values() for flag in flags}
    known = [f"{flag}: {FLAGS[flag]}" for flag in Flag if flag in raised]
    return [f"Flags: {'; '.join(known)}."] if known else []


def _void(comparison: Comparison) -> list[str]:
    """A sentence on gains that are not tested, because the control run did nothing or diverged in some seed."""
    if not comparison.void:
        return []
    measures = dict.fromkeys(measure for _, measure in comparison.void)
    parts = [_of(measure, [cell for cell, other in comparison.void if other == measure]) for measure in measures]
    return [f"Not tested, as the control was idle or diverged in some seed: {'; '.join(parts)}."]


def _missed(comparison: Comparison) -> list[str]:
    """A sentence on targets that some runs had not reached when they ended; the table has the cells."""
    counts, cells = Counter(measure for _, measure in comparison.missed), len(comparison.cells)
    parts = [
        measure_name(measure) + (f" in {count} of {count_of(cells, 'cell')}" if cells > 1 else "")
        for measure, count in counts.items()
    ]
    what = "a run that did not reach its target has no number, and the mean over the others would be too good"
    return [f"No mean and no difference, as {what}: {'; '.join(parts)}."] if parts else []


def _corrections(comparison: Comparison) -> list[str]:
    """A sentence on intervals and tests: how they are made and corrected, and where the two say different things."""
    families = [
        count_of(count, noun)
        for count, noun in ((comparison.num_claims, "test"), (comparison.num_differences, "difference"))
        if count
    ]
    paired = ", differences paired by seed" if comparison.differences else ""
    what = f"Intervals are 95% t-intervals over {len(comparison.seeds)} seeds{paired}"
    if not families:
        return [f"{what}; nothing to test."]
    of = [f"the {family}" + (" of a gain" if "test" in family else "") for family in families]
    each = ", each a family of its own" if len(of) > 1 else " (one family)"
    lost = _lost_by_correction(comparison)
    return [
        f"{what}, not corrected; p values are, by Holm's method over {listed(of)}{each}"
        + (
            f": {count_of(lost, 'interval')} beside 0 {'is' if lost == 1 else 'are'} no finding after it."
            if lost
            else "."
        )
    ]


def _lost_by_correction(comparison: Comparison) -> int:
    """How many intervals exclude 0 whose corrected test is not significant."""
    tests = [(comparison.estimates[key], p) for key, p in comparison.p_holm.items()]
    tests += [(each.estimate, each.p_holm) for each in comparison.differences if each.p_holm is not None]
    return sum(found.p is not None and found.p < LEVEL <= p for found, p in tests)


def _not_found(comparison: Comparison) -> list[str]:
    """A sentence on how large the differences may be that were not found."""
    reach = []
    for measure in comparison.measures_with_differences:
        missed = [each.estimate for each in comparison.differences_in(measure) if each.outcome is Outcome.NOT_FOUND]
        if missed:
            reach.append(f"{amount(max(map(_furthest, missed)), measure)} from 0 ({measure_name(measure)})")
    if not reach:
        return []
    return [f"Where no difference was found, intervals reach to {listed(reach)}: this is no evidence of equality."]


def _furthest(found: Estimate) -> float:
    """The end of an interval that is furthest from 0."""
    assert found.low is not None and found.high is not None
    return max(abs(found.low), abs(found.high))


def _untested(comparison: Comparison) -> list[str]:
    """A sentence on what has no test, because too few seeds have a value or because all have the same."""
    parts = []
    for measure in claimed(comparison):
        cells = [
            cell
            for cell in comparison.cells
            if (cell, measure.name) not in comparison.p_holm and (cell, measure.name) not in comparison.void
        ]
        parts += [_of(measure.name, cells)] if cells else []
    for name in comparison.measures_with_differences:
        cells = [each.cell for each in comparison.differences_in(name) if each.outcome is Outcome.UNTESTED]
        parts += [f"{_of(name, cells)} less {quoted(comparison.reference)}"] if cells else []
    return [f"Not tested, as seeds do not differ or too few have a value: {'; '.join(parts)}."] if parts else []


def _of(measure: str, cells: list[str]) -> str:
    return f"{measure_name(measure)} of {briefly(cells)}"


def _controls(comparison: Comparison) -> list[str]:
    """A sentence on what each control is, and what a gain over it rules out."""
    gains = {measure.gain for measure in claimed(comparison)}
    meanings = {
        name: what + (f" (a gain over it rules out: {MORE_THAN[gain]})" if gain in MORE_THAN else "")
        for gain, (name, what) in CONTROLS.items()
        if gain in gains
    }
    return [f"Controls: {'; '.join(f'{name}: {what}' for name, what in meanings.items())}."] if meanings else []
