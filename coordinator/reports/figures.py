"""Figures of a run: its topology, the consensus over its rounds, and the accuracy of the probes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from coordinator.measures.declared import Shown, shown_in
from coordinator.measures.gains import Condition
from coordinator.records.probe_curves import ProbeCurve, probe_curves
from coordinator.records.run_folder import RunFolder
from coordinator.reports.wording import CONDITIONS, probe_name
from topologies.schedule import Schedule

CURVES = shown_in(Shown.CURVE)
COLOURS = {
    Condition.RAW_PIXELS: "#d9d9d9",
    Condition.UNTRAINED: "#bdbdbd",
    Condition.CALIBRATED: "#969696",
    Condition.TRAINED: "#3182bd",
    Condition.RESET: "#e6ab5c",
    Condition.RECALIBRATED: "#8c96c6",
    Condition.ALONE: "#9ecae1",
    Condition.ALONE_MATCHED: "#c6dbef",
    Condition.STRANGER: "#a1d99b",
    Condition.SHUFFLED: "#fdd0a2",
    Condition.SINGLE_TEACHER: "#dadaeb",
    Condition.SUPERVISED: "#74c476",
}
GAINS = LinearSegmentedColormap.from_list("gains", ["#e08214", "#f7f7f7", "#5aa3d0"])  # black text is legible on all
PANEL, DPI = 2.4, 160  # inches per topology panel, dots per inch: two panels side by side are legible on a phone
NODE, UNKNOWN = "#9ecae1", "#d9d9d9"


def save(schedule: Schedule, folder: RunFolder, summary: dict[str, Any]) -> None:
    """Write `figures/topology.png` and, in a wide and a narrow form, `figures/consensus.png` into a run's folder."""
    target = folder.path / "figures"
    target.mkdir(exist_ok=True)
    probe, gains = peer_gains(summary["probes"])
    save_topology(schedule, target / "topology.png", probe, gains)
    rows = [row for row in folder.rows("rounds") if any(measure.name in row for measure in CURVES)]
    if rows:
        curves = probe_curves(folder.rows("peers"), {int(peer) for peer in summary.get("not_finite", ())})
        save_consensus(rows, summary["probes"], target / "consensus.png", curves)
        save_consensus(rows, summary["probes"], target / "consensus-narrow.png", curves, narrow=True)


def peer_gains(probes: dict[str, Any]) -> tuple[str, dict[int, float]]:
    """The probe to show in figures (linear if it was run, else kNN) and each student's gain over calibrated.

    Empty if neither probe was run.
    """
    for name in ("linear", "knn"):
        if "peers" in probes.get(name, {}):
            peers = probes[name]["peers"]
            return probe_name(name), dict(zip(peers["peer"], peers["gain"], strict=True))
    return "", {}


def save_topology(schedule: Schedule, path: Path, probe: str = "", gains: Mapping[int, float] | None = None) -> None:
    """Draw the links of one round, or of up to four different ones, with arrows teacher -> student.

    Peers are coloured by their gain.
    """
    count = min(schedule.period or 4, 4)
    columns = min(count, 2)
    figure = Figure(figsize=(PANEL * columns, PANEL * -(-count // columns) + 0.6 * bool(gains)), layout="constrained")
    axes = figure.subplots(-(-count // columns), columns, squeeze=False).flat
    limit = gain_limit(gains.values()) if gains else 0.0
    for round_index, axis in enumerate(axes):
        axis.axis("off")  # also for unused panels
        if round_index < count:
            draw_links(
                axis, schedule.num_peers, schedule(round_index).links, node_colours(schedule.num_peers, gains, limit)
            )
            axis.set_title("every round" if schedule.period == 1 else f"round {round_index}", fontsize=9)
    if gains:
        gain_scale(figure, limit, probe)
    figure.savefig(path, dpi=DPI)


def draw_links(
    axis: Axes, num_peers: int, links: Iterable[tuple[int, int]], colours: list[Any], size: int = 300
) -> None:
    """Draw the peers on a circle, with an arrow for every (teacher, student) in `links`."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(num_peers))
    graph.add_edges_from((teacher, student) for teacher, student in links if student != teacher)
    nx.draw_networkx(
        graph,
        nx.circular_layout(graph),
        ax=axis,
        with_labels=num_peers <= 64,
        node_size=max(20, size - 5 * num_peers),
        node_color=colours,
        edgecolors="#636363",
        linewidths=0.5,
        edge_color="#636363",
        font_size=8,
        connectionstyle="arc3,rad=0.08",
    )
    axis.margins(0.12)
    axis.axis("off")


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
    colours = ScalarMappable(Normalize(-100 * limit, 100 * limit), GAINS)
    bar = figure.colorbar(colours, ax=figure.axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
    bar.set_label(f"{probe} gain over calibrated, points (grey: none)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def save_consensus(
    rows: list[dict[str, Any]],
    probes: dict[str, Any],
    path: Path,
    probed: Mapping[str, ProbeCurve] = MappingProxyType({}),
    narrow: bool = False,
) -> None:
    """Plot the consensus over the rounds (rows of the rounds table), and the probes' accuracy beside the controls'.

    The panels are side by side, with the curves in `probed`, by probe, in a second row; if `narrow`, all are stacked.
    """
    gained = {name: row for name, row in probes.items() if "gain" in row}
    curves = [measure for measure in CURVES if any(measure.name in row for row in rows)]
    panels = len(curves) + bool(gained)
    columns = 1 if narrow else max(panels, len(probed))
    height = panels + len(probed) if narrow else 1 + bool(probed)
    figure = Figure(figsize=(4.5, 3.0 * height) if narrow else (4 * columns, 3.2 * height), layout="tight")
    axes = [figure.add_subplot(height, columns, 1 + place) for place in range(panels)]
    rounds = [row["round"] for row in rows]
    for axis, measure in zip(axes, curves, strict=False):
        values = np.array([row.get(measure.name, np.nan) for row in rows], dtype=float)
        axis.plot(rounds, values, marker=".", color="#3182bd")
        axis.set_title(measure.heading, fontsize=9)
        axis.set_xlabel("round")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    if gained:
        _draw_probes(axes[-1], gained)
    for place, (name, curve) in enumerate(probed.items()):
        axis = figure.add_subplot(height, columns, 1 + place + (panels if narrow else columns))
        _draw_probe_curve(axis, name, curve, probes.get(name, {}))
    figure.savefig(path, dpi=120)


def _draw_probe_curve(axis: Axes, name: str, curve: ProbeCurve, accuracies: Mapping[str, Any]) -> None:
    """Draw a probe's accuracy over the rounds, with a level for the calibrated peers and for each control run."""
    colour = COLOURS[Condition.TRAINED]
    axis.fill_between(curve.rounds, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0, label="all students")
    axis.plot(curve.rounds, curve.mean, marker=".", color=colour, label="mean of the students")
    for condition in Condition:
        if condition in accuracies and (condition is Condition.CALIBRATED or condition.control_run):
            level = accuracies[condition]
            axis.axhline(level, color=COLOURS[condition], linestyle="--", label=CONDITIONS[condition])
    axis.set_title(f"{probe_name(name, marked=True)} accuracy", fontsize=9)
    axis.set_xlabel("round")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)


def _draw_probes(axis: Axes, probes: dict[str, Any]) -> None:
    """Draw a bar for each control and the trained peers, with the interval of their gain over calibrated."""
    conditions = [condition for condition in Condition if all(condition in row for row in probes.values())]
    width = 0.8 / len(conditions)
    positions = np.arange(len(probes))
    for index, condition in enumerate(conditions):
        heights = [row[condition] for row in probes.values()]
        axis.bar(positions + index * width, heights, width, color=COLOURS[condition], label=CONDITIONS[condition])
    trained = positions + conditions.index(Condition.TRAINED) * width
    lows, highs = (
        np.array([row[Condition.CALIBRATED] + row["interval"][end] for row in probes.values()]) for end in (0, 1)
    )
    axis.errorbar(
        trained,
        (lows + highs) / 2,
        (highs - lows) / 2,
        fmt="none",
        ecolor="black",
        capsize=3,
    )
    axis.set_xticks(positions + (len(conditions) - 1) / 2 * width, [probe_name(name, marked=True) for name in probes])
    axis.set_title("accuracy: controls and trained (95% of the gain)", fontsize=9)
    axis.set_ylim(0, 1)
    axis.legend(
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=min(len(conditions), 3),
        handlelength=1,
        columnspacing=0.8,
    )
    axis.grid(axis="y", alpha=0.3)
