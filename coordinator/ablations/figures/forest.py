"""The forest plot of an ablation: the mean of every measure in every cell, with its interval over the seeds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT

from coordinator.ablations.comparisons.estimates import LEVEL, Comparison
from coordinator.ablations.comparisons.sentences import not_reached
from coordinator.ablations.figures.styles import Style, Styles
from coordinator.figures.gains import SIDES
from coordinator.figures.style import GREY, NARROW, SMALL, TEXT, WIDE, figure_of, plain, shown
from coordinator.measures import declared
from coordinator.measures.distance import Arrival
from coordinator.measures.statistics import Estimate
from coordinator.measures.targets import Target
from coordinator.measures.units import ANY, NOT_NEGATIVE, SHARE, Range
from coordinator.measures.verdict import Side
from coordinator.reports.wording import factor_of, heading, interval, is_gain, measure_name, number, unit_of

MAX_LINES, MAX_MEASURES = 40, 8  # drawn of each; the table on the page has all
ACROSS = 4  # panels side by side
NAME, TITLE = 26, 22  # characters in a line
FARTHEST = 4.0  # an interval is drawn this many median half-widths from its mean, at most
MEASURES = {measure.name: measure for measure in declared.SCALARS}


def draw_estimates(comparison: Comparison, styles: Styles, narrow: bool = False) -> Figure | None:
    """A panel per measure with a line per cell: the mean over seeds and its 95% interval; for gains also 0.

    Panels are side by side, or one below the other if `narrow`. At most MAX_MEASURES panels of MAX_LINES lines. Of a
    single cell, one panel with a line per gain.
    """
    cells, measures = comparison.cells[:MAX_LINES], comparison.measures[:MAX_MEASURES]
    if not cells or not measures:
        return None
    gains = [measure for measure in comparison.measures if is_gain(measure)]
    if len(cells) == 1 and gains:
        return _draw_gains(comparison, gains, styles[cells[0]], narrow)
    names = [plain(f"{cell} (reference)" if cell == comparison.reference else cell, NAME) for cell in cells]
    columns = 1 if narrow else min(len(measures), ACROSS)
    rows = -(-len(measures) // columns)
    titles = [plain(heading(measure), TITLE) for measure in measures]
    inches = 0.7 + 0.15 * (max(title.count("\n") for title in titles) + 1)
    inches += sum(0.12 + 0.14 * (name.count("\n") + 1) for name in names)
    note = left_out_note(comparison)
    figure = figure_of(NARROW if narrow else WIDE * (0.3 + 0.7 * columns / ACROSS), rows * inches + 0.2 * bool(note))
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(measures) :]:
        figure.delaxes(axis)
    for axis, measure, title in zip(axes.flat, measures, titles, strict=False):
        _draw_panel(axis, comparison, cells, measure, styles)
        axis.set_title(title, fontsize=SMALL + 0.5, loc="left")
        axis.set_xlabel(_unit(measure), fontsize=SMALL)
        axis.set_yticks(range(len(cells)), names, fontsize=SMALL)
        axis.set_ylim(len(cells) - 0.5, -0.5)
    if note:
        figure.suptitle(note, fontsize=TEXT)
    return figure


def _draw_gains(comparison: Comparison, gains: Sequence[str], style: Style, narrow: bool) -> Figure:
    """All gains of a single cell, by probe, around the line of no gain; filled: told from 0 after Holm's correction."""
    cell, within = comparison.cells[0], Range(-1.0, 1.0)
    probes = list(dict.fromkeys(measure.split(".")[1] for measure in gains))
    ordered = sorted(gains, key=lambda measure: probes.index(measure.split(".")[1]))
    estimates = {measure: comparison.estimates[cell, measure] for measure in ordered[:MAX_LINES]}
    known = {measure: each for measure, each in estimates.items() if np.isfinite(each.mean)}
    figure = figure_of(NARROW if narrow else WIDE * 0.8, 0.85 + (0.2 if narrow else 0.27) * len(known))
    axis = figure.subplots()
    axis.axvline(0, color="black", linewidth=0.9, zorder=1)
    if known:
        axis.set_xlim(*_limits(list(known.values()), 100.0, within, True))
    for place, (measure, each) in enumerate(known.items()):
        told = _is_told(comparison, cell, measure)
        side = Side.NEITHER if not told else Side.ABOVE if each.mean > 0 else Side.BELOW
        _draw_interval(axis, place, each, 100.0, within, replace(style, colour=SIDES[side]), not told)
    names = [plain(measure_name(measure), NAME) for measure in known]
    axis.set_yticks(range(len(known)), names, fontsize=SMALL)
    axis.set_ylim(len(known) - 0.5, -0.5)
    if not narrow:
        right = axis.secondary_yaxis("right")
        right.set_yticks(
            range(len(known)), [_numbers(measure, each) for measure, each in known.items()], fontsize=SMALL
        )
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
    _plain_frame(axis)
    axis.locator_params(axis="x", nbins=8)
    figure.supxlabel(_caption(len(comparison.seeds), "\n" if narrow else " "), fontsize=SMALL)
    return figure


def _is_told(comparison: Comparison, cell: str, measure: str) -> bool:
    """Whether a gain is told from 0 after Holm's correction."""
    p = comparison.p_holm.get((cell, measure))
    return p is not None and p < LEVEL


def _caption(num_seeds: int, over: str) -> str:
    if num_seeds < 2:
        return "gain (percentage points)"
    return (
        f"gain (percentage points), 95% intervals over {num_seeds} seeds;{over}"
        "filled: told from 0 after Holm's correction"
    )


def _numbers(measure: str, known: Estimate) -> str:
    spread = "" if known.low is None or known.high is None else f" ({interval(known.low, known.high, measure)})"
    return number(known.mean, measure) + spread


def left_out_note(comparison: Comparison) -> str:
    """A note on how many cells and measures are drawn; empty if all are."""
    limits = ((comparison.cells, MAX_LINES, "cells"), (comparison.measures, MAX_MEASURES, "measures"))
    return "\n".join(f"the first {limit} of {len(items)} {noun}" for items, limit, noun in limits if len(items) > limit)


def _draw_panel(axis: Axes, comparison: Comparison, cells: Sequence[str], measure: str, styles: Styles) -> None:
    factor, within = factor_of(measure), range_of(measure)
    found = {cell: comparison.estimates.get((cell, measure)) for cell in cells}
    known = {cell: each for cell, each in found.items() if each is not None and np.isfinite(each.mean)}
    if is_gain(measure):
        axis.axvline(0, color="black", linewidth=0.9, zorder=1)
    if comparison.reference in known:
        level = known[comparison.reference].mean * factor
        axis.axvline(level, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    if known:
        axis.set_xlim(*_limits(list(known.values()), factor, within, is_gain(measure)))
    for cell, each in known.items():
        hollow = is_gain(measure) and not _is_told(comparison, cell, measure)
        _draw_interval(axis, cells.index(cell), each, factor, within, styles[cell], hollow)
    for place, cell in enumerate(cells):
        missed = comparison.missed.get((cell, measure))
        if missed is not None:
            words = f"{not_reached(measure)} in {missed.seeds}/{missed.of}"
            axis.text(0.03, place, words, transform=axis.get_yaxis_transform(), fontsize=SMALL, color=GREY, va="center")
    _plain_frame(axis)
    if not known:
        axis.set_xticks([])


def _plain_frame(axis: Axes) -> None:
    axis.tick_params(axis="x", labelsize=SMALL - 0.5)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x", alpha=0.3, linewidth=0.6)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _draw_interval(
    axis: Axes, place: int, known: Estimate, factor: float, within: Range, style: Style, hollow: bool
) -> None:
    """A point, hollow for a gain that is not told from 0, and its interval, in the possible range of the measure.

    An arrow where the interval goes on beyond the scale, which is set before.
    """
    if known.low is not None and known.high is not None:
        ends = factor * within.clip(np.array([known.low, known.high]))
        axis.plot(ends, [place, place], color=style.colour, linewidth=2, zorder=2, solid_capstyle="butt")
        left, right = axis.get_xlim()
        for cut, border, arrow in ((ends[0] < left, left, CARETLEFT), (ends[1] > right, right, CARETRIGHT)):
            if cut:
                axis.plot([border], [place], marker=arrow, color=style.colour, markersize=6, zorder=2, clip_on=False)
    face = "white" if hollow else style.colour
    axis.plot(
        [known.mean * factor],
        [place],
        style.marker or "o",
        color=style.colour,
        markerfacecolor=face,
        markersize=6,
        zorder=3,
    )


def _limits(known: Sequence[Estimate], factor: float, within: Range, gain: bool) -> tuple[float, float]:
    """The ends of the scale: all means, and intervals as far as they are not many times as wide as most."""
    halves = [(each.high - each.low) / 2 for each in known if each.low is not None and each.high is not None]
    reach = FARTHEST * float(np.median(halves)) if halves else 0.0
    spans = [
        np.clip([each.low, each.high], each.mean - reach, each.mean + reach)
        for each in known
        if each.low is not None and each.high is not None
    ]
    ends = within.clip(np.array([*(each.mean for each in known), *np.ravel(spans)])) * factor
    low, high = float(ends.min()), float(ends.max())
    low, high = (min(low, 0.0), max(high, 0.0)) if gain else (low, high)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def range_of(measure: str) -> Range:
    """The possible values of a measure in a run's summary, by its dotted name."""
    section, _, rest = measure.partition(".")
    name, _, last = rest.partition(".")
    if is_gain(measure):
        return Range(-1.0, 1.0)
    if section == "consensus" and name in MEASURES:
        return MEASURES[name].range
    if section == "probes" and last and "over" not in last and "gain" not in last:
        return SHARE
    if Target.parse(measure) is not None or Arrival.parse(measure) is not None or section == "network":
        return NOT_NEGATIVE
    return NOT_NEGATIVE if measure in ("rounds", "bytes_exchanged", "relative_weight_change") else ANY


def _unit(measure: str) -> str:
    """The label of an axis with a measure's values, as the table has them."""
    section, _, rest = measure.partition(".")
    if is_gain(measure):
        return "percentage points"
    if section == "consensus" and rest.partition(".")[0] in MEASURES:
        found = MEASURES[rest.partition(".")[0]]
        return found.unit.name or shown(found)[0]
    if range_of(measure) == SHARE:
        return "accuracy (fraction)"
    if Target.parse(measure) is not None or Arrival.parse(measure) is not None:
        return unit_of(measure) or "rounds"
    if unit_of(measure):
        return unit_of(measure)
    return {"bytes_exchanged": "bytes", "rounds": "rounds"}.get(measure, plain(heading(measure), TITLE))
