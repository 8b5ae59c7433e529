"""How peers look in pictures of a graph: a shape for each group, a triangle around liars, a square around frozen ones.

The live page draws the same shapes and marks (`pages/static/nodes.js`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from coordinator.figures.style import BLACK, LIGHT_GREY, SMALL, VERMILLION, plain
from peers.networks.config import PeersConfig
from topologies.layouts import Positions

SHAPES = "osD^h"  # of groups, in their order, and again from the first
LINE = 0.17  # inches of a line of the legend
EDGE = "#4d4d4d"


@dataclass(frozen=True)
class Look:
    """What is told of peers beside their colour. groups: the peers of each, by name; one group has no name here."""

    groups: Mapping[str, Sequence[int]]
    liars: Sequence[int] = ()
    frozen: Sequence[int] = ()

    @classmethod
    def of(cls, peers: PeersConfig) -> "Look":
        """Of a run's peers. Groups without any name are not told apart: they may be many, of networks that differ."""
        groups = peers.members if any(group.name for group in peers.groups) else {}
        return cls(groups, sorted(peers.liars), sorted(set(peers.frozen)))

    @classmethod
    def in_summary(cls, summary: Mapping[str, Any]) -> "Look":
        """Of the run of a summary, which may be of an older version."""
        section = summary.get("config", {}).get("peers", {})
        named = any(group.get("name") for group in section.get("groups", ()))
        groups = {name: group["peers"] for name, group in summary.get("groups", {}).items()} if named else {}
        return cls(groups, summary.get("liars", ()), sorted(set(section.get("frozen", ()))))

    @property
    def entries(self) -> list[Line2D]:
        """What a legend says of shapes and marks: nothing where all peers are alike."""
        found = [
            Line2D(
                [],
                [],
                linestyle="",
                marker=SHAPES[place % len(SHAPES)],
                color=LIGHT_GREY,
                mec=EDGE,
                mew=0.5,
                label=plain(name, 24, 1),
            )
            for place, name in enumerate(self.groups)
        ]
        marks = (("^", VERMILLION, "lies", self.liars), ("s", BLACK, "frozen", self.frozen))
        return found + [
            Line2D([], [], linestyle="", marker=shape, mfc="none", mec=colour, ms=8, label=word)
            for shape, colour, word, peers in marks
            if peers
        ]


ALIKE = Look({})


def draw_peers(axis: Axes, places: Positions, colours: Sequence[Any], size: float, look: Look = ALIKE) -> None:
    """Draw peers into an axis. size: across, in points."""
    edge = min(0.5, size / 10)
    groups = list(look.groups.values()) or [range(len(places))]
    for place, members in enumerate(groups):
        at = places[list(members)]
        axis.scatter(
            at[:, 0],
            at[:, 1],
            s=size**2,
            c=[colours[peer] for peer in members],
            marker=SHAPES[place % len(SHAPES)],
            edgecolors=EDGE,
            linewidths=edge,
            zorder=3,
        )
    for peers, shape, colour, wide in ((look.liars, "^", VERMILLION, 1.75), (look.frozen, "s", BLACK, 1.35)):
        at = places[np.array(sorted(peers), dtype=np.int64)]
        if len(at):
            axis.scatter(
                at[:, 0],
                at[:, 1],
                s=(wide * size) ** 2,
                marker=shape,
                facecolors="none",
                edgecolors=colour,
                linewidths=max(0.6, 2.5 * edge),
                zorder=3.5,
            )


def legend_of(figure: Figure, look: Look) -> None:
    """Say below a figure what shapes and marks mean, if there are any."""
    entries = look.entries
    if not entries:
        return
    columns = min(len(entries), 3)
    figure.set_figheight(figure.get_figheight() + LINE * (-(-len(entries) // columns) + 0.5))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False)
