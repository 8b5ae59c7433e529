"""Figures of an ablation: estimates, consensus over rounds and bytes, gain against connectivity, maps of peers."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.ablations.curves import Band, curve
from coordinator.ablations.estimates import Comparison
from coordinator.ablations.maps import MAX_PANELS, WIDTH, draw_pairs, draw_topologies
from coordinator.experiment.redaction import first_line
from coordinator.measures import declared
from coordinator.measures.declared import Agreement, Measure
from coordinator.measures.gains import FOR_COMPARISON, Gain, GainMeasure
from coordinator.measures.statistics import Estimate, estimate
from coordinator.reports.figures import CURVES
from coordinator.reports.wording import PROBES, heading, is_gain

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe and Ito, no yellow
MARKERS, DASHES = "osD^vPX*", ("-", "--", ":")
LEGEND_LABEL = 46  # characters per legend entry; half of it in a legend of two columns
MAX_LINES, MAX_MEASURES = 40, 8  # drawn in the figure of estimates
LOG_RANGE = 8.0  # ratio of largest to smallest value from which a logarithmic scale is used
CONNECTIVITY = "topology.pooling_connectivity"


def save_ablation_figures(
    rows: list[dict[str, Any]],
    runs: dict[str, list[Path]],
    comparison: Comparison,
    folder: Path,
    tell: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Draw the figures into `figures` of `folder`; returns the names of the files, in the order of the page.

    rows: those of the results table. runs: by cell label, the folders of its finished runs in seed order.
    A figure without data is not drawn, and an older file of its name is removed. A figure that fails, for example
    because of a damaged file, is skipped with a line to `tell`; the page is written without it.
    """
    target = folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    finished = {cell: paths for cell, paths in runs.items() if paths}
    pictures: dict[str, Callable[[], Figure | None]] = {
        "estimates.png": partial(draw_estimates, comparison),
        "consensus.png": partial(draw_consensus, finished, comparison.cells),
        "connectivity.png": partial(draw_connectivity, rows, comparison.cells),
        "bytes.png": partial(draw_bytes, finished, comparison.cells),
        **{f"{measure.name}.png": partial(draw_pairs, finished, measure) for measure in declared.PAIRS},
        "topologies.png": partial(draw_topologies, finished, tell),
    }
    drawn = []
    for name, draw in pictures.items():
        path = target / name
        path.unlink(missing_ok=True)
        try:
            figure = draw()
            if figure is not None:
                figure.savefig(path, dpi=150)
                drawn.append(name)
        except Exception as error:  # any error: the numbers and sentences do not depend on the figure
            path.unlink(missing_ok=True)
            tell(f"figures/{name} is left out: {type(error).__name__}: {first_line(error)}")
    return drawn


def draw_estimates(comparison: Comparison) -> Figure | None:
    """A panel per measure with a line per cell: the mean over seeds and its 95% interval; for gains also 0.

    At most MAX_MEASURES panels of MAX_LINES lines; the table on the page has all.
    """
    cells, measures = comparison.cells[:MAX_LINES], comparison.measures[:MAX_MEASURES]
    if not cells or not measures:
        return None
    names = [f"{cell} (reference)" if cell == comparison.reference else cell for cell in cells]
    names = [textwrap.fill(name, 24) for name in names]
    panel = 0.75 + 0.24 * sum(0.4 + 0.6 * len(name.splitlines()) for name in names)
    figure = Figure(figsize=(WIDTH, panel * len(measures)), layout="constrained")
    for axis, measure in zip(figure.subplots(len(measures), 1, squeeze=False)[:, 0], measures, strict=True):
        factor = 100.0 if is_gain(measure) else 1.0
        for place, cell in enumerate(cells):
            known = comparison.estimates.get((cell, measure))
            if known is not None and np.isfinite(known.mean):
                _draw_interval(axis, place, known, factor, cell == comparison.reference)
        if is_gain(measure):
            axis.axvline(0, color="#636363", linewidth=1, linestyle="--", zorder=1)
        axis.set_yticks(range(len(cells)), names, fontsize=8)
        axis.set_ylim(len(cells) - 0.5, -0.5)
        axis.set_title(heading(measure), fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    note = _left_out_note(comparison)
    if note:
        figure.suptitle(note, fontsize=9)
    return figure


def draw_consensus(runs: Mapping[str, Sequence[Path]], cells: Sequence[str]) -> Figure | None:
    """A panel per declared curve over the rounds: the mean over seeds of each cell with its 95% band."""
    found = [(measure, _curves(runs, "round", measure)) for measure in CURVES]
    drawn = [(measure, curves) for measure, curves in found if curves]
    if not drawn:
        return None
    height = 2.9 * len(drawn) + _legend_height(list(runs)[:MAX_PANELS])
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    for axis, (measure, curves) in zip(figure.subplots(len(drawn), 1, squeeze=False)[:, 0], drawn, strict=True):
        _draw_bands(axis, curves, cells)
        axis.set_title(measure.heading + _band_note(curves), fontsize=9)
        axis.set_xlabel("round", fontsize=8)
        if measure.agreement is Agreement.LOW:
            _log_where_it_helps(axis, curves)
    _legend(figure, len(runs) - MAX_PANELS)
    return figure


def draw_bytes(runs: Mapping[str, Sequence[Path]], cells: Sequence[str]) -> Figure | None:
    """Disagreement against the bytes exchanged so far, without cells that exchange nothing."""
    measure = declared.RELATIVE_DISTANCE
    curves = _curves(runs, "bytes_so_far", measure)
    curves = {cell: band for cell, band in curves.items() if band.x[-1] > 0}
    if not curves:
        return None
    figure = Figure(figsize=(WIDTH, 3.2 + _legend_height(list(curves))), layout="constrained")
    axis = figure.subplots()
    _draw_bands(axis, curves, cells)
    axis.set_xscale("log")
    _log_where_it_helps(axis, curves)
    axis.set_xlabel("bytes exchanged so far", fontsize=8)
    axis.set_ylabel(measure.detail, fontsize=8)
    axis.set_title(f"{measure.title} for bytes" + _band_note(curves), fontsize=9)
    _legend(figure, len(runs) - MAX_PANELS)
    return figure


def draw_connectivity(rows: list[dict[str, Any]], cells: Sequence[str]) -> Figure | None:
    """Gain against the pooling matrix's connectivity, a panel per probe, a point per cell; None if all are equal."""
    found = {cell: _values(rows, cell, CONNECTIVITY) for cell in cells}
    places = {cell: float(np.mean(values)) for cell, values in found.items() if values}
    probes = [name for name in PROBES if name not in FOR_COMPARISON and any(_gain(name) in row for row in rows)]
    if not probes or np.ptp(list(places.values()) or [0.0]) < 1e-12:
        return None
    figure = Figure(figsize=(WIDTH, 2.6 * len(probes) + _legend_height(list(places))), layout="constrained")
    for axis, probe in zip(figure.subplots(len(probes), 1, squeeze=False)[:, 0], probes, strict=True):
        axis.axhline(0, color="#636363", linewidth=1, linestyle="--")
        for cell, place in _moved_apart(places).items():
            values = _values(rows, cell, _gain(probe))
            if values:
                _draw_point(axis, place, estimate(values), cells.index(cell), cell)
        axis.set_title(heading(_gain(probe)) + ", 95% intervals over seeds", fontsize=9)
        axis.set_xlabel("connectivity 1 - λ2 of the pooling matrix (0: peers are apart)", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    _legend(figure)
    return figure


def _gain(probe: str) -> str:
    return GainMeasure(probe, Gain.OVER_CALIBRATED).name


def _left_out_note(comparison: Comparison) -> str:
    """A note on how many cells and measures are drawn; empty if all are."""
    limits = ((comparison.cells, MAX_LINES, "cells"), (comparison.measures, MAX_MEASURES, "measures"))
    return "\n".join(f"the first {limit} of {len(items)} {noun}" for items, limit, noun in limits if len(items) > limit)


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
    return {cell: band for cell, band in found.items() if band is not None}


def _draw_bands(axis: Axes, curves: Mapping[str, Band], cells: Sequence[str]) -> None:
    for cell, band in curves.items():
        index = cells.index(cell)
        axis.plot(band.x, band.mean, color=_colour(index), linestyle=_dash(index), linewidth=1.6, label=cell)
        if band.low is not None and band.high is not None:
            axis.fill_between(band.x, band.low, band.high, color=_colour(index), alpha=0.18, linewidth=0)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)


def _band_note(curves: Mapping[str, Band]) -> str:
    return ", 95% bands over seeds" if any(band.low is not None for band in curves.values()) else ""


def _log_where_it_helps(axis: Axes, curves: Mapping[str, Band]) -> None:
    """Use a logarithmic y axis if the means span a large range; limits follow the means, as bands may go below 0."""
    means = np.concatenate([band.mean for band in curves.values()])
    low, high = float(means.min()), float(means.max())
    if low > 0 and high > LOG_RANGE * low:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.5, high * 1.3)
    else:
        axis.set_ylim(bottom=0)


def _draw_interval(axis: Axes, place: int, known: Estimate, factor: float, reference: bool) -> None:
    if known.low is not None and known.high is not None:
        axis.plot([known.low * factor, known.high * factor], [place, place], color="#0072b2", linewidth=2, zorder=2)
    face = "white" if reference else "#0072b2"
    axis.plot(
        [known.mean * factor], [place], "D" if reference else "o", color="#0072b2", markerfacecolor=face, zorder=3
    )


def _draw_point(axis: Axes, gap: float, known: Estimate, index: int, cell: str) -> None:
    half = 0.0 if known.low is None or known.high is None else (known.high - known.low) / 2
    marker = MARKERS[index % len(MARKERS)]
    axis.errorbar(gap, 100 * known.mean, 100 * half, fmt=marker, color=_colour(index), capsize=3, label=cell)


def _legend(figure: Figure, left_out: int = 0) -> None:
    """Draw the legend of the first panel below all panels."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns, labels = _legend_columns(labels), [textwrap.fill(label, LEGEND_LABEL) for label in labels]
    title = f"{left_out} more cells are not drawn" if left_out > 0 else None
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, title=title, title_fontsize=8)


def _legend_columns(labels: Sequence[str]) -> int:
    return 2 if len(labels) > 1 and max(map(len, labels)) <= LEGEND_LABEL // 2 else 1


def _legend_height(cells: Sequence[str]) -> float:
    """The approximate height of the legend in inches."""
    lines = sum(len(textwrap.wrap(cell, LEGEND_LABEL)) for cell in cells)
    return 0.3 + 0.16 * lines / _legend_columns(cells)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _dash(index: int) -> str:
    return DASHES[index // len(COLOURS) % len(DASHES)]
