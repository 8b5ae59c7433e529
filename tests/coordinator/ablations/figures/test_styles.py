"""Which factor is told by colour and which by markers: cells of one topology look alike, and no two are the same."""

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from coordinator.ablations.figures.styles import legend, styles_of
from coordinator.figures.style import MARKERS, PALETTE, figure_of

Row = dict[str, Any]


def grid(**axes: list[Any]) -> tuple[list[Row], list[str]]:
    """Rows and cells of a full grid; `__` in a name is a dot."""
    rows: list[Row] = [{}]
    for name, levels in axes.items():
        rows = [{**row, f"axis.{name.replace('__', '.')}": level} for row in rows for level in levels]
    rows = [{"cell": ", ".join(map(str, row.values())), **row} for row in rows]
    return rows, [row["cell"] for row in rows]


def test_styles_of__colour_is_the_topology_and_marker_the_rest() -> None:
    rows, cells = grid(peers__count=[4, 8], topology=["ring", "complete", "torus"])
    styles = styles_of(rows, cells)
    by_row = {(row["axis.topology"], row["axis.peers.count"]): styles[row["cell"]] for row in rows}
    for (kind, count), style in by_row.items():
        for (other, another), compared in by_row.items():
            assert (style.colour == compared.colour) == (kind == other)
            assert (style.marker == compared.marker) == (count == another) == (style.dash == compared.dash)
    assert [text for text, _ in styles.entries(cells)] == ["ring", "complete", "torus", "count=4", "count=8"]
    assert [text for text, _ in styles.entries([cells[0]])] == ["ring", "count=4"]


def test_styles_of__one_factor_is_a_style_for_each_cell() -> None:
    rows, cells = grid(topology=["ring", "complete", "torus"])
    styles = styles_of(rows, cells)
    assert [styles[cell].colour for cell in cells] == list(PALETTE[:3])
    assert [styles[cell].marker for cell in cells] == list(MARKERS[:3])
    assert [text for text, _ in styles.entries(cells)] == cells


def test_styles_of__options_of_a_kind_belong_to_its_level() -> None:
    rows: list[Row] = []
    for count in (4, 8):
        for kind, degree in (("ring", None), ("random-regular", 2), ("random-regular", 4)):
            cell = f"{kind} {degree} {count}"
            rows.append(
                {"cell": cell, "axis.topology": kind, "axis.topology.degree": degree, "axis.peers.count": count}
            )
    cells = [row["cell"] for row in rows]
    styles = styles_of(rows, cells)
    assert len({styles[cell].colour for cell in cells}) == 3
    assert [text for text, _ in styles.entries(cells)][:3] == [
        "ring",
        "random-regular degree=2",
        "random-regular degree=4",
    ]


def test_styles_of__numbers_have_colours_in_their_order() -> None:
    """From dark to light, whatever the order in the file."""
    rows, cells = grid(peers__count=[32, 4, 16, 8], exchange__what=["logits", "probs"])
    styles = styles_of(rows, cells)
    lightness = {row["axis.peers.count"]: int(styles[row["cell"]].colour[3:5], 16) for row in rows}
    assert sorted(lightness, key=lambda count: lightness[count]) == [4, 8, 16, 32]


@pytest.mark.parametrize("levels", [(8, 2), (3, 9)])
def test_styles_of__more_levels_than_are_told_apart(levels: tuple[int, int]) -> None:
    first, second = ([f"level {place}" for place in range(count)] for count in levels)
    rows, cells = grid(topology=first, peers__norm=second)
    styles = styles_of(rows, cells)
    assert [text for text, _ in styles.entries(cells)] == cells
    assert len({styles[cell] for cell in cells[:12]}) == 12


def test_styles_of__cells_without_rows_have_styles() -> None:
    assert styles_of([], ["a", "b"])["a"] != styles_of([], ["a", "b"])["b"]


def test_legend__is_all_on_the_canvas(hostile: tuple[str, ...], legible: Callable[[Figure], list[str]]) -> None:
    figure = figure_of(3.6, 4.0)
    figure.subplots()
    legend(figure, styles_of([], hostile).entries(hostile), left_out=3, columns=2)
    assert "3 more cells not drawn" in legible(figure)
