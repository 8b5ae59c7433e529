"""A figure of what students made of messages: whether distances tell the lies, and which messages were dropped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.figures.style import (
    BLUE,
    DASHES,
    GREY,
    NARROW,
    SMALL,
    VERMILLION,
    WIDE,
    figure_of,
    panel,
    write_form,
)
from coordinator.measures.pooling import HONEST_DROPPED, LIE_AUC, LIES_DROPPED, TOLD, WINDOW

PANEL = 2.6  # inches of height
Curve = tuple[np.ndarray, np.ndarray]


def save_pooling(rows: Sequence[Mapping[str, Any]], path: Path, narrow: bool = False) -> bool:
    """Draw what became of messages over the rounds; False, without a file, if nothing is known of it.

    rows: those of the table of rounds.
    """
    return write_form(draw_pooling(rows, narrow), path, narrow)


def draw_pooling(rows: Sequence[Mapping[str, Any]], narrow: bool = False) -> Figure | None:
    """The figure of `save_pooling`; None if nothing is known."""
    auc = _curve(rows, LIE_AUC)
    dropped = {name: _curve(rows, name) for name in (HONEST_DROPPED, LIES_DROPPED)}
    has_dropped = any(len(curve[0]) for curve in dropped.values())
    count = bool(len(auc[0])) + has_dropped
    if not count:
        return None
    columns = 1 if narrow else count
    figure = figure_of(NARROW if narrow else WIDE * columns / 2, PANEL * -(-count // columns))
    axes = iter(figure.subplots(-(-count // columns), columns, squeeze=False).flat)
    if len(auc[0]):
        _draw_auc(next(axes), *auc)
    if has_dropped:
        _draw_dropped(next(axes), dropped)
    return figure


def _draw_auc(axis: Axes, rounds: np.ndarray, values: np.ndarray) -> None:
    """Each round's AUC, its mean over a window, chance, and the level from which on a filter can tell."""
    axis.plot(rounds, values, ".", color=BLUE, alpha=0.35, markersize=3, label="each round")
    if len(values) >= WINDOW:
        means = np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")
        axis.plot(rounds[: len(means)], means, color=BLUE, linewidth=1.5, label=f"mean of it and the next {WINDOW - 1}")
    axis.axhline(TOLD, color=GREY, linestyle=DASHES[1], linewidth=1.2, label=f"{TOLD:g}: a filter can tell")
    axis.axhline(0.5, color=GREY, linestyle=DASHES[2], linewidth=1.2, label="0.5: chance")
    panel(axis, "lies told by their distance to the others", "round", "AUC, mean over students")
    axis.set_ylim(-0.03, 1.03)
    axis.legend(fontsize=SMALL, loc="best", edgecolor="none", framealpha=0.9)


def _draw_dropped(axis: Axes, curves: Mapping[str, Curve]) -> None:
    """The share of honest messages and of lies of which the pool used nothing."""
    styles = {
        HONEST_DROPPED: (BLUE, DASHES[0], "honest messages"),
        LIES_DROPPED: (VERMILLION, DASHES[1], "lies"),
    }
    for name, (colour, dash, label) in styles.items():
        rounds, values = curves[name]
        if len(rounds):
            axis.plot(rounds, 100 * values, color=colour, linestyle=dash, linewidth=1.5, label=label)
    panel(axis, "messages that the pool dropped", "round", "dropped (%)")
    axis.set_ylim(-3, 103)
    axis.legend(fontsize=SMALL, loc="best", edgecolor="none", framealpha=0.9)


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    known = [(row["round"], row[name]) for row in rows if row.get(name) is not None]
    table = np.array(known, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
