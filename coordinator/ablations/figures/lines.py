"""Curves and points of an ablation's cells: over rounds, bytes and virtual time; gain against connectivity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from coordinator.ablations.figures.maps import MAX_PANELS
from coordinator.ablations.figures.styles import Style, Styles, legend, legend_height
from coordinator.ablations.runs.curves import Band, curve, gain_curve
from coordinator.figures.curves import CURVES
from coordinator.figures.style import NARROW, WIDE, figure_of, from_zero, panel, shown
from coordinator.measures import declared
from coordinator.measures.declared import Agreement, Measure
from coordinator.measures.gains import FOR_COMPARISON, Gain, GainMeasure
from coordinator.measures.statistics import Estimate, estimate
from coordinator.measures.targets import Paid
from coordinator.reports.wording import PROBES, measure_name, probe_name

PANEL, KEY = 2.7, 1.7  # inches: the height of a panel, the width of a short entry of the legend
LOG_RANGE = 8.0  # ratio of largest to smallest value from which a logarithmic scale is used
CONNECTIVITY = "topology.pooling_connectivity"
MIB = 2.0**20
SECONDS = Paid.TIME.column


def draw_consensus(runs: Mapping[str, Sequence[Path]], styles: Styles, narrow: bool = False) -> Figure | None:
    """A panel per declared curve over the rounds: the mean over seeds of each cell with its 95% band."""
    found = [(measure, _curves(runs, "round", measure)) for measure in CURVES]
    drawn = [(measure, curves) for measure, curves in found if curves]
    if not drawn:
        return None
    cells = list(dict.fromkeys(cell for _, curves in drawn for cell in curves))
    figure, axes = _panels(len(drawn), styles.entries(cells), narrow, len(runs) - MAX_PANELS)
    for axis, (measure, curves) in zip(axes, drawn, strict=True):
        label, factor = shown(measure)
        _draw_bands(axis, curves, styles, factor)
        panel(axis, measure.title + _band_note(curves), "round", label)
        _scale(axis, curves, measure, factor)
    return figure


def draw_bytes(runs: Mapping[str, Sequence[Path]], styles: Styles, narrow: bool = False) -> Figure | None:
    """Disagreement against the bytes exchanged so far, without cells that exchange nothing."""
    measure = declared.RELATIVE_DISTANCE
    curves = _curves(runs, "bytes_so_far", measure)
    curves = {cell: band for cell, band in curves.items() if band.x[-1] > 0}
    if not curves:
        return None
    figure, (axis,) = _panels(1, styles.entries(list(curves)), narrow, len(runs) - MAX_PANELS)
    curves = {cell: Band(band.x / MIB, band.mean, band.low, band.high) for cell, band in curves.items()}
    _draw_bands(axis, curves, styles, 1.0)
    title = f"{measure.title} for bytes{_band_note(curves)}"
    panel(axis, title, "exchanged so far by all peers (MiB)", shown(measure)[0])
    _scale(axis, curves, measure, 1.0)
    _log_x(axis)
    return figure


def draw_seconds(runs: Mapping[str, Sequence[Path]], styles: Styles, narrow: bool = False) -> Figure | None:
    """Disagreement, and each probe's gain that was followed, against virtual time; None without a simulated network.

    A curve is of the mean over seeds, at the mean time of each round.
    """
    measure = declared.RELATIVE_DISTANCE
    drawn: list[tuple[str, str, float, dict[str, Band]]] = []
    distance = _curves(runs, SECONDS, measure)
    if distance:
        drawn.append((measure.title, shown(measure)[0], 1.0, distance))
    for probe in (name for name in PROBES if name not in FOR_COMPARISON):
        found = {cell: gain_curve(paths, SECONDS, probe) for cell, paths in list(runs.items())[:MAX_PANELS]}
        gains = {cell: band for cell, band in found.items() if band is not None and len(band.x) > 1}
        if gains:
            drawn.append((f"{probe_name(probe)} gain", "gain over calibrated (points)", 100.0, gains))
    if not drawn:
        return None
    cells = [cell for cell in runs if any(cell in curves for *_, curves in drawn)]
    figure, axes = _panels(len(drawn), styles.entries(cells), narrow, len(runs) - MAX_PANELS)
    for axis, (title, label, factor, curves) in zip(axes, drawn, strict=True):
        _draw_bands(axis, curves, styles, factor)
        panel(axis, f"{title} in virtual time{_band_note(curves)}", "virtual time (s)", label)
        if curves is distance:
            _scale(axis, curves, measure, factor)
        else:
            axis.axhline(0, color="black", linewidth=0.9, zorder=1)
        ends = [float(band.x[-1]) for band in curves.values()]
        if max(ends) > LOG_RANGE * min(ends) > 0:
            _log_x(axis)
    return figure


def _log_x(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def draw_connectivity(
    rows: list[dict[str, Any]], cells: Sequence[str], styles: Styles, narrow: bool = False
) -> Figure | None:
    """Gain against the pooling matrix's connectivity, a panel per probe, a point per cell; None if all are equal."""
    found = {cell: _values(rows, cell, CONNECTIVITY) for cell in cells}
    places = {cell: float(np.mean(values)) for cell, values in found.items() if values}
    probes = [name for name in PROBES if name not in FOR_COMPARISON and any(_gain(name) in row for row in rows)]
    if not probes or np.ptp(list(places.values()) or [0.0]) < 1e-12:
        return None
    figure, axes = _panels(len(probes), styles.entries(list(places)), narrow)
    for axis, probe in zip(axes, probes, strict=True):
        axis.axhline(0, color="black", linewidth=0.9, zorder=1)
        for cell, place in _moved_apart(places).items():
            values = _values(rows, cell, _gain(probe))
            if values:
                _draw_point(axis, place, estimate(values), styles[cell])
        panel(
            axis,
            f"{measure_name(_gain(probe))}, 95% intervals",
            "connectivity 1 - λ2 of the pooling matrix",
            "gain over calibrated (points)",
        )
    return figure


def _panels(count: int, entries: list[tuple[str, Style]], narrow: bool, left_out: int = 0) -> tuple[Figure, list[Axes]]:
    """Panels side by side, or one below the other if `narrow`, above the legend."""
    columns = 1 if narrow else min(count, 2)
    rows = -(-count // columns)
    width = NARROW if narrow else WIDE * (1.0 if columns > 1 else 0.6)
    keys = int(width // KEY)
    figure = figure_of(width, PANEL * rows + legend_height(entries, keys))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        figure.delaxes(axis)
    if len(entries) > 1:
        legend(figure, entries, left_out, keys)
    return figure, axes[:count]


def _gain(probe: str) -> str:
    return GainMeasure(probe, Gain.OVER_CALIBRATED).name


def _values(rows: list[dict[str, Any]], cell: str, name: str) -> list[float]:
    """The finite values of a column in the rows of a cell."""
    values = [row.get(name) for row in rows if row["cell"] == cell]
    return [float(value) for value in values if value is not None and np.isfinite(value)]


def _moved_apart(places: dict[str, float]) -> dict[str, float]:
    """The positions, with coinciding ones moved slightly apart so that no interval hides another."""
    step, taken, moved = 0.015 * float(np.ptp(list(places.values()))), dict[float, int](), dict[str, float]()
    for cell, place in places.items():
        key = round(place, 9)
        moved[cell] = place + step * taken.get(key, 0)
        taken[key] = taken.get(key, 0) + 1
    return moved


def _curves(runs: Mapping[str, Sequence[Path]], x: str, measure: Measure[Any]) -> dict[str, Band]:
    """The curve of each of the first MAX_PANELS cells, by cell; cells without data are left out."""
    found = {cell: curve(paths, x, measure.name) for cell, paths in list(runs.items())[:MAX_PANELS]}
    return {cell: band.within(measure.range) for cell, band in found.items() if band is not None}


def _draw_bands(axis: Axes, curves: Mapping[str, Band], styles: Styles, factor: float) -> None:
    """Each cell's mean, with markers on some points, each cell's on others, and its band."""
    for place, (cell, band) in enumerate(curves.items()):
        style, every = styles[cell], max(1, len(band.x) // 6)
        axis.plot(
            band.x,
            factor * band.mean,
            color=style.colour,
            linestyle=style.dash,
            linewidth=1.6,
            marker=style.marker,
            markersize=4,
            markevery=(place * every // len(curves), every),
            label=cell,
        )
        if band.low is not None and band.high is not None:
            axis.fill_between(
                band.x, factor * band.low, factor * band.high, color=style.colour, alpha=0.13, linewidth=0
            )


def _band_note(curves: Mapping[str, Band]) -> str:
    return ", 95% bands" if any(band.low is not None for band in curves.values()) else ""


def _scale(axis: Axes, curves: Mapping[str, Band], measure: Measure[Any], factor: float) -> None:
    """A logarithmic y axis if a distance's means span a large range; else from 0, as far as the measure can go."""
    means = factor * np.concatenate([band.mean for band in curves.values()])
    low, high = float(means.min()), float(means.max())
    if measure.agreement is Agreement.LOW and low > 0 and high > LOG_RANGE * low:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.5, high * 1.3)
        return
    if measure.range.low == 0:
        from_zero(axis)
    if measure.range.high is not None and factor * measure.range.high < axis.get_ylim()[1]:
        axis.set_ylim(top=factor * measure.range.high * 1.02)


def _draw_point(axis: Axes, place: float, known: Estimate, style: Style) -> None:
    half = 0.0 if known.low is None or known.high is None else (known.high - known.low) / 2
    axis.errorbar(place, 100 * known.mean, 100 * half, fmt=style.marker, color=style.colour, capsize=3)
