"""Gains by distance over seeds: means and lines against values by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.ablations.figures.distances import by_distance, draw_distances
from coordinator.ablations.figures.panels import whole_blocks
from coordinator.ablations.figures.styles import styles_of
from coordinator.measures.gains import Gain

pytestmark = pytest.mark.figures
Legible = Callable[[Figure], list[str]]
NAME = "groups.poor.hops.{}.probes.knn.{}"


def row(cell: str, seed: int, **gains: float) -> dict[str, Any]:
    """gains: by distance, such as h2=0.1, over calibrated; half of it over strangers."""
    found: dict[str, Any] = {"cell": cell, "seed": seed, "axis.topology": cell}
    for far, gain in gains.items():
        found |= {NAME.format(far[1:], "gain"): gain, NAME.format(far[1:], "over_stranger.mean"): gain / 2}
        found |= {NAME.format(far[1:], "over_untrained.mean"): 0.5}  # no claim about the exchange
        found |= {NAME.format(far[1:], "over_stranger.low"): -1.0, NAME.format(far[1:], "verdict"): "learned"}
    return found


ROWS = [
    row("ring", 0, h1=0.04, h2=0.02, h3=0.0),
    row("ring", 1, h1=0.06, h2=0.02, h3=0.01),
    row("complete", 0, h1=0.05),
    row("complete", 1, h1=0.03),
    {"cell": "star", "seed": 0, "axis.topology": "star"},  # failed
]
CELLS = ["ring", "complete", "star"]


def test_by_distance__means_over_seeds_by_cell() -> None:
    found = by_distance(ROWS, CELLS)
    assert set(found) == {("poor", "knn", Gain.OVER_CALIBRATED), ("poor", "knn", Gain.OVER_STRANGER)}
    gains = found["poor", "knn", Gain.OVER_CALIBRATED]
    assert {cell: {far: each.mean for far, each in of.items()} for cell, of in gains.items()} == {
        "ring": {1: pytest.approx(0.05), 2: pytest.approx(0.02), 3: pytest.approx(0.005)},
        "complete": {1: pytest.approx(0.04)},
    }
    assert by_distance(ROWS[2:], CELLS) == {}  # everybody is as far away as everybody else


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_distances__all_of_a_group_and_probe_or_nothing_of_them(narrow: bool, legible: Legible) -> None:
    """Seven groups with two gains each: six groups are drawn whole, and the seventh is told."""
    rows = [
        {name.replace(".poor.", f".{place}."): value for place in range(7) for name, value in {**each}.items()}
        for each in ROWS
    ]
    figure = draw_distances(rows, CELLS, styles_of(rows, CELLS), narrow)
    assert figure is not None and len(figure.axes) == 12
    said = " ".join(" ".join(legible(figure)).split())
    assert "2 more panels not drawn, of 6: kNN: results.parquet has all" in said


def test_whole_blocks__the_first_one_whatever_its_size() -> None:
    assert whole_blocks("aaabbc", str, 2) == (["a", "a", "a"], ["b", "b", "c"])
    assert whole_blocks("abbc", str, 3) == (["a", "b", "b"], ["c"])
    assert whole_blocks("abbc", str, 2) == (["a"], ["b", "b", "c"])  # in order, without a gap
    assert whole_blocks("", str) == ([], [])


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_distances__a_line_per_cell(narrow: bool, legible: Legible) -> None:
    figure = draw_distances(ROWS, CELLS, styles_of(ROWS, CELLS), narrow)
    assert figure is not None
    legible(figure)
    over_calibrated, over_stranger = figure.axes
    assert "over calibrated" in over_calibrated.get_title(loc="left").replace("\n", " ")
    ring, complete = over_stranger.get_lines()[:2]
    assert np.allclose(ring.get_ydata(), [2.5, 1.0, 0.25]) and np.allclose(complete.get_ydata(), [2.0])
    assert np.allclose(ring.get_xdata(), [1, 2, 3], atol=0.1)
