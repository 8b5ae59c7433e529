"""A map of who holds how much of which class."""

from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.figures.style import BLUE, NARROW, SMALL, TEXT, WIDE, figure_of, write_form
from coordinator.measures.holdings import ClassTable

COUNTS = LinearSegmentedColormap.from_list("counts", ["#ffffff", BLUE])
MOST_NUMBERS = {False: (24, 12), True: (24, 6)}  # peers and classes whose numbers are written into their cells
NAMED = 16  # rows that are named: of more peers, only some are
ROW, AROUND, LEAST, MOST = 0.24, 1.0, 1.6, 7.0  # inches
SQUARE_ROOT = 0.5  # of the colour scale, so that few examples are seen beside many
DARK = 0.7  # share of the most examples from which on numbers are written in white


def save_holdings(table: ClassTable | None, path: Path, narrow: bool = False) -> bool:
    """Write the map as a PNG; False, without a file, if all peers hold all."""
    return write_form(draw_holdings(table, narrow) if table is not None else None, path, narrow)


def draw_holdings(table: ClassTable, narrow: bool = False) -> Figure:
    """A row for each peer, a column for each class. Above few peers a row for the public examples, if there are any."""
    public = table.public[None][: 1 if table.public.any() and len(table.private) <= NAMED else 0]
    counts = np.concatenate([public, table.private])
    height = min(MOST, max(LEAST, AROUND + ROW * len(counts)))
    figure = figure_of(NARROW if narrow else WIDE, height)
    axis = figure.subplots()
    most = max(1, int(table.private.max()), int(public.max(initial=0)))
    image = axis.imshow(
        counts, COUNTS, PowerNorm(SQUARE_ROOT, 0, most), aspect="auto", interpolation="nearest", origin="upper"
    )
    axis.set_title("training examples of each class", fontsize=TEXT, loc="left")
    axis.set_xlabel("class", fontsize=SMALL)
    axis.tick_params(labelsize=SMALL)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6 if narrow else 12, integer=True, min_n_ticks=1))
    _name_rows(axis, len(public), len(table.private))
    peers, classes = MOST_NUMBERS[narrow]
    if len(counts) <= peers and counts.shape[1] <= classes and most < 10**5:
        _write_numbers(axis, counts, most)
    else:
        bar = figure.colorbar(image, ax=axis, pad=0.02)
        bar.ax.tick_params(labelsize=SMALL)
    return figure


def _name_rows(axis: Axes, public: int, peers: int) -> None:
    """Numbers of peers at the rows, of many only some."""
    step = -(-peers // NAMED)
    shown = range(0, peers, step)
    axis.set_yticks(
        [*range(public), *(public + peer for peer in shown)],
        [*["public"][:public], *(f"peer {peer}" for peer in shown)],
    )


def _write_numbers(axis: Axes, counts: Int[np.ndarray, "rows classes"], most: int) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = int(counts[row, column])
        colour = "white" if count > DARK * most else "black"
        axis.text(column, row, f"{count}", ha="center", va="center", fontsize=SMALL - 1.5, color=colour)
