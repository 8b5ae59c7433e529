"""Figures with more panels than can be looked at: which are drawn, and what is said of the others."""

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import TypeVar

from matplotlib.figure import Figure

from coordinator.figures.style import SMALL, plain
from coordinator.reports.formatting import count_of, listed

MOST_PANELS = 12
Panel = TypeVar("Panel")


def whole_blocks(
    panels: Sequence[Panel], block_of: Callable[[Panel], Hashable], most: int = MOST_PANELS
) -> tuple[list[Panel], list[Panel]]:
    """The panels that are drawn, at most so many, and those that are not: whole blocks, but the first one always.

    block_of: what belongs together, such as a probe; panels of a block are neighbours.
    """
    drawn: list[Panel] = []
    for _, block in groupby(panels, block_of):
        members = list(block)
        if drawn and len(drawn) + len(members) > most:
            break
        drawn += members
    return drawn, list(panels[len(drawn) :])


def tell_of_others(figure: Figure, left_out: int, of: Sequence[str], where: str, width: int) -> None:
    """Say above the panels how many more there are, of what, and where their numbers are; nothing if there are none.

    width: characters in a line.
    """
    if left_out:
        text = f"{count_of(left_out, 'more panel')} not drawn, of {listed(list(dict.fromkeys(of)))}: {where}"
        figure.suptitle(plain(text, width, 3), fontsize=SMALL, x=0.01, ha="left")
