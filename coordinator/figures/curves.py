"""Curves of a run over its rounds: loss, the declared measures, and the probes beside the levels of their controls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.figures.style import (
    BLUE,
    COLOURS,
    DASHES,
    NARROW,
    SMALL,
    WIDE,
    figure_of,
    from_zero,
    panel,
    plain,
    shown,
    write_form,
)
from coordinator.measures.declared import Measure, Shown, shown_in
from coordinator.measures.gains import Condition
from coordinator.records.files.probe_curves import ProbeCurve
from coordinator.reports.wording import CONDITIONS, probe_name

CURVES = shown_in(Shown.CURVE)
ACROSS = 3  # panels side by side
PANEL, KEY = 2.35, 0.32  # inches: height of a panel, and of a line of the legend
LOG_RANGE = 50.0  # ratio of the largest to the smallest loss from which its axis is logarithmic


def save_consensus(
    rows: Sequence[Mapping[str, Any]],
    probes: Mapping[str, Any],
    path: Path,
    probed: Mapping[str, ProbeCurve] = MappingProxyType({}),
    narrow: bool = False,
) -> bool:
    """Plot the curves of a run; False, without a file, if nothing was recorded over the rounds.

    rows: those of the rounds table. probes: by name, accuracies by condition, whose levels stand beside the curves in
    `probed`. narrow: all panels are stacked.
    """
    return write_form(draw_consensus(rows, probes, probed, narrow), path, narrow)


def draw_consensus(
    rows: Sequence[Mapping[str, Any]],
    probes: Mapping[str, Any],
    probed: Mapping[str, ProbeCurve] = MappingProxyType({}),
    narrow: bool = False,
) -> Figure | None:
    """The figure of `save_consensus`; None if nothing was recorded over the rounds."""
    losses = _points(rows, "loss")
    measures = [measure for measure in CURVES if len(_points(rows, measure.name)[0])]
    count = bool(len(losses[0])) + len(measures) + len(probed)
    if not count:
        return None
    columns = 1 if narrow else min(count, ACROSS)
    height = -(-count // columns)
    levels = [name for name, _ in _levels(probes, probed)]
    keys = -(-(2 * bool(probed) + len(levels)) // (2 if narrow else 5))
    width = NARROW if narrow else WIDE * columns / ACROSS
    figure = figure_of(width, PANEL * height + KEY * keys)
    axes = list(figure.subplots(height, columns, squeeze=False).flat)
    for axis in axes[count:]:
        figure.delaxes(axis)
    remaining = iter(axes)
    if len(losses[0]):
        _draw_loss(next(remaining), *losses)
    for measure in measures:
        _draw_measure(next(remaining), measure, *_points(rows, measure.name))
    for name, curve in probed.items():
        _draw_probe(next(remaining), name, curve, probes.get(name, {}))
    if probed:
        _key(figure, axes[count - len(probed) : count], 2 if narrow else 5)
    return figure


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The rounds in which a number was recorded and is finite, and its values."""
    known = [(row["round"], row[name]) for row in rows if row.get(name) is not None and np.isfinite(row[name])]
    table = np.array(known, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _draw_loss(axis: Axes, rounds: np.ndarray, values: np.ndarray) -> None:
    _line(axis, rounds, values)
    panel(axis, "loss", "round", "loss, mean over students")
    if values.min() > 0 and values.max() > LOG_RANGE * values.min():
        axis.set_yscale("log")
        axis.set_ylabel("loss, mean over students (log scale)", fontsize=SMALL)
    elif values.min() >= 0:
        from_zero(axis)


def _draw_measure(axis: Axes, measure: Measure[Any], rounds: np.ndarray, values: np.ndarray) -> None:
    label, factor = shown(measure)
    _line(axis, rounds, factor * values)
    panel(axis, measure.title, "round", label)
    if measure.range.low == 0:
        from_zero(axis)
    if measure.range.high is not None and factor * measure.range.high < axis.get_ylim()[1]:
        axis.set_ylim(top=factor * measure.range.high * 1.02)  # the line of 100% is seen, too


def _line(axis: Axes, rounds: np.ndarray, values: np.ndarray) -> None:
    """Values as a line, with a dot for each where they are few."""
    axis.plot(rounds, values, marker="." if len(values) <= 40 else "", color=BLUE, linewidth=1.5)


def _draw_probe(axis: Axes, name: str, curve: ProbeCurve, accuracies: Mapping[str, Any]) -> None:
    """A probe's accuracy over the rounds, with a level for the calibrated peers and for each control run."""
    low, mean, high = (100 * values for values in (curve.low, curve.mean, curve.high))
    axis.fill_between(curve.rounds, low, high, color=BLUE, alpha=0.2, linewidth=0, label="all students")
    axis.plot(curve.rounds, mean, marker=".", color=BLUE, linewidth=1.5, label="mean of the students")
    for condition, dash in _levels({name: accuracies}, (name,)):
        axis.axhline(
            100 * accuracies[condition],
            color=COLOURS[condition],
            linestyle=dash,
            linewidth=1.4,
            label=CONDITIONS[condition],
        )
    panel(axis, f"{plain(probe_name(name, marked=True), 24)} probe", "round", "accuracy (%)")


def _levels(probes: Mapping[str, Any], drawn: Sequence[str] | Mapping[str, Any]) -> list[tuple[Condition, Any]]:
    """The conditions of which any of the drawn probes has a level, each with its dashes."""
    known = {name for probe in drawn for name in probes.get(probe, {})}
    conditions = [each for each in Condition if each is Condition.CALIBRATED or each.control_run]
    dashes = {each: DASHES[1 + place % (len(DASHES) - 1)] for place, each in enumerate(conditions)}
    return [(each, dash) for each, dash in dashes.items() if each in known]


def _key(figure: Figure, axes: Sequence[Axes], columns: int) -> None:
    """One legend for all probes, below the panels."""
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=min(columns, len(found)),
        fontsize=SMALL,
        frameon=False,
        handlelength=2.4,
    )
