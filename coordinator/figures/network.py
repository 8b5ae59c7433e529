"""Figures of a simulated network: what each peer does when, how old messages are, and what a run comes to over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from coordinator.figures.style import (
    BLUE,
    GREY,
    LIGHT_GREY,
    NARROW,
    SMALL,
    WIDE,
    figure_of,
    from_zero,
    panel,
    plain,
    write_form,
)
from coordinator.records.files.probe_curves import ProbeCurve
from coordinator.reports.wording import probe_name
from topologies.accounts.intervals import Doing, Interval

MOST_PEERS = 48  # in a Gantt chart: of more, the first ones
ROW, AROUND = 0.17, 1.05  # inches: of a peer, and around all
THIN = 0.004  # of the time that is drawn
COLOURS = {Doing.COMPUTING: BLUE, Doing.WAITING: LIGHT_GREY, Doing.OFFLINE: "white"}
HATCHES = {Doing.OFFLINE: "////"}
UNITS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"), (1e-3, "ms"), (1e-6, "µs"))
LEAST = 2.0  # of a unit, for an axis to be in it
MOST_BARS = 40  # of a histogram of ages in rounds
PANEL = 2.3  # inches of height
OVER_TIME = {  # by column of the table of rounds: title, label of the axis
    "relative_distance": ("disagreement", "relative distance (0 to 1)"),
    "loss": ("loss", "loss, mean over students"),
    "mean_age_seconds": ("age of the messages used", "mean age"),
    "online": ("peers online", "peers"),
    "lost": ("messages lost", "messages in a round"),
}


def save_gantt(intervals: Sequence[Sequence[Interval]], rounds: int, path: Path, narrow: bool = False) -> bool:
    """Draw what each peer does when, in the first rounds; False, without a file, if no time passes in them."""
    if not any(each.end > 0 for row in intervals for each in row):
        return False
    write_form(draw_gantt(intervals, rounds, narrow), path, narrow)
    return True


def draw_gantt(intervals: Sequence[Sequence[Interval]], rounds: int, narrow: bool = False) -> Figure:
    """A row for each peer, with bars of computing, waiting and being offline. rounds: how many it shows."""
    shown = intervals[:MOST_PEERS]
    end = max(each.end for row in intervals for each in row)
    unit, name = unit_of(end)
    figure = figure_of(NARROW if narrow else WIDE, ROW * len(shown) + AROUND)
    axis = figure.subplots()
    for doing in Doing:
        for peer, row in enumerate(shown):
            bars = [(each.start / unit, (each.end - each.start) / unit) for each in row if each.doing is doing]
            axis.broken_barh(
                bars,
                (peer - 0.4, 0.8),
                facecolors=COLOURS[doing],
                hatch=HATCHES.get(doing),
                edgecolor=[_edge(doing, width * unit < THIN * end) for _, width in bars],
                linewidth=0.4,
            )
    of_all = f", of {len(intervals)} peers" if len(shown) < len(intervals) else ""
    panel(axis, f"The first {rounds} rounds{of_all}" if rounds > 1 else "The first round", f"virtual {name}", "peer")
    axis.grid(visible=False)
    axis.set_xlim(0, end / unit)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_yticks(range(0, len(shown), 1 + (len(shown) - 1) // 16))
    present = [doing for doing in Doing if any(each.doing is doing for row in shown for each in row)]
    keys = [
        Patch(facecolor=COLOURS[each], hatch=HATCHES.get(each), edgecolor=GREY, linewidth=0.4, label=str(each))
        for each in present
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def _edge(doing: Doing, thin: bool) -> str:
    """The colour around a bar; thin ones have their own, as a white edge would hide them."""
    if doing is Doing.OFFLINE:
        return GREY
    return COLOURS[doing] if thin else "white"


def save_ages(bins: Mapping[str, Sequence[Sequence[float]]], path: Path, narrow: bool = False) -> bool:
    """Draw the histograms of ages; False, without a file, if no message was ever older than none."""
    if not any(value > 0 for rows in bins.values() for value, _ in rows):
        return False
    write_form(draw_ages(bins, narrow), path, narrow)
    return True


def draw_ages(bins: Mapping[str, Sequence[Sequence[float]]], narrow: bool = False) -> Figure:
    """How old messages are when they are used: in rounds where any is of an earlier round, and in seconds.

    bins: by unit, `rounds` or `seconds`, pairs of a value and how many messages had it (`Account.age_bins`).
    """
    units = [unit for unit in ("rounds", "seconds") if any(value > 0 for value, _ in bins.get(unit, ()))]
    columns = 1 if narrow else len(units)
    figure = figure_of(NARROW if narrow else WIDE * max(columns, 1.4) / 2, PANEL * -(-len(units) // columns))
    axes = list(figure.subplots(-(-len(units) // columns), columns, squeeze=False).flat)
    for axis, unit in zip(axes, units, strict=True):
        table = np.array(bins[unit], float)
        if unit == "rounds":
            _draw_rounds(axis, table)
        else:
            _draw_seconds(axis, table)
    return figure


def _draw_rounds(axis: Axes, table: np.ndarray) -> None:
    kept = table[table[:, 0] <= MOST_BARS]
    axis.bar(kept[:, 0], 100 * kept[:, 1] / table[:, 1].sum(), width=0.8, color=BLUE)
    beyond = table[table[:, 0] > MOST_BARS, 1].sum() / table[:, 1].sum()
    further = f" ({beyond:.1%} are older)" if beyond else ""
    panel(axis, f"age in rounds{further}", "rounds", "messages used (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_seconds(axis: Axes, table: np.ndarray) -> None:
    """The share of messages that are no older than so many seconds: no width of bins has to be chosen."""
    unit, name = unit_of(float(table[-1, 0]))
    ages = np.concatenate([[0.0], table[:, 0] / unit])
    below = np.concatenate([[0.0], 100 * np.cumsum(table[:, 1]) / table[:, 1].sum()])
    axis.step([*ages, 1.04 * ages[-1]], [*below, below[-1]], where="post", color=BLUE, linewidth=1.5)
    panel(axis, f"age in {name}", f"{name} since publication", "messages no older (%)")
    axis.set_xlim(0, 1.04 * ages[-1])
    axis.set_ylim(0, 104)


def save_over_time(
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    probed: Mapping[str, ProbeCurve] = MappingProxyType({}),
    narrow: bool = False,
) -> bool:
    """Draw a run's numbers against virtual time; False, without a file, if no time passed or nothing was recorded."""
    return write_form(draw_over_time(rows, probed, narrow), path, narrow)


def draw_over_time(
    rows: Sequence[Mapping[str, Any]],
    probed: Mapping[str, ProbeCurve] = MappingProxyType({}),
    narrow: bool = False,
) -> Figure | None:
    """Panels of disagreement, loss and probes, and of ages, peers online and losses where they change.

    rows: those of the table of rounds; the one before the first round is at virtual second 0.
    """
    drawn = {name: points for name in OVER_TIME if _tells(name, points := _points(rows, name))}
    times = {row["round"]: row.get("virtual_seconds") or 0.0 for row in rows}
    end = max(times.values(), default=0.0)
    probes = {name: curve for name, curve in probed.items() if set(curve.rounds.tolist()) <= times.keys()}
    count = len(drawn) + len(probes)
    if not count or not end:
        return None
    unit, word = unit_of(end)
    columns = 1 if narrow else min(count, 3)
    figure = figure_of(NARROW if narrow else WIDE * columns / 3, PANEL * -(-count // columns))
    axes = list(figure.subplots(-(-count // columns), columns, squeeze=False).flat)
    for axis in axes[count:]:
        figure.delaxes(axis)
    remaining = iter(axes)
    for name, points in drawn.items():
        _draw_column(next(remaining), name, points / [unit, 1.0], f"virtual {word}")
    for name, curve in probes.items():
        seconds = np.array([times[completed] / unit for completed in curve.rounds.tolist()])
        axis = next(remaining)
        axis.fill_between(seconds, 100 * curve.low, 100 * curve.high, color=BLUE, alpha=0.2, linewidth=0)
        axis.plot(seconds, 100 * curve.mean, marker=".", color=BLUE, linewidth=1.5)
        title = f"{plain(probe_name(name, marked=True), 24)} probe"
        panel(axis, title, f"virtual {word}", "accuracy (%), mean and range")
        axis.set_xlim(left=0)
    return figure


def _draw_column(axis: Axes, name: str, points: np.ndarray, time: str) -> None:
    """A column of the table of rounds. points: virtual time, and values. time: the label of the horizontal axis."""
    title, label = OVER_TIME[name]
    values, scale = points[:, 1], 1.0
    if name == "mean_age_seconds":
        scale, in_unit = unit_of(float(values.max()))
        label = f"{label} ({in_unit})"
    axis.plot(points[:, 0], values / scale, marker="." if len(points) <= 40 else "", color=BLUE, linewidth=1.5)
    panel(axis, title, time, label)
    axis.set_xlim(left=0)
    if values.min() >= 0:
        from_zero(axis)
    if name in ("online", "lost"):
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Virtual seconds and values of a column, where both are known and finite."""
    known = [
        (row.get("virtual_seconds") if row["round"] else 0.0, row[name])
        for row in rows
        if row.get(name) is not None and (not row["round"] or row.get("virtual_seconds") is not None)
    ]
    table = np.array(known, dtype=np.float64).reshape(-1, 2)
    return table[np.isfinite(table[:, 1])]


def _tells(name: str, points: np.ndarray) -> bool:
    """Whether a curve says anything: presence and losses do only where they change."""
    if len(points) < 2:
        return False
    return name in ("relative_distance", "loss") or bool(np.ptp(points[:, 1]) > 0)


def unit_of(seconds: float) -> tuple[float, str]:
    """The length in seconds, and the name, of the unit for an axis that reaches so far."""
    return next(((length, name) for length, name in UNITS if seconds >= LEAST * length), (UNITS[-1][0], UNITS[-1][1]))
