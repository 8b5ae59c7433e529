"""Gains of a group's peers against their distance from another group: who hears four good sensors on which graph?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.ablations.figures.panels import tell_of_others, whole_blocks
from coordinator.ablations.figures.styles import Style, Styles, legend, legend_height
from coordinator.figures.style import BLACK, NARROW, WIDE, figure_of, panel, plain
from coordinator.measures.gains import FOR_COMPARISON, Gain, GainMeasure
from coordinator.measures.statistics import Estimate, estimate
from coordinator.reports.wording import CONDITIONS, probe_name

ACROSS, PANEL, KEY = 3, 2.4, 1.7  # inches: height of a panel, width of a short entry of the legend
LINKS = "links from the nearest peer of another group"
GAINS = [Gain.OVER_CALIBRATED, *(gain for gain in Gain if gain.is_over_control_run)]
Subject = tuple[str, str, Gain]  # group, probe, gain
Found = dict[str, dict[int, Estimate]]  # by cell and distance


def by_distance(rows: Sequence[Mapping[str, Any]], cells: Sequence[str]) -> dict[Subject, Found]:
    """Mean gains with intervals over seeds; only of groups that have several distances in some cell.

    Over calibrated networks and over each control run. rows: those of the results table.
    """
    parsed = {name: GainMeasure.parse(name) for row in rows for name in row if ".hops." in name}
    values: dict[Subject, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        for name, number in parsed.items():
            value = row.get(name)
            if number is None or not number.claims or number.gain not in GAINS or value is None:
                continue
            group, _, steps = number.scope.partition(".hops.")
            subject = values.setdefault((group, number.probe, number.gain), {})
            subject.setdefault(row["cell"], {}).setdefault(int(steps), []).append(float(value))
    return {
        subject: {
            cell: {far: estimate(of) for far, of in sorted(found[cell].items())} for cell in cells if cell in found
        }
        for subject, found in values.items()
        if any(len(of_cell) > 1 for of_cell in found.values())
    }


def draw_distances(
    rows: Sequence[Mapping[str, Any]], cells: Sequence[str], styles: Styles, narrow: bool = False
) -> Figure | None:
    """A panel per group, probe and control, a line per cell; None without groups at several distances."""
    known = by_distance(rows, cells)
    drawn = [subject for gain in GAINS for subject in sorted(known, key=lambda each: each[:2]) if subject[2] is gain]
    drawn.sort(key=lambda each: each[:2])  # stable: the gains of a group and probe stay in their order
    drawn, others = whole_blocks([each for each in drawn if each[1] not in FOR_COMPARISON], lambda each: each[:2])
    if not drawn:
        return None
    found = [(each, known[each]) for each in drawn]
    entries = styles.entries([cell for cell in cells if any(cell in of for _, of in found)])
    across = 1 if narrow else min(len(found), ACROSS)
    down, width = -(-len(found) // across), NARROW if narrow else WIDE
    keys = int(width // KEY)
    figure = figure_of(width, PANEL * down + legend_height(entries, keys))
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes[len(found) :]:
        figure.delaxes(axis)
    for axis, ((group, probe, gain), of) in zip(axes, found, strict=False):
        for place, (cell, points) in enumerate(of.items()):
            _draw_cell(axis, points, styles[cell], 0.05 * (place - (len(of) - 1) / 2))
        axis.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
        title = f"{plain(group, 16, 1)}: {probe_name(probe)} over {CONDITIONS[gain.control]}"
        panel(axis, plain(title, 34, 2), LINKS if narrow else "links from another group", "gain (points)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    missing = [f"{plain(group, 16, 1)}: {probe_name(probe)}" for group, probe, _ in others]
    tell_of_others(figure, len(others), missing, "results.parquet has all", 48 if narrow else 100)
    if len(entries) > 1:
        legend(figure, entries, columns=keys)
    return figure


def _draw_cell(axis: Axes, points: Mapping[int, Estimate], style: Style, aside: float) -> None:
    far = np.array(list(points)) + aside
    low, high = (
        [np.nan if end is None else 100 * end for end in ends]
        for ends in ([each.low for each in points.values()], [each.high for each in points.values()])
    )
    axis.vlines(far, low, high, color=style.colour, linewidth=1.2, alpha=0.6)
    means = [100 * each.mean for each in points.values()]
    axis.plot(far, means, color=style.colour, marker=style.marker, linestyle=style.dash, linewidth=1.4, markersize=4.5)
