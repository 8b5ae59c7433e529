"""Curves over the rounds of the students' accuracy on their own classes and on those that only others hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.figures.style import BLUE, DASHES, NARROW, SMALL, VERMILLION, WIDE, figure_of, panel, plain, write_form
from coordinator.measures.gains import Condition
from coordinator.records.files.probe_curves import ProbeCurve
from coordinator.reports.wording import SCOPE_WORDS, probe_name

ACROSS, PANEL, KEY = 3, 2.35, 0.22  # panels side by side; inches: height of a panel, and of a line of the legend
STYLES = {"own": (BLUE, DASHES[0], "o"), "others": (VERMILLION, DASHES[1], "s")}  # by scope
Curves = Mapping[str, Mapping[str, ProbeCurve]]  # by probe and scope


def save_class_curves(curves: Curves, accuracies: Mapping[str, Any], path: Path, narrow: bool = False) -> bool:
    """Draw the curves; False, without a file, if there are none.

    accuracies: the part `class_accuracy` of a summary, whose levels of calibrated peers stand beside the curves.
    """
    return write_form(draw_class_curves(curves, accuracies, narrow), path, narrow)


def draw_class_curves(curves: Curves, accuracies: Mapping[str, Any], narrow: bool = False) -> Figure | None:
    """The figure of `save_class_curves`: a panel for each probe; None if there are no curves."""
    if not curves:
        return None
    across = 1 if narrow else min(len(curves), ACROSS)
    down, keys = -(-len(curves) // across), 1 if narrow else 2
    height = PANEL * down + KEY * len(STYLES) * 2 / keys
    figure = figure_of(NARROW if narrow else WIDE * max(across, 2) / ACROSS, height)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes[len(curves) :]:
        figure.delaxes(axis)
    for axis, (probe, scopes) in zip(axes, curves.items(), strict=False):
        _draw_probe(axis, probe, scopes, accuracies.get(probe, {}))
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        [*found.values()],
        [*found],
        loc="outside lower center",
        ncols=keys,
        fontsize=SMALL,
        frameon=False,
        handlelength=2.4,
    )
    return figure


def _draw_probe(axis: Axes, probe: str, scopes: Mapping[str, ProbeCurve], accuracies: Mapping[str, Any]) -> None:
    for scope, curve in scopes.items():
        colour, dash, marker = STYLES[scope]
        words = SCOPE_WORDS[scope]
        axis.plot(
            curve.rounds, 100 * curve.mean, color=colour, linestyle=dash, marker=marker, markersize=3.5, label=words
        )
        level = accuracies.get(scope, {}).get(Condition.CALIBRATED)
        if level is not None:
            axis.axhline(100 * level, color=colour, linestyle=":", linewidth=1.2, label=f"{words}, calibrated")
    panel(axis, f"{plain(probe_name(probe, marked=True), 24)} probe", "round", "accuracy (%)")
