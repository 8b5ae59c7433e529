"""Honest gains by rule and number of liars, as a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.ablations.comparisons.attacks import TRUTH, AttackRow
from coordinator.ablations.figures.panels import tell_of_others, whole_blocks
from coordinator.figures.style import BLACK, DASHES, MARKERS, NARROW, PALETTE, SMALL, WIDE, figure_of, panel, plain
from coordinator.reports.wording import gain_of

PANEL, KEY = 2.3, 0.2  # inches: height of a panel, of a line of the legend


def draw_attacks(rows: Sequence[AttackRow], narrow: bool = False) -> Figure | None:
    """A panel per probe, attack and other settings: honest gain against the number of liars, a line per rule."""
    found = [
        (measure, others, attack)
        for measure in dict.fromkeys(row.measure for row in rows)
        for others in dict.fromkeys(row.cell.others for row in rows)
        for attack in dict.fromkeys(row.cell.attack for row in rows if row.cell.attack != TRUTH)
    ]
    if not found:
        return None
    panels, others = whole_blocks(found, lambda each: each[0])
    rules = list(dict.fromkeys(row.cell.rule for row in rows))
    across = 1 if narrow else min(len(panels), 3)
    down, keys = -(-len(panels) // across), 2 if narrow else 5
    lines = -(-len(rules) // keys)
    figure = figure_of(NARROW if narrow else WIDE * max(across, 2) / 3, PANEL * down + KEY * (lines + 1))
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes[len(panels) :]:
        figure.delaxes(axis)
    for axis, (measure, settings, attack) in zip(axes, panels, strict=False):
        about = [row for row in rows if row.measure == measure and row.cell.others == settings]
        kept = [row for row in about if row.cell.attack in (attack, TRUTH)]
        _draw_rules(axis, kept, rules)
        title = ", ".join(filter(None, [settings, attack]))
        panel(axis, plain(f"{gain_of(measure)}: {title}", 34, 2), "liars", "honest gain (points)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0].get_legend_handles_labels()
    missing = [gain_of(measure) for measure, _, _ in others]
    tell_of_others(figure, len(others), missing, "the tables of the page have all", 48 if narrow else 100)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(keys, len(rules)), fontsize=SMALL, frameon=False
    )
    return figure


def _draw_rules(axis: Axes, rows: Sequence[AttackRow], rules: Sequence[str]) -> None:
    axis.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    for place, rule in enumerate(rules):
        known = [row for row in rows if row.cell.rule == rule and np.isfinite(row.gain.mean)]
        known.sort(key=lambda row: row.cell.liars)
        aside = 0.06 * (place - (len(rules) - 1) / 2)
        liars = [row.cell.liars + aside for row in known]
        colour = PALETTE[place % len(PALETTE)]
        low, high = (
            [np.nan if end is None else 100 * end for end in ends]
            for ends in ([row.gain.low for row in known], [row.gain.high for row in known])
        )
        axis.vlines(liars, low, high, color=colour, linewidth=1.2, alpha=0.6)
        axis.plot(
            liars,
            [100 * row.gain.mean for row in known],
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            linestyle=DASHES[place // len(PALETTE) % len(DASHES)],
            linewidth=1.4,
            markersize=4.5,
            label=plain(rule, 24, 1),
        )
