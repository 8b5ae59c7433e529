"""Pictures of a run: the topology it ran on, and consensus and accuracy over its rounds."""

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from coordinator.store import RunFolder
from topologies.schedule import Schedule

PANELS = (
    ("relative_distance", "disagreement (relative consensus distance)"),
    ("agreement", "agreement (same largest output)"),
    ("rankme", "effective rank (RankMe, mean over peers)"),
)


def save(schedule: Schedule, folder: RunFolder) -> None:
    """Write `figures/topology.png` and `figures/consensus.png` into a run's folder."""
    target = folder.path / "figures"
    target.mkdir(exist_ok=True)
    save_topology(schedule, target / "topology.png")
    rows = [row for row in folder.rows("rounds") if "relative_distance" in row]
    if rows:
        save_consensus(rows, target / "consensus.png")


def save_topology(schedule: Schedule, path: Path) -> None:
    """The links teacher -> student of one round, or of up to four where rounds differ."""
    count = min(schedule.period or 4, 4)
    figure = Figure(figsize=(4 * count, 4), layout="tight")
    axes = figure.subplots(1, count, squeeze=False)
    for round_index, axis in enumerate(axes[0]):
        links = [(teacher, student) for student, teacher in schedule(round_index).edges if student != teacher]
        graph = nx.DiGraph()
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


def save_consensus(rows: list[dict[str, Any]], path: Path) -> None:
    """Disagreement, agreement and effective rank against the round, from rows of the rounds table."""
    figure = Figure(figsize=(4.2 * len(PANELS), 3.2), layout="tight")
    axes = figure.subplots(1, len(PANELS))
    rounds = [row["round"] for row in rows]
    for axis, (name, title) in zip(axes, PANELS, strict=True):
        axis.plot(rounds, np.array([row.get(name, np.nan) for row in rows], dtype=float), marker=".")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("round")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
