"""Pictures of who learns from whom: peers where `topologies.layouts` puts them, links that stay legible in any number.

A line with an arrow runs from teacher to student; one without, between peers that learn from each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from coordinator.figures.peers import ALIKE, Look, draw_peers, legend_of
from coordinator.figures.style import GAINS, GREY, SMALL, TEXT, figure_of, plain, write
from topologies.facts import TopologyFacts
from topologies.layouts import Positions, has_waves, places
from topologies.schedule import Schedule

NODE, UNKNOWN = "#9ecae1", "#d9d9d9"
MOST_ROUNDS = 4  # rounds of a changing schedule that are drawn
MOST_LINKS = 20_000  # drawn in a panel; of more, a sample
MOST_ARROWS = 1_500  # heads of more arrows would be a blot
FIGURE, COLUMNS, DPI, DPI_COMPARED = 4.4, 2, 220, 140  # inches across, panels side by side: legible on a phone, too
SMALL_MULTIPLE = 2.5  # inches across one of several topologies
LABEL = 6.5  # points
Ends = Int[np.ndarray, "links 2"]


@dataclass(frozen=True)
class Panel:
    """One drawing: title, places, colours and look of the peers, and the links as rows of (teacher, student)."""

    title: str
    places: Positions
    ends: Ends
    colours: Sequence[Any]
    look: Look = ALIKE


def save_topology(
    schedule: Schedule,
    path: Path,
    probe: str = "",
    gains: Mapping[int, float] | None = None,
    name: str = "",
    kind: str = "",
    facts: TopologyFacts | None = None,
    look: Look = ALIKE,
) -> None:
    """Draw the links of one round, or of up to four different ones, and the peers coloured by their gain.

    name: what the topology is called in the title; kind: as in the `[topology]` section, for the layout.
    facts: told below the name, if they are known. look: groups, liars and frozen peers.
    """
    rounds = [ends_of(schedule, [index]) for index in range(min(schedule.period or MOST_ROUNDS, MOST_ROUNDS))]
    where = places(schedule, kind)
    limit = gain_limit(gains.values()) if gains else 0.0
    colours = node_colours(schedule.num_peers, gains, limit)
    titles = ["" if schedule.period == 1 else f"round {index}" for index in range(len(rounds))]
    drawn = [Panel(title, where, ends, colours, look) for title, ends in zip(titles, rounds, strict=True)]
    waves = ", in waves for room" if has_waves(schedule.num_peers, kind) else ""
    heading = headline(name or kind, schedule.num_peers, facts, waves) if name or kind else ""
    figure = draw_panels(drawn, heading, columns=min(len(drawn), COLUMNS))
    if gains:
        gain_scale(figure, limit, probe)
    legend_of(figure, look)
    write(figure, path, DPI)


def save_comparison(topologies: Sequence[tuple[str, str, Schedule, TopologyFacts]], title: str, path: Path) -> None:
    """Draw topologies side by side, each with its gap, diameter and messages. topologies: label, kind, and the rest."""
    panels = []
    for label, kind, schedule, facts in topologies:
        rounds = min(schedule.period or MOST_ROUNDS, MOST_ROUNDS)
        together = f", {rounds} rounds together" if rounds > 1 else ""
        text = (
            f"{plain(label, 30, 2)}{together}\ngap {facts.spectral_gap:.3g} · {_diameter(facts)}\n"
            f"{facts.messages_per_round:,g} messages a round"
        )
        colours = node_colours(schedule.num_peers, None, 0.0)
        panels.append(Panel(text, places(schedule, kind), ends_of(schedule, range(rounds)), colours))
    columns = min(len(panels), 3)
    write(draw_panels(panels, title, columns, max(FIGURE, SMALL_MULTIPLE * columns)), path, DPI_COMPARED)


def headline(name: str, num_peers: int, facts: TopologyFacts | None, drawn: str = "") -> str:
    """A topology's name, size and facts, in two lines. drawn: what is unusual in the drawing."""
    first = plain(f"{name}, {num_peers} peers{drawn}", 48, 2)
    return f"{first}\n{facts_in_words(facts)}" if facts else first


def facts_in_words(facts: TopologyFacts) -> str:
    """Degree, links, diameter and gap of W, as one line."""
    least, most = facts.min_degree, facts.max_degree
    degree = f"{least}" if least == most else f"{least} to {most}"
    return f"degree {degree} · {facts.edges:,g} links · {_diameter(facts)} · gap {facts.spectral_gap:.3g}"


def _diameter(facts: TopologyFacts) -> str:
    """The diameter in words: there is none if a peer hears nobody, or if peers are apart."""
    if facts.diameter is None:
        return f"diameter {facts.diameter_least} or more" if facts.diameter_least else "not all reach all"
    return f"diameter {facts.diameter}"


def ends_of(schedule: Schedule, rounds: Iterable[int]) -> Ends:
    """The different links of these rounds, without those of peers to themselves, by teacher and student."""
    found = []
    for index in rounds:
        arrays = schedule(index).arrays()
        found.append(arrays.teachers * schedule.num_peers + arrays.students)
    links = np.stack(np.divmod(np.unique(np.concatenate(found)), schedule.num_peers), axis=1)
    kept: Ends = links[links[:, 0] != links[:, 1]]
    return kept


def draw_panels(panels: Sequence[Panel], title: str, columns: int, width: float = FIGURE) -> Figure:
    """A figure with these drawings in rows of so many, below a title."""
    rows = -(-len(panels) // columns)
    inches = width / columns
    lines = max(panel.title.count("\n") + bool(panel.title) for panel in panels)
    above = 0.2 * (title.count("\n") + 1.5) if title else 0.0
    figure = figure_of(width, rows * (inches + 0.17 * lines) + above)
    if title:
        figure.suptitle(title, fontsize=TEXT)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, panel in zip(axes, panels, strict=False):
        draw_links(axis, panel.places, panel.ends, panel.colours, inches, panel.look)
        axis.set_title(panel.title, fontsize=SMALL)
    for axis in axes[len(panels) :]:
        figure.delaxes(axis)
    return figure


def draw_links(
    axis: Axes, places: Positions, ends: Ends, colours: Sequence[Any], inches: float, look: Look = ALIKE
) -> None:
    """Draw peers and links into a square of about so many inches; peers are numbered where the numbers fit."""
    points = 72 * 0.88 * inches  # across the layout, without the margins
    near = np.asarray(cKDTree(places).query(places, k=min(2, len(places)))[0]).reshape(len(places), -1)[:, -1]
    size = float(np.clip(0.62 * np.quantile(near, 0.3) * points, 1.6, 17.0)) if len(places) > 1 else 17.0
    margin = max(0.04, (1.0 if look.liars else 0.7) * size / points)
    axis.set(xlim=(-margin, 1 + margin), ylim=(1 + margin, -margin), aspect="equal")
    axis.axis("off")
    _draw_lines(axis, places, ends, size / points / 2, points)
    draw_peers(axis, places, colours, size, look)
    if len(places) == 1 or min(size, 0.9 * float(near.min()) * points) > LABEL * (
        0.6 * len(str(len(places) - 1)) + 0.4
    ):
        for peer, (x, y) in enumerate(places):
            axis.text(x, y, str(peer), fontsize=LABEL, ha="center", va="center_baseline", zorder=4)


def _draw_lines(axis: Axes, places: Positions, ends: Ends, radius: float, points: float) -> None:
    """One line for links in both directions, arrows for those in one; thinner and paler the more ink they would be."""
    mutual = np.isin(ends @ [1, len(places)], ends @ [len(places), 1])
    lines = ends[~mutual | (ends[:, 0] < ends[:, 1])]
    arrows = ends[~mutual]
    if not len(lines):
        return
    left_out = len(lines) - MOST_LINKS
    if left_out > 0:
        lines = lines[np.sort(np.random.default_rng(0).choice(len(lines), MOST_LINKS, replace=False))]
        axis.text(
            0.5,
            0.0,
            f"{MOST_LINKS / (MOST_LINKS + left_out):.0%} of the links are drawn",
            transform=axis.transAxes,
            fontsize=LABEL,
            ha="center",
            va="top",
            color=GREY,
        )
    ink = float(np.linalg.norm(places[lines[:, 0]] - places[lines[:, 1]], axis=1).sum())
    look = {"linewidths": np.clip(7 / np.sqrt(ink), 0.25, 1.1), "alpha": np.clip(9 / np.sqrt(ink), 0.08, 0.9)}
    drawn = LineCollection(list(places[lines]), colors=GREY, zorder=1, **look)
    drawn.set_rasterized(len(lines) > 2_000)  # else a PDF of it takes a viewer seconds
    axis.add_collection(drawn)
    if 0 < len(arrows) <= MOST_ARROWS:
        heads = _heads(places, arrows, radius, float(np.clip(12 * radius * points / 20, 2.5, 6.0)) / points)
        axis.add_collection(PolyCollection(list(heads), facecolors=GREY, linewidths=0, zorder=2, alpha=look["alpha"]))


def _heads(places: Positions, arrows: Ends, radius: float, length: float) -> Float[np.ndarray, "arrows 3 2"]:
    """Triangles that touch the students; radius: of a peer; length: of a head."""
    start, end = places[arrows[:, 0]], places[arrows[:, 1]]
    along = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-12)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    tip = end - along * radius
    foot = tip - along * length
    heads: Float[np.ndarray, "arrows 3 2"] = np.stack(
        [tip, foot + 0.4 * length * across, foot - 0.4 * length * across], axis=1
    )
    return heads


def node_colours(num_peers: int, gains: Mapping[int, float] | None, limit: float) -> list[Any]:
    """A colour for each peer by its gain, grey for peers without one; one colour for all if no gains are known."""
    if not gains:
        return [NODE] * num_peers
    return [GAINS(0.5 + gains[peer] / (2 * limit)) if peer in gains else UNKNOWN for peer in range(num_peers)]


def gain_limit(gains: Iterable[float]) -> float:
    """The largest absolute gain: the colour scale runs from minus this value to this value."""
    return max((abs(gain) for gain in gains), default=0.0) or 0.01


def gain_scale(figure: Figure, limit: float, probe: str) -> None:
    """Add a colour bar of the gains below the panels."""
    figure.set_figheight(figure.get_figheight() + 0.65)
    colours = ScalarMappable(Normalize(-100 * limit, 100 * limit), GAINS)
    bar = figure.colorbar(colours, ax=figure.axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
    bar.set_label(f"{probe} gain over calibrated (points; grey: none)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
