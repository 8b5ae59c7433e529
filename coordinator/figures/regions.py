"""A map of the places where the peers of a simulated network are, and how long messages take between them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from coordinator.figures.style import (
    BLUE,
    NARROW,
    SMALL,
    TEXT,
    WIDE,
    figure_of,
    panel,
    plain,
    write_form,
)
from topologies.worlds.places import LatencyTable

MOST_NAMED = 12  # places with a name; of more, the names would lie on each other
AROUND = 12.0  # degrees of room around the outermost places
NEAR = 9.0, 22.0  # degrees of latitude and longitude within which names would lie on each other
MANY = 50  # links that are drawn with thinner lines
COLOURS = "viridis_r"  # far apart is dark


def save_regions(table: LatencyTable, places: Sequence[str | None], path: Path, narrow: bool = False) -> bool:
    """Draw the map; False, without a file, if fewer than two places with known coordinates have peers."""
    if len(located(table, places)) < 2:
        return False
    write_form(draw_regions(table, places, narrow), path, narrow)
    return True


def located(table: LatencyTable, places: Sequence[str | None]) -> dict[str, int]:
    """The places with known coordinates, and how many peers each has, in the order of the table."""
    counts = Counter(place for place in places if place in table.coordinates)
    return {name: counts[name] for name in table.names if counts[name]}


def draw_regions(table: LatencyTable, places: Sequence[str | None], narrow: bool = False) -> Figure:
    """Points at the places' longitude and latitude, as large as their peers are many; lines coloured by latency.

    Latencies are medians one way, the mean of both directions. places: by peer.
    """
    found = located(table, places)
    names = list(found)
    rows = [table.names.index(name) for name in names]
    where = np.array([table.coordinates[name][::-1] for name in names])
    figure = figure_of(NARROW if narrow else WIDE, 2.6 if narrow else 4.4)
    axis = figure.subplots()
    first, second = np.triu_indices(len(names), 1)
    delays = 500 * (table.seconds + table.seconds.T)[np.ix_(rows, rows)][first, second]  # ms, mean of both ways
    order = np.argsort(-delays)  # short links on top
    low, high = max(float(delays.min()), 0.1), max(float(delays.max()), 0.2)
    norm: Normalize = LogNorm(low, high) if high > 1.2 * low else Normalize(0, high)
    ends = np.stack([where[first], where[second]], axis=1)[order]
    width = 1.6 if len(ends) <= MANY else 0.8
    links = LineCollection(list(ends), array=delays[order], cmap=COLOURS, norm=norm, linewidths=width, zorder=2)
    axis.add_collection(links)
    sizes = 30 + 90 * np.array(list(found.values())) / max(found.values())
    axis.scatter(where[:, 0], where[:, 1], s=sizes, color=BLUE, edgecolor="white", linewidth=0.8, zorder=3)
    _limits(axis, where)
    panel(axis, "Where the peers are, and how far apart", "longitude (degrees)", "latitude (degrees)")
    if len(names) <= MOST_NAMED and not narrow:
        _name(axis, names, list(found.values()), where)
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=axis, shrink=0.85, format="{x:.4g}")
    bar.set_label("one way (ms)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    within = _ticks(low, high, (1, 2, 3, 5, 7)) if high < 20 * low else _ticks(low, high, (1, 2, 5))
    bar.set_ticks(within if len(within) > 1 else [low, high], minor=False)
    bar.ax.minorticks_off()
    return figure


def _ticks(low: float, high: float, steps: Sequence[int]) -> list[float]:
    return [tick for power in range(-1, 5) for step in steps if low <= (tick := step * 10.0**power) <= high]


def _limits(axis: Axes, where: np.ndarray) -> None:
    (west, south), (east, north) = where.min(axis=0) - AROUND, where.max(axis=0) + AROUND
    axis.set_xlim(max(west, -190.0), min(east + AROUND, 205.0))
    axis.set_ylim(max(south, -90.0), min(north, 90.0))


def _name(axis: Axes, names: Sequence[str], counts: Sequence[int], where: np.ndarray) -> None:
    """Write the places' names beside their points; where several are close, one below the other."""
    taken: list[tuple[float, float]] = []
    for name, count, (east, north) in sorted(
        zip(names, counts, where.tolist(), strict=True), key=lambda each: -each[2][1]
    ):
        low, wide = NEAR
        while any(abs(north - other) < low and abs(east - beside) < wide * 2 for beside, other in taken):
            north -= low / 2
        taken.append((east, north))
        peers = f" ({count})" if count > 1 else ""
        axis.annotate(
            f"{plain(name, 24, 1)}{peers}",
            (east, north),
            xytext=(7, 0),
            textcoords="offset points",
            fontsize=min(SMALL, TEXT),
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            zorder=4,
        )
