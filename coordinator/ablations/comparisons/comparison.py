"""Compares the cells of an ablation over seeds: from the table of runs to estimates, tests and sentences."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from numbers import Real
from typing import Any, TypeVar

from coordinator.ablations.comparisons.estimates import Comparison, Difference, Missed
from coordinator.ablations.comparisons.headline import headline
from coordinator.ablations.comparisons.sentences import in_words
from coordinator.ablations.runs.parallel_runs import RunStatus
from coordinator.measures.distance import Arrival
from coordinator.measures.gains import Condition, GainMeasure
from coordinator.measures.statistics import Estimate, estimate, holm, paired_difference
from coordinator.measures.targets import NOT_REACHED, Target
from coordinator.measures.verdict import Flag, Void
from coordinator.reports.wording import probe_name

Key = TypeVar("Key")


def compare(
    rows: list[dict[str, Any]],
    cells: Sequence[str],
    reference: str,
    measures: Sequence[str],
    apart: Collection[str] = (),
) -> Comparison:
    """Compare the cells of a table with one row per (cell, seed): columns cell, seed, status, flags and the measures.

    Rows of unfinished runs and values that are missing or not finite are left out; paired differences need both values.
    A target that a seed did not reach (an infinite cost) leaves its cell without a mean and without a difference.
    Cells that are `apart` have no difference either: their means are over other peers than the reference's.
    """
    assert reference in cells
    seeds = tuple(dict.fromkeys(int(row["seed"]) for row in rows))
    finished = {(row["cell"], int(row["seed"])): row for row in rows if _is_finished(row)}
    values = {
        (cell, measure): [_value(finished.get((cell, seed), {}).get(measure)) for seed in seeds]
        for cell, measure in product(cells, measures)
    }
    missed = {key: found for key, of_seeds in values.items() if (found := _missed(key[1], of_seeds)) is not None}
    estimates = {key: estimate([] if key in missed else of_seeds) for key, of_seeds in values.items()}
    void = _void(finished, measures)
    finished_of = {cell: [row for key, row in finished.items() if key[0] == cell] for cell in cells}
    comparison = Comparison(
        cells=tuple(cells),
        seeds=seeds,
        reference=reference,
        measures=tuple(measures),
        estimates=estimates,
        p_holm=_holm_adjusted({key: each for key, each in estimates.items() if is_claim(key[1]) and key not in void}),
        differences=_tested(_paired(values, reference, {*missed, *product(apart, measures)}), reference),
        words=(),
        finished={cell: len(found) for cell, found in finished_of.items()},
        flags={cell: _flags(found) for cell, found in finished_of.items()},
        void=void,
        missed=missed,
        apart=tuple(apart),
    )
    return replace(comparison, headline=tuple(headline(comparison)), words=tuple(in_words(comparison)))


def _is_finished(row: Mapping[str, Any]) -> bool:
    return bool(row.get("status", RunStatus.FINISHED) == RunStatus.FINISHED)


def _paired(
    values: Mapping[tuple[str, str], Sequence[float]], reference: str, left_out: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Estimate]:
    """By (cell, measure), the difference from the reference, unless that or the cell itself has none to compare."""
    return {
        (cell, measure): paired_difference(of_seeds, values[reference, measure])
        for (cell, measure), of_seeds in values.items()
        if cell != reference and not _over_another_control(measure)
        if (cell, measure) not in left_out and (reference, measure) not in left_out
    }


def _tested(differences: Mapping[tuple[str, str], Estimate], reference: str) -> tuple[Difference, ...]:
    """The differences, by (cell, measure), with their p values corrected as one family."""
    p_values = _holm_adjusted(differences)
    return tuple(
        Difference(cell, reference, measure, found, p_values.get((cell, measure)))
        for (cell, measure), found in differences.items()
    )


def to_table(comparison: Comparison) -> dict[str, Any]:
    """The comparison as a table for JSON: gains as fractions, None for values that could not be computed."""
    return {
        "cells": list(comparison.cells),
        "seeds": list(comparison.seeds),
        "reference": comparison.reference,
        "measures": list(comparison.measures),
        "finished": comparison.finished,
        "flags": comparison.flags,
        "not_compared": list(comparison.apart),
        "estimates": [
            {"cell": cell, "measure": measure}
            | _numbers(found)
            | {
                "p_holm": comparison.p_holm.get((cell, measure)),
                "verdict": comparison.verdict(cell, measure) or "",
                "no_verdict_because": comparison.void.get((cell, measure), ""),
            }
            | _reached(comparison, cell, measure, found.n)
            for (cell, measure), found in comparison.estimates.items()
        ],
        "differences": difference_rows(comparison),
        "headline": list(comparison.headline),
        "words": list(comparison.words),
    }


def _reached(comparison: Comparison, cell: str, measure: str, num_known: int) -> dict[str, Any]:
    """How many seeds have reached a target and how many have not, and what it cost those that have; {} for others."""
    missed = comparison.missed.get((cell, measure))
    if missed is None:
        return {} if Target.parse(measure) is None else {"reached": num_known, "not_reached": 0}
    ends = {"reached_low": missed.low, "reached_high": missed.high} if missed.seeds < missed.of else {}
    return {"reached": missed.of - missed.seeds, "not_reached": missed.seeds, **ends}


def difference_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of `differences.parquet`: one per compared measure and cell other than the reference."""
    return [
        {"cell": difference.cell, "reference": difference.reference, "measure": difference.measure}
        | _numbers(difference.estimate)
        | {"p_holm": difference.p_holm}
        for difference in comparison.differences
    ]


def is_claim(measure: str) -> bool:
    """Whether the measure is a gain that a verdict may rest on."""
    number = GainMeasure.parse(measure)
    return number is not None and number.claims


def _over_another_control(measure: str) -> bool:
    """Whether the measure is a gain of the trained peers over a control other than the calibrated ones."""
    number = GainMeasure.parse(measure)
    return (
        number is not None
        and number.gain.treated is Condition.TRAINED
        and number.gain.control is not Condition.CALIBRATED
    )


def _void(finished: Mapping[tuple[str, int], dict[str, Any]], measures: Sequence[str]) -> dict[tuple[str, str], str]:
    """By (cell, measure), why there is no verdict from a control run: in how many seeds it was idle, or diverged."""
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for (cell, _), row in finished.items():
        for number in filter(None, map(GainMeasure.parse, measures)):
            reason = _why_void(row, number) if number.claims and number.gain.is_over_control_run else ""
            if reason:
                reasons.setdefault((cell, number.name), Counter())[reason] += 1
    runs = Counter(cell for cell, _ in finished)
    return {
        (cell, measure): " and ".join(f"{reason} in {count} of {runs[cell]} seeds" for reason, count in counts.items())
        for (cell, measure), counts in reasons.items()
    }


def _why_void(row: Mapping[str, Any], number: GainMeasure) -> str:
    """Why a run has no verdict from a control run; empty if it has one."""
    why = row.get(f"controls.{number.gain.control.control_run}.void")
    return {Void.IDLE: "was idle", Void.DIVERGED: "diverged"}[Void(why)] if why else ""


def _missed(measure: str, of_seeds: Sequence[float]) -> Missed | None:
    """How many seeds have not reached a target, or have nothing arrived; None if none, or for any other measure."""
    if Target.parse(measure) is None and Arrival.parse(measure) is None:
        return None
    known = [value for value in of_seeds if not math.isnan(value)]
    reached = [value for value in known if value != NOT_REACHED]
    if len(reached) == len(known):
        return None
    ends = (min(reached), max(reached)) if reached else (math.nan, math.nan)
    return Missed(len(known) - len(reached), len(known), *ends)


def _value(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan


def _flags(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many of a cell's rows have each flag; the artefact flag is counted per probe if the rows name the probes."""
    raised = []
    for row in rows:
        flags, probes = _split(row.get("flags")), _split(row.get("artefacts"))
        for flag in sorted(flags):
            by_probe = [f"{Flag.ARTEFACT} ({probe_name(probe)})" for probe in sorted(probes)]
            raised += (by_probe or [flag]) if flag == Flag.ARTEFACT else [flag]
    return dict(Counter(raised))


def _split(text: object) -> set[str]:
    return {*re.split(r"[,\s]+", text)} - {""} if isinstance(text, str) else set()


def _holm_adjusted(estimates: Mapping[Key, Estimate]) -> dict[Key, float]:
    """Holm-adjusted p values, as one family; an estimate that is 0 with every seed keeps p = 1 and is not counted."""
    p_values = {key: single.p for key, single in estimates.items() if single.p is not None}
    tested = [key for key in p_values if estimates[key].varies]
    return p_values | dict(zip(tested, holm([p_values[key] for key in tested]), strict=True))


def _numbers(found: Estimate) -> dict[str, Any]:
    return {name: value if value is None or math.isfinite(value) else None for name, value in asdict(found).items()}
