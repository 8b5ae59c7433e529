"""The gains of a run: points with intervals around the line of no gain, which is the level of each control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.figures.style import (
    BLUE,
    GREY,
    NARROW,
    SMALL,
    TEXT,
    VERMILLION,
    WIDE,
    figure_of,
    plain,
    write_form,
)
from coordinator.measures.gains import FOR_COMPARISON
from coordinator.measures.verdict import Interval, Side, Verdict
from coordinator.reports.control_runs import OVER_CONTROL_RUNS, no_verdict_reason
from coordinator.reports.formatting import points, points_between
from coordinator.reports.wording import CONDITIONS, examples, probe_name

SIDES = {Side.ABOVE: BLUE, Side.NEITHER: GREY, Side.BELOW: VERMILLION}
ROW, AROUND = 0.27, 0.55  # inches: of a row, and around those of a probe
NARROW_ROW, NARROW_AROUND = 0.2, 0.22  # the same in a narrow figure
LINE = 0.17  # of a further line of a title
ACROSS = 2  # probes side by side
ALIKE = 4.0  # probes whose gains differ by no more than this factor share a scale
MOST_DOTS = 64  # students whose own gains are drawn


@dataclass(frozen=True)
class Row:
    """A line of the figure: a control, the gain over it in points, each student's own; no gain if it is not known."""

    control: str
    gain: Interval | None
    students: Sequence[float]
    scaled: bool  # whether the scale must reach it
    note: str = ""


def save_gains(summary: Mapping[str, Any], path: Path, narrow: bool = False) -> bool:
    """Draw the gains over the calibrated peers and over each control run; False, without a file, if there are none.

    Probes whose result depends on the features' scale are drawn only where there is no other.
    """
    found = {name: rows_of(summary, name) for name, row in summary["probes"].items() if "gain" in row}
    claimed = {name: rows for name, rows in found.items() if name not in FOR_COMPARISON}
    if not found:
        return False
    figure = draw_gains(claimed or found, examples(summary), narrow)
    write_form(figure, path, narrow)
    return True


def rows_of(summary: Mapping[str, Any], probe: str) -> list[Row]:
    """The rows of a probe: first over the calibrated peers, then over the control runs, also those without a verdict.

    The gaps to supervised peers and pooled training do not stretch the scale: these upper marks may be far above.
    """
    table = summary["probes"][probe]
    own = table.get("peers", {})
    low, high = table["interval"]
    rows = [Row("calibrated", _in_points(table["gain"], low, high), _each(own.get("gain", ())), True)]
    for gain in OVER_CONTROL_RUNS:
        name, over = CONDITIONS[gain.control], table.get(gain.key)
        void = table.get("controls", {}).get(gain.control) == Verdict.NONE
        note = f"no verdict: {no_verdict_reason(summary, gain.control)}" if void else ""
        if over:
            interval = _in_points(over["mean"], over["low"], over["high"])
            rows.append(Row(name, interval, _each(own.get(gain.key, ())), not gain.is_of_upper_mark, note))
        elif void:
            rows.append(Row(name, None, (), False, note))
    return rows


def draw_gains(probes: Mapping[str, Sequence[Row]], noun: str, narrow: bool = False, who: str = "") -> Figure:
    """A panel per probe with a row per control; probes of like gains share the scale. noun: of the test images.

    Panels are side by side, with the numbers; if `narrow`, one below the other, as low as a phone's screen asks for.
    who: gained, by default the trained peers; then the keys of `probes` are titles.
    """
    columns = 1 if narrow else min(len(probes), ACROSS)
    titles = [plain(name, 30, 2) if who else f"{plain(probe_name(name, marked=True), 22, 2)} probe" for name in probes]
    row, around = (NARROW_ROW, NARROW_AROUND) if narrow else (ROW, AROUND)
    inches = [
        row * len(rows) + around + LINE * title.count("\n") for rows, title in zip(probes.values(), titles, strict=True)
    ]
    heights = [max(inches[first : first + columns]) for first in range(0, len(inches), columns)]
    figure = figure_of(NARROW if narrow else WIDE, sum(heights) + (0.95 if narrow else 0.6))
    heading = "Gain over each control" if narrow else f"What {who or 'the trained peers'} gained over each control"
    figure.suptitle(heading, fontsize=TEXT + (0 if narrow else 1), fontweight="bold")
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for axis in axes.flat[len(probes) :]:
        figure.delaxes(axis)
    limits = [_limit(rows) for rows in probes.values()]
    alike = max(limits) <= ALIKE * min(limits)
    for axis, title, rows, limit in zip(axes.flat, titles, probes.values(), limits, strict=False):
        _draw_rows(axis, rows, max(limits) if alike else limit, narrow)
        axis.set_title(title, fontsize=TEXT, loc="left")
        if narrow and alike and axis is not axes.flat[len(probes) - 1]:
            axis.tick_params(labelbottom=False)
    figure.supxlabel(_caption(probes, noun, narrow), fontsize=SMALL)
    return figure


def _caption(probes: Mapping[str, Sequence[Row]], noun: str, narrow: bool) -> str:
    """What the horizontal axis shows, with its unit."""
    over = "\n" if narrow else " "
    label = f"gain in accuracy (percentage points),{over}95% intervals over peers and test {plain(noun, 16, 1)}"
    marked = not narrow and any(0 < len(row.students) <= MOST_DOTS for rows in probes.values() for row in rows)
    return f"{label}; small marks: each peer" if marked else label


def _draw_rows(axis: Axes, rows: Sequence[Row], limit: float, narrow: bool) -> None:
    axis.axvline(0, color="black", linewidth=1, zorder=1)
    axis.set_xlim(-limit, limit)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    for place, row in enumerate(rows):
        if row.gain is not None:
            _draw_row(axis, place, row, row.gain, limit, not narrow)
    if narrow:
        void = [" (no verdict)" if row.note else "" for row in rows]
        axis.set_yticks(range(len(rows)), [f"over {row.control}{end}" for row, end in zip(rows, void, strict=True)])
    else:
        axis.set_yticks(range(len(rows)), [f"over {row.control}" for row in rows])
        right = axis.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), [_value(row) for row in rows], fontsize=SMALL)
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
    axis.locator_params(axis="x", nbins=6)
    axis.tick_params(labelsize=SMALL)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.3, linewidth=0.6)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _draw_row(axis: Axes, place: int, row: Row, gain: Interval, limit: float, marked: bool) -> None:
    """A point with its interval, filled where 0 is outside; an arrow at the border for what is beyond the scale.

    marked: whether each student's own gain is drawn, too.
    """
    colour = SIDES[gain.side]
    if marked and 0 < len(row.students) <= MOST_DOTS:
        axis.plot(
            row.students, [place + 0.24] * len(row.students), "|", color=colour, alpha=0.55, markersize=4, zorder=2
        )
    axis.plot([gain.low, gain.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    beyond = abs(gain.mean) > limit
    marker = ("<" if gain.mean < 0 else ">") if beyond else "o"
    face = colour if gain.side is not Side.NEITHER else "white"
    axis.plot(
        [float(np.clip(gain.mean, -0.98 * limit, 0.98 * limit))],
        [place],
        marker,
        color=colour,
        markerfacecolor=face,
        markersize=7,
        zorder=4,
    )


def _value(row: Row) -> str:
    """The numbers of a row, or why there are none."""
    if row.note:
        return plain(row.note, 24, 2)
    assert row.gain is not None, "a control run without a gain is void"
    low, high = row.gain.low / 100, row.gain.high / 100
    return f"{points(row.gain.mean / 100)} ({points_between(low, high)})"


def _limit(rows: Sequence[Row]) -> float:
    """How far a probe's scale reaches on both sides, in points."""
    ends = [abs(end) for row in rows if row.gain and row.scaled for end in (row.gain.low, row.gain.high)]
    return 1.08 * max([1.0, *(end for end in ends if np.isfinite(end))])


def _in_points(mean: float, low: float, high: float) -> Interval:
    return Interval(100 * mean, 100 * low, 100 * high)


def _each(gains: Sequence[float]) -> list[float]:
    return [100 * gain for gain in gains]
