"""How the cells of an ablation are told apart in figures: one factor by colour, the others by marker and dashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from coordinator.ablations.grids.factors import as_label
from coordinator.figures.style import DASHES, GREY, MARKERS, PALETTE, SMALL, plain
from coordinator.reports.formatting import count_of

AXIS = "axis."  # prefix of the columns of factors, see `results_folder.axis_columns`
TOPOLOGY = ("topology", "topology.kind")
MOST_COLUMNS = 6
LABEL = 40  # characters in a line of the legend
Levels = dict[str, str]  # by cell, the level of a factor


@dataclass(frozen=True)
class Style:
    """How one cell is drawn. dash: a line style of matplotlib."""

    colour: str
    marker: str
    dash: Any


@dataclass(frozen=True)
class Styles:
    """The style of every cell; key: the entries of a legend, each with its style and the cells that have it."""

    cells: Mapping[str, Style]
    key: Sequence[tuple[str, Style, frozenset[str]]]

    def __getitem__(self, cell: str) -> Style:
        return self.cells[cell]

    def entries(self, drawn: Sequence[str]) -> list[tuple[str, Style]]:
        """The legend of these cells."""
        return [(text, style) for text, style, cells in self.key if not cells.isdisjoint(drawn)]


def styles_of(rows: Sequence[Mapping[str, Any]], cells: Sequence[str]) -> Styles:
    """One colour per topology, or per level of the first factor, and a marker with dashes for the rest of a cell.

    Many numbers in order get colours in order. A style for each cell by itself, if there is one factor only, or more
    levels than can be told apart. rows: those of the results table, with a column for each factor.
    """
    factors = _factors(rows, cells)
    if len(factors) < 2:
        return _each(cells)
    first = next((name for name in TOPOLOGY if name in factors), next(iter(factors)))
    rest = {cell: _rest(factors, first, cell) for cell in cells}
    colours, marks = _colours(factors[first]), list(dict.fromkeys(rest.values()))
    if not colours or len(marks) > len(MARKERS):
        return _each(cells)
    styles = {cell: Style(colours[factors[first][cell]], *_mark(marks.index(rest[cell]))) for cell in cells}
    if len(set(styles.values())) < len(cells):
        return _each(cells)
    levels = factors[first]
    key = [(_text(first, each), Style(colour, "", "-"), _having(levels, each)) for each, colour in colours.items()]
    key += [(text, Style(GREY, *_mark(place)), _having(rest, text)) for place, text in enumerate(marks)]
    return Styles(styles, key)


def legend(figure: Figure, entries: Sequence[tuple[str, Style]], left_out: int = 0, columns: int = 2) -> None:
    """Draw the entries below all panels; left_out: the number of cells that are not drawn, told in its title."""
    labels = [plain(text, LABEL, 2) for text, _ in entries]
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.dash, linewidth=1.8, markersize=5)
        for _, style in entries
    ]
    title = f"{count_of(left_out, 'more cell')} not drawn" if left_out > 0 else None
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=legend_columns(entries, columns),
        fontsize=SMALL,
        title=title,
        title_fontsize=SMALL,
        frameon=False,
        handlelength=2.6,
    )


def legend_columns(entries: Sequence[tuple[str, Style]], columns: int) -> int:
    """As many columns as the longest entry allows, of those that fit with entries of half a line."""
    longest = max((len(text) for text, _ in entries), default=0)
    return max(1, min(len(entries), columns if longest <= LABEL // 2 else columns // 2, MOST_COLUMNS))


def legend_height(entries: Sequence[tuple[str, Style]], columns: int = 2) -> float:
    """The approximate height of the legend in inches."""
    lines = sum(plain(text, LABEL, 2).count("\n") + 1 for text, _ in entries)
    return 0.3 + 0.17 * lines / legend_columns(entries, columns)


def _each(cells: Sequence[str]) -> Styles:
    """A style for each cell: colours in turn, with other dashes and markers in each round of them."""
    styles = {
        cell: Style(
            PALETTE[place % len(PALETTE)],
            MARKERS[place % len(MARKERS)],
            DASHES[place // len(PALETTE) % len(DASHES)],
        )
        for place, cell in enumerate(cells)
    }
    return Styles(styles, [(cell, style, frozenset([cell])) for cell, style in styles.items()])


def _factors(rows: Sequence[Mapping[str, Any]], cells: Sequence[str]) -> dict[str, Levels]:
    """The factors that vary, each with the cells' levels; the options of a kind belong to its level."""
    of_cell: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        of_cell.setdefault(row["cell"], row)
    if not set(cells) <= of_cell.keys():
        return {}
    columns = list(dict.fromkeys(name for row in of_cell.values() for name in row if name.startswith(AXIS)))
    found: dict[str, Levels] = {}
    for column in columns:
        if any(column.startswith(f"{other}.") for other in columns):
            continue  # an option of another column's kinds
        own = [name for name in columns if name == column or name.startswith(f"{column}.")]
        levels = {cell: _level(of_cell[cell], own) for cell in cells}
        if len(set(levels.values())) > 1:
            found[column.removeprefix(AXIS)] = levels
    return found


def _level(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The value of a factor's column, followed by its options."""
    value, options = row.get(columns[0]), columns[1:]
    given = [f"{name.rsplit('.', 1)[-1]}={as_label(row[name])}" for name in options if row.get(name) is not None]
    return " ".join([as_label(value), *given])


def _colours(levels: Levels) -> dict[str, str]:
    """A colour for each level: of numbers in their order, of other levels as different as can be; {} if too many."""
    distinct = list(dict.fromkeys(levels.values()))
    numbers = [_number(level) for level in distinct]
    pairs = zip(numbers, distinct, strict=True)
    ordered = [level for _, level in sorted((number, level) for number, level in pairs if number is not None)]
    if len(distinct) > 2 and len(ordered) == len(distinct):
        scale = matplotlib.colormaps["viridis"]
        return {level: to_hex(scale(0.88 * place / (len(ordered) - 1))) for place, level in enumerate(ordered)}
    return dict(zip(distinct, PALETTE, strict=False)) if len(distinct) <= len(PALETTE) else {}


def _number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


def _rest(factors: Mapping[str, Levels], first: str, cell: str) -> str:
    return ", ".join(_text(name, levels[cell]) for name, levels in factors.items() if name != first)


def _text(factor: str, level: str) -> str:
    """A level as labels of cells have it: the kind of a topology by itself, others with the name of the setting."""
    name = factor.removesuffix(".kind").rsplit(".", 1)[-1]
    return level if name == "topology" else f"{name}={level}"


def _mark(place: int) -> tuple[str, Any]:
    return MARKERS[place], DASHES[place % len(DASHES)]


def _having(levels: Mapping[str, str], level: str) -> frozenset[str]:
    return frozenset(cell for cell, own in levels.items() if own == level)
