"""Gains of groups of peers, and of the peers of a group by their distance from another one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.figures.gains import Row, draw_gains, rows_of
from coordinator.figures.style import (
    BLACK,
    COLOURS,
    DASHES,
    MARKERS,
    NARROW,
    SMALL,
    WIDE,
    figure_of,
    panel,
    plain,
    write_form,
)
from coordinator.measures.gains import FOR_COMPARISON, Gain
from coordinator.records.files.probe_curves import gains_by_distance
from coordinator.reports.control_runs import OVER_CONTROL_RUNS
from coordinator.reports.wording import CONDITIONS, examples, probe_name

MOST_GROUPS = 4  # that are drawn
MOST_ROUNDS = 5  # after which gains by distance are drawn
PANEL, KEY = 2.3, 0.3  # inches: height of a panel, and of a line of its legend
LINKS = "links from the nearest peer of another group"


def save_groups(summary: Mapping[str, Any], path: Path, narrow: bool = False) -> bool:
    """Draw the gains of each group over each control; False, without a file, if there is none, or more than a few."""
    groups = summary.get("groups", {})
    found: dict[str, Sequence[Row]] = {
        f"{probe_name(probe)} probe: {name}": rows_of({**summary, "probes": group["probes"]}, probe)
        for name, group in groups.items()
        for probe, row in group["probes"].items()
        if "gain" in row and probe not in FOR_COMPARISON
    }
    if not found or len(groups) > MOST_GROUPS:
        return False
    return write_form(draw_gains(found, examples(summary), narrow, "each group of peers"), path, narrow)


def save_distances(
    summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], path: Path, narrow: bool = False
) -> bool:
    """Draw gains against the distance from another group; False, without a file, if there is one distance only.

    rows: those of the table of peers.
    """
    return write_form(draw_distances(summary, list(rows), narrow), path, narrow)


def draw_distances(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], narrow: bool = False
) -> Figure | None:
    """For each group and probe a panel of gains over all controls at the end, and one of those over the rounds."""
    groups = {name: group for name, group in summary.get("groups", {}).items() if len(group["hops"]) > 1}
    shown = [
        (name, group["hops"], probe)
        for name, group in list(groups.items())[:MOST_GROUPS]
        for probe, row in group["probes"].items()
        if "gain" in row and probe not in FOR_COMPARISON
    ]
    if not shown:
        return None
    curves = [gains_by_distance(rows, hops, probe) for _, hops, probe in shown]
    probed = any(len(of_distance) > 1 for each in curves for of_distance in each.values())
    across = 2 if probed and not narrow else 1
    down = len(shown) * (2 if probed and narrow else 1)
    figure = figure_of(NARROW if narrow else WIDE * across / 2, (PANEL + KEY) * down)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for (name, hops, probe), by_round in zip(shown, curves, strict=True):
        title = f"{probe_name(probe)} probe: {plain(name, 20, 1)}"
        _at_the_end(axes.pop(0), title, hops, probe)
        if probed:
            _over_rounds(axes.pop(0), f"{title}, over calibrated", by_round)
    return figure


def _at_the_end(axis: Axes, title: str, hops: Mapping[str, Mapping[str, Any]], probe: str) -> None:
    """Gains with intervals over calibrated and over each control run, side by side at each distance."""
    gains = [gain for gain in (Gain.OVER_CALIBRATED, *OVER_CONTROL_RUNS) if not gain.is_of_upper_mark]
    found = {gain: _by_distance(gain, hops, probe) for gain in gains}
    drawn = {gain: points for gain, points in found.items() if len(points)}
    for place, (gain, points) in enumerate(drawn.items()):
        steps = points[:, 0] + 0.08 * (place - (len(drawn) - 1) / 2)
        mean, low, high = 100 * points[:, 1:].T
        colour = COLOURS[gain.control]
        axis.vlines(steps, low, high, color=colour, linewidth=1.2, alpha=0.7)
        axis.plot(
            steps,
            mean,
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            linestyle=DASHES[place % len(DASHES)],
            linewidth=1.2,
            markersize=4.5,
            label=f"over {CONDITIONS[gain.control]}",
        )
    _finish(axis, title, "gain at the end (points)")


def _by_distance(gain: Gain, hops: Mapping[str, Mapping[str, Any]], probe: str) -> np.ndarray:
    """Rows of (distance, mean, low, high), as fractions."""
    found = []
    for steps, of in hops.items():
        row = of["probes"].get(probe, {})
        if gain.key in row:
            over = row[gain.key]
            ends = [row["gain"], *row["interval"]] if gain is Gain.OVER_CALIBRATED else [*over.values()]
            found.append([int(steps), *(np.nan if end is None else end for end in ends)])
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _over_rounds(axis: Axes, title: str, curves: Mapping[int, Mapping[int, float]]) -> None:
    """The mean gain at each distance, a line for each of a few numbers of rounds, the later the darker."""
    known = sorted({completed for of_distance in curves.values() for completed in of_distance})
    places = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_ROUNDS)).round().astype(int))
    for number, place in enumerate(places):
        completed = known[place]
        points = [(steps, 100 * found[completed]) for steps, found in sorted(curves.items()) if completed in found]
        axis.plot(
            *zip(*points, strict=True),
            color=BLACK,
            alpha=0.25 + 0.75 * (number + 1) / len(places) if len(places) > 1 else 1.0,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=DASHES[-1 - number % len(DASHES)] if number < len(places) - 1 else "-",
            linewidth=1.2,
            markersize=4,
            label=f"round {completed:,}",
        )
    _finish(axis, title, "gain (points)")


def _finish(axis: Axes, title: str, label: str) -> None:
    axis.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    panel(axis, title, LINKS, label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=SMALL - 1, frameon=False, ncols=2, loc="best")
