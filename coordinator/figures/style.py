"""What all figures share: colours that the colour-blind tell apart, sizes, and text that is drawn as it is written."""

import textwrap
import unicodedata
import warnings
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.measures.declared import Measure
from coordinator.measures.gains import Condition
from coordinator.measures.units import FRACTION, SHARE

# Okabe and Ito, Color Universal Design (2008), without yellow, which is too light on white
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#000000",
)
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK)
GREY, LIGHT_GREY = "#6b6b6b", "#d9d9d9"
MARKERS = "osD^vPX*"
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)))
COLOURS = {
    Condition.RAW_PIXELS: LIGHT_GREY,
    Condition.UNTRAINED: "#a6a6a6",
    Condition.CALIBRATED: BLACK,
    Condition.TRAINED: BLUE,
    Condition.RESET: "#8c6d31",
    Condition.RECALIBRATED: "#7b6fb0",
    Condition.ALONE: VERMILLION,
    Condition.ALONE_MATCHED: ORANGE,
    Condition.STRANGER: GREEN,
    Condition.SHUFFLED: PURPLE,
    Condition.SINGLE_TEACHER: SKY,
    Condition.IRRELEVANT: "#882255",
    Condition.PRIVATE_ONLY: "#999933",
    Condition.POOLED: "#332288",
    Condition.TRUTHFUL: "#661100",
    Condition.SUPERVISED: GREY,
}
# black text is legible on all of it
GAINS = LinearSegmentedColormap.from_list("gains", ["#e08214", "#f7f7f7", "#5aa3d0"])

WIDE, NARROW = 8.6, 3.6  # inches; a narrow figure has legible text on a phone of 330 pixels
DPI_WIDE, DPI_NARROW = 130, 220
TEXT, SMALL = 9.0, 8.0  # points


def plain(text: str, width: int = 0, lines: int = 3) -> str:
    """A name as one drawn literally: no control or direction characters, no mathematics; `$` is a dollar.

    width: characters in a line, at most `lines` of them: of a longer name, the middle is left out. 0: one line.
    """
    visible = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text)
    short = " ".join(visible.split())
    if width:
        short = _wrapped(short, width, lines)
    return short.replace("$", r"\$")


def _wrapped(text: str, width: int, lines: int) -> str:
    """The text in so many lines at most, without as much of its middle as is too much."""
    wrapped, most = textwrap.wrap(text, width), min(len(text), width * lines)
    while len(wrapped) > lines:
        end = most // 3
        wrapped = textwrap.wrap(f"{text[: most - end - 1]}…{text[len(text) - end :]}", width)
        most -= 1
    return "\n".join(wrapped)


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose layout leaves room for all text."""
    return Figure(figsize=(width, height), layout="constrained")


def write(figure: Figure, path: Path, dpi: int) -> None:
    """Write the figure; characters that the font does not have are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(path, dpi=dpi)


def write_form(figure: Figure | None, path: Path, narrow: bool) -> bool:
    """Write a figure in its wide or narrow form. Returns: False, without a file, if there was nothing to draw."""
    if figure is None:
        return False
    write(figure, path, DPI_NARROW if narrow else DPI_WIDE)
    return True


def panel(axis: Axes, title: str, x: str, y: str) -> None:
    """Title, axis labels and grid in the style of all charts."""
    axis.set_title(title, fontsize=TEXT, loc="left")
    axis.set_xlabel(x, fontsize=SMALL)
    axis.set_ylabel(y, fontsize=SMALL)
    axis.tick_params(labelsize=SMALL)
    if x == "round":
        axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3, linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def from_zero(axis: Axes) -> None:
    """Begin the vertical axis at 0, with room above the highest value: a level line is not on the edge."""
    axis.set_ylim(0, max(axis.get_ylim()[1], 1.06 * axis.dataLim.y1) or 1.0)


def shown(measure: Measure[Any]) -> tuple[str, float]:
    """The label of an axis of a measure, and the factor from its values to those shown: fractions are in percent."""
    words = measure.detail or measure.title
    if measure.unit == FRACTION:
        return f"{words} (%)", 100.0
    unit = measure.unit.name or ("0 to 1" if measure.range == SHARE else "")
    return f"{words} ({unit})" if unit else words, 1.0
