"""Cells of an ablation compared over seeds: estimates, claims against 0, differences from a reference, in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import Any, TypeVar

from coordinator.statistics import Estimate, estimate, holm, paired_difference
from coordinator.wording import (
    CLAIMS,
    amount,
    control_of,
    interval,
    is_claim,
    measure_name,
    number,
    p_value,
    probe_name,
    quoted,
)

LEVEL = 0.05
CONTROLS = {  # by kind of gain: what the trained peers are compared with, and what that is
    "gain": ("calibrated networks", "untrained weights, forward passes only"),
    "over_alone.mean": ("peers alone", "the same rounds, every peer its own teacher"),
    "over_untrained.mean": ("untrained networks", "as they were drawn"),
}
SAID = {  # verdicts within a sentence, where their short names would not do
    "exchange helps": "the exchange helps",
    "no effect found": "no effect of the exchange found",
    "hurts": "the exchange hurts",
}

Key = TypeVar("Key")


@dataclass(frozen=True)
class Difference:
    """How far a cell's measure is from the reference's, paired by seed; `p_holm` is None below 2 pairs."""

    cell: str
    reference: str
    measure: str
    estimate: Estimate
    p_holm: float | None

    @property
    def found(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Every cell's measures over seeds, what they show, and how they differ from the reference's.

    `estimates` and `p_holm` have (cell, measure) as keys. Holm's method corrects two families, each as a whole:
    the tests of a gain against 0 (`p_holm`), and the differences. Intervals are not corrected.
    """

    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    measures: tuple[str, ...]
    estimates: dict[tuple[str, str], Estimate]
    p_holm: dict[tuple[str, str], float]
    differences: tuple[Difference, ...]
    words: tuple[str, ...]

    def verdict(self, cell: str, measure: str) -> str:
        """What a gain shows over seeds, corrected; "" for other measures and fewer than 2 seeds."""
        p = self.p_holm.get((cell, measure))
        if p is None:
            return ""
        above, neither, below = CLAIMS[control_of(measure)]
        if p >= LEVEL:
            return neither
        return above if self.estimates[cell, measure].mean > 0 else below


def compare(rows: list[dict[str, Any]], cells: Sequence[str], reference: str, measures: Sequence[str]) -> Comparison:
    """Compare the cells of a table with one row per (cell, seed): columns cell, seed, status and the measures.

    A row that has not finished, and a value that is missing or not finite, is left out; a pair needs both values.
    """
    assert reference in cells
    seeds = tuple(dict.fromkeys(int(row["seed"]) for row in rows))
    finished = {(row["cell"], int(row["seed"])): row for row in rows if row.get("status", "finished") == "finished"}
    values = {
        (cell, measure): [_value(finished.get((cell, seed), {}).get(measure)) for seed in seeds]
        for cell in cells
        for measure in measures
    }
    estimates = {key: estimate(each) for key, each in values.items()}
    apart = {key: paired_difference(each, values[reference, key[1]]) for key, each in values.items()}
    apart = {key: each for key, each in apart.items() if key[0] != reference}
    p_apart = _holm({key: each.p for key, each in apart.items()})
    comparison = Comparison(
        tuple(cells),
        seeds,
        reference,
        tuple(measures),
        estimates,
        _holm({key: each.p for key, each in estimates.items() if is_claim(key[1])}),
        tuple(Difference(key[0], reference, key[1], each, p_apart.get(key)) for key, each in apart.items()),
        (),
    )
    if len(seeds) < 2:
        return replace(comparison, words=(few_seeds(seeds),))
    return replace(comparison, words=(*_claims(comparison), *_differences(comparison)))


def few_seeds(seeds: tuple[int, ...]) -> str:
    """Why fewer than 2 seeds give no interval, and what to do."""
    there = f"there is one seed ({seeds[0]})" if seeds else "there is no seed"
    return (
        f"No interval, test or verdict can be given: they rest on the spread over seeds, and {there}; "
        "add seeds = [0, 1, 2]."
    )


def to_table(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON can hold it: gains as fractions, None for what could not be computed."""
    return {
        "cells": list(comparison.cells),
        "seeds": list(comparison.seeds),
        "reference": comparison.reference,
        "measures": list(comparison.measures),
        "estimates": [
            {"cell": cell, "measure": measure}
            | _numbers(each)
            | {"p_holm": comparison.p_holm.get((cell, measure)), "verdict": comparison.verdict(cell, measure)}
            for (cell, measure), each in comparison.estimates.items()
        ],
        "differences": rows_of_differences(comparison),
        "words": list(comparison.words),
    }


def rows_of_differences(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per measure and cell other than the reference, for `differences.parquet`."""
    return [
        {"cell": each.cell, "reference": each.reference, "measure": each.measure}
        | _numbers(each.estimate)
        | {"p_holm": each.p_holm}
        for each in comparison.differences
    ]


def _value(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan


def _holm(p_values: Mapping[Key, float | None]) -> dict[Key, float]:
    """Adjusted as one family, for those that could be tested."""
    known = {key: p for key, p in p_values.items() if p is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def _numbers(each: Estimate) -> dict[str, Any]:
    return {name: value if value is None or math.isfinite(value) else None for name, value in asdict(each).items()}


def _claims(comparison: Comparison) -> list[str]:
    """One sentence per cell and control, with all probes in it."""
    claimed = [measure for measure in comparison.measures if is_claim(measure)]
    if not claimed:
        return []
    controls = {control: CONTROLS[control] for control in CONTROLS if control in map(control_of, claimed)}
    lines = [
        f"Gains: 95% t-intervals over {len(comparison.seeds)} seeds; p of t-tests against 0, corrected by Holm's "
        f"method over all {len(comparison.p_holm)} tests of a gain (one family).",
        f"Controls: {'; '.join(f'{name}: {meaning}' for name, meaning in controls.values())}.",
    ]
    for cell in comparison.cells:
        for control, (name, _) in controls.items():
            measures = [measure for measure in claimed if control_of(measure) == control]
            verdicts = {comparison.verdict(cell, measure) for measure in measures} - {""}
            parts = [_claim(comparison, cell, measure) for measure in measures]
            parts += ["the probes do not agree"] if len(verdicts) > 1 else []
            lines += [f"{quoted(cell)} against {name}: {'; '.join(parts)}."] if parts else []
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
    evidence = [_evidence(each, p, measure, comparison), *_caveat(each, p, len(comparison.p_holm))]
    return f"{by} {SAID.get(verdict, verdict)}, {number(each.mean, measure)} points ({'; '.join(evidence)})"


def _differences(comparison: Comparison) -> list[str]:
    """What differs from the reference and what was not found to, measure by measure."""
    if not comparison.differences:
        return []
    tests = sum(each.p_holm is not None for each in comparison.differences)
    lines = [
        f"Differences from {quoted(comparison.reference)}: paired by seed, 95% t-intervals over "
        f"{len(comparison.seeds)} seeds; p corrected by Holm's method over all {tests} differences (one family)."
    ]
    for measure in comparison.measures:
        here = [each for each in comparison.differences if each.measure == measure]
        lines += [_found(each, comparison) for each in here if each.found]
        lines += _not_found([each for each in here if each.p_holm is not None and not each.found], tests)
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


def _not_found(differences: list[Difference], tests: int) -> list[str]:
    """Absence of evidence, said as such, with how far apart the cells may still be."""
    if not differences:
        return []
    measure, cells, half = differences[0].measure, [], 0.0
    for each in differences:
        found = each.estimate
        assert found.low is not None and found.high is not None and each.p_holm is not None
        half = max(half, (found.high - found.low) / 2)
        cells.append(quoted(each.cell) + "".join(f" ({caveat})" for caveat in _caveat(found, each.p_holm, tests)))
    return [
        f"{measure_name(measure)}: no difference from {quoted(differences[0].reference)} found for "
        f"{', '.join(cells)}; the widest interval is ±{amount(half, measure)}. "
        "That is no evidence that they are equal."
    ]


def _evidence(each: Estimate, p: float, measure: str, comparison: Comparison) -> str:
    assert each.low is not None and each.high is not None
    spread = interval(each.low, each.high, measure) if each.low < each.high else f"all {each.n} seeds equal"
    seeds = f", {each.n} of {len(comparison.seeds)} seeds" if each.n < len(comparison.seeds) else ""
    return f"{spread}, p {p_value(p) if p < 0.001 else f'= {p_value(p)}'}{seeds}"


def _caveat(each: Estimate, p_holm: float, tests: int) -> list[str]:
    """Said where the interval, which is not corrected, and the corrected test disagree."""
    if each.p is None or each.p >= LEVEL or p_holm < LEVEL:
        return []
    side = "above" if each.mean > 0 else "below"
    return [f"interval {side} 0, but not after Holm's correction over {tests} tests"]


def _too_few(n: int, what: str) -> str:
    return f"{'no seed has' if n == 0 else 'only one seed has'} {what}"
