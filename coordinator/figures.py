"""Pictures of a run: the topology it ran on, and consensus and accuracy over its rounds."""

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.store import RunFolder
from topologies.schedule import Schedule

CURVES = (
    ("relative_distance", "disagreement (relative distance)"),
    ("agreement", "agreement (same largest output)"),
)
COLOURS = {
    "raw_pixels": "#d9d9d9",
    "untrained": "#bdbdbd",
    "calibrated": "#969696",
    "alone": "#9ecae1",
    "trained": "#3182bd",
}


def save(schedule: Schedule, folder: RunFolder, summary: dict[str, Any]) -> None:
    """Write `figures/topology.png` and `figures/consensus.png` into a run's folder."""
    target = folder.path / "figures"
    target.mkdir(exist_ok=True)
    save_topology(schedule, target / "topology.png")
    rows = [row for row in folder.rows("rounds") if "relative_distance" in row]
    if rows:
        save_consensus(rows, summary["probes"], target / "consensus.png")


def save_topology(schedule: Schedule, path: Path) -> None:
    """The links teacher -> student of one round, or of up to four where rounds differ."""
    count = min(schedule.period or 4, 4)
    figure = Figure(figsize=(4 * count, 4), layout="tight")
    axes = figure.subplots(1, count, squeeze=False)
    for round_index, axis in enumerate(axes[0]):
        links = [(teacher, student) for student, teacher in schedule(round_index).edges if student != teacher]
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(schedule.num_peers))
        graph.add_edges_from(links)
        nx.draw_networkx(
            graph,
            nx.circular_layout(graph),
            ax=axis,
            with_labels=schedule.num_peers <= 64,
            node_size=max(20, 400 - 5 * schedule.num_peers),
            node_color="#9ecae1",
            edge_color="#636363",
            font_size=8,
            connectionstyle="arc3,rad=0.08",
        )
        axis.set_title("every round" if schedule.period == 1 else f"round {round_index}")
        axis.axis("off")
    figure.savefig(path, dpi=120)


def save_consensus(rows: list[dict[str, Any]], probes: dict[str, Any], path: Path) -> None:
    """How the peers came to agree, from rows of the rounds table; and what they learned, beside the controls."""
    gained = {name: row for name, row in probes.items() if "gain" in row}
    figure = Figure(figsize=(4 * (len(CURVES) + bool(gained)), 3.2), layout="tight")
    axes = figure.subplots(1, len(CURVES) + bool(gained))
    rounds = [row["round"] for row in rows]
    for axis, (name, title) in zip(axes, CURVES, strict=False):
        axis.plot(rounds, np.array([row.get(name, np.nan) for row in rows], dtype=float), marker=".", color="#3182bd")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("round")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    if gained:
        _draw_probes(axes[-1], gained)
    figure.savefig(path, dpi=120)


def _draw_probes(axis: Axes, probes: dict[str, Any]) -> None:
    """Bars for the controls and the trained peers; on the last, the interval of its gain over the calibrated."""
    shown = [condition for condition in COLOURS if all(condition in row for row in probes.values())]
    width = 0.8 / len(shown)
    places = np.arange(len(probes))
    for index, condition in enumerate(shown):
        heights = [row[condition] for row in probes.values()]
        axis.bar(places + index * width, heights, width, color=COLOURS[condition], label=condition.replace("_", " "))
    lows, highs = (np.array([row["calibrated"] + row["interval"][end] for row in probes.values()]) for end in (0, 1))
    axis.errorbar(
        places + (len(shown) - 1) * width,
        (lows + highs) / 2,
        (highs - lows) / 2,
        fmt="none",
        ecolor="black",
        capsize=3,
    )
    axis.set_xticks(places + (len(shown) - 1) / 2 * width, list(probes))
    axis.set_title("accuracy: controls, trained (95% of the gain)", fontsize=9)
    axis.set_ylim(0, 1)
    axis.legend(
        fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(shown), handlelength=1, columnspacing=0.8
    )
    axis.grid(axis="y", alpha=0.3)
