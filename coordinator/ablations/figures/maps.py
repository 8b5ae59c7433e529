"""Figures with a panel per cell: heat maps of all pairs of peers, and topologies coloured by gain."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.experiment.config import RunConfig, load_config
from coordinator.experiment.redaction import first_line
from coordinator.figures.graph import (
    MOST_ROUNDS,
    Panel,
    draw_panels,
    ends_of,
    gain_limit,
    gain_scale,
    node_colours,
)
from coordinator.figures.peers import Look, legend_of
from coordinator.figures.run import peer_gains
from coordinator.figures.style import SMALL, TEXT, figure_of, plain
from coordinator.measures.declared import Agreement, PairMeasure
from coordinator.planning.schedules import build_schedule
from topologies.layouts import places
from topologies.schedule import Schedule

MAX_PANELS = 12  # panels, or curves, in one figure
COLUMNS = 3
WIDTH = 4.4  # inches: 8-point text stays legible on a phone of 330 pixels
LABEL_WIDTH = 19  # characters that fit above a panel
Matrix = Float[np.ndarray, "peers peers"]


def draw_pairs(runs: Mapping[str, Sequence[Path]], measure: PairMeasure) -> Figure | None:
    """A heat map per cell of a measure of all pairs of peers at the last measured round, averaged over seeds.

    All maps share one colour scale.
    """
    found = {cell: pair_matrix(paths, measure.name) for cell, paths in runs.items()}
    maps = {cell: matrix for cell, matrix in found.items() if matrix is not None and np.isfinite(matrix).any()}
    if not maps:
        return None
    drawn = dict(list(maps.items())[:MAX_PANELS])
    title = f"{measure.title} at the end ({measure.detail})"
    names = [plain(cell, LABEL_WIDTH) for cell in drawn]
    figure, panels = _panels(names, title + _left_out_note(len(maps)))
    lowest = min(float(np.nanmin(matrix)) for matrix in drawn.values())
    low = 0.0 if measure.agreement is Agreement.LOW else lowest
    high = max(float(np.nanmax(matrix)) for matrix in drawn.values())
    image = None
    for axis, name, values in zip(panels, names, drawn.values(), strict=True):
        image = axis.imshow(values, cmap="cividis", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
        axis.set_title(name, fontsize=SMALL - 0.5)
        axis.set_xticks([0, len(values) - 1])
        axis.set_yticks([0, len(values) - 1])
        axis.tick_params(labelsize=SMALL - 1)
    assert image is not None
    for place, axis in enumerate(panels):
        if place >= len(panels) - COLUMNS:
            axis.set_xlabel("peer", fontsize=SMALL - 1)
        if place % COLUMNS == 0:
            axis.set_ylabel("peer", fontsize=SMALL - 1)
    bar = figure.colorbar(image, ax=figure.axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
    bar.set_label(f"{measure.detail} ({measure.unit.name or '0 to 1'})", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def pair_matrix(folders: Sequence[Path], measure: str) -> Matrix | None:
    """The measure of each pair of peers, averaged over the runs that have it; nan on the diagonal; None if none has."""
    rows = [
        row
        for folder in folders
        for path in [folder / "metrics" / "pairs.parquet"]
        if path.is_file()
        for row in pq.read_table(path).to_pylist()
    ]
    if not rows:
        return None
    num_peers = 1 + max(row["other"] for row in rows)
    total, count = np.zeros((num_peers, num_peers)), np.zeros((num_peers, num_peers))
    for row in rows:
        if row[measure] is not None and np.isfinite(row[measure]):
            total[row["peer"], row["other"]] += row[measure]
            count[row["peer"], row["other"]] += 1
    total, count = total + total.T, count + count.T
    means: Matrix = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means


def draw_topologies(
    runs: Mapping[str, Sequence[Path]], tell: Callable[[str], None] = lambda line: None
) -> Figure | None:
    """The links of each cell with its first seed, and its peers coloured by their gain, averaged over seeds.

    A cell whose schedule cannot be rebuilt (its edge file is missing or invalid) is skipped with a line to `tell`.
    """
    schedules = {cell: _schedule(cell, paths[0], tell) for cell, paths in list(runs.items())[:MAX_PANELS]}
    drawn = {cell: found for cell, found in schedules.items() if found is not None}
    if not drawn:
        return None
    gains = {cell: mean_gains(runs[cell]) for cell in drawn}
    limit = gain_limit(gain for _, peers in gains.values() for gain in peers.values())
    panels = [
        _topology(cell, config, schedule, node_colours(schedule.num_peers, gains[cell][1], limit))
        for cell, (config, schedule) in drawn.items()
    ]
    title = "who learns from whom" + _left_out_note(len(runs))
    figure = draw_panels(panels, title, min(len(panels), COLUMNS), WIDTH)
    probe = next((name for name, _ in gains.values() if name), "")
    if probe:
        gain_scale(figure, limit, probe)
    looks = dict.fromkeys((*panel.look.groups,) for panel in panels)
    if len(looks) == 1:
        legend_of(figure, max((panel.look for panel in panels), key=lambda look: len(look.liars)))
    return figure


def _topology(cell: str, config: RunConfig, schedule: Schedule, colours: list[Any]) -> Panel:
    """The drawing of a cell: of a schedule that changes, the links of some rounds together."""
    rounds = min(schedule.period or MOST_ROUNDS, MOST_ROUNDS)
    note = f"\n{rounds} rounds together" if rounds > 1 else ""
    where, ends = places(schedule, config.topology.kind), ends_of(schedule, range(rounds))
    return Panel(plain(cell, LABEL_WIDTH) + note, where, ends, colours, Look.of(config.peers))


def _schedule(cell: str, folder: Path, tell: Callable[[str], None]) -> tuple[RunConfig, Schedule] | None:
    """A run's config and its schedule; None, with a line to `tell`, if it cannot be rebuilt."""
    try:
        config = load_config(folder / "config.toml")
        return config, build_schedule(config)
    except (OSError, ValueError) as error:
        tell(f"figures/topologies.png is without '{cell}': {first_line(error)}")
        return None


def mean_gains(folders: Sequence[Path]) -> tuple[str, dict[int, float]]:
    """The probe to show, and each peer's gain over calibrated, averaged over the runs in which it studied."""
    found = [
        peer_gains(json.loads((folder / "summary.json").read_text(encoding="utf-8"))["probes"]) for folder in folders
    ]
    peers = sorted({peer for _, gains in found for peer in gains})
    means = {peer: float(np.mean([gains[peer] for _, gains in found if peer in gains])) for peer in peers}
    return next((name for name, _ in found if name), ""), means


def _left_out_note(count: int) -> str:
    return f"\nthe first {MAX_PANELS} of {count} cells" if count > MAX_PANELS else ""


def _panels(names: Sequence[str], title: str) -> tuple[Figure, list[Axes]]:
    """A figure of one panel per name, in rows of COLUMNS, with room for the names above them."""
    count, lines = len(names), 1 + max(name.count("\n") for name in names)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = figure_of(WIDTH, 1.3 + rows * (0.25 + 0.13 * lines + 0.85 * WIDTH / columns))
    figure.suptitle(title, fontsize=TEXT)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in panels[count:]:
        figure.delaxes(axis)
    return figure, panels[:count]
