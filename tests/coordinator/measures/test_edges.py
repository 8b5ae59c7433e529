"""What is measured along a link belongs to the right teacher and the right student."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.measures.measure import measure
from peers.probing.observing import Observation, Observations
from topologies.round import Round, edges_from


def seen(*probs: float) -> Observation:
    """A peer whose softmax outputs are `probs` on both of two examples."""
    return Observation(np.log(np.array([probs, probs], dtype=np.float32)), np.eye(2), 1.0, 1.0, 1.0, 0.0, False)


def test_measure__an_edge_runs_from_teacher_to_student() -> None:
    """Peer 0 learns from both others, with different weights, and nobody else learns."""
    plan = Round((edges_from((1, 2), (0.25, 0.75)), (), ()), kept=(0.0, 1.0, 1.0))
    peers = [seen(0.9, 0.1), seen(0.5, 0.5), seen(0.1, 0.9)]
    edges = measure(Observations(dict(enumerate(peers))), plan, 1.0)[0].edges
    assert {link: edge["weight"] for link, edge in edges.items()} == {(1, 0): 0.25, (2, 0): 0.75}
    assert [edge["total_variation"] for edge in edges.values()] == pytest.approx([0.4, 0.8], abs=1e-6)


def test_simulate__the_table_of_edges_tells_teachers_from_students(tiny: Path) -> None:
    Path("edges.csv").write_text("teacher,student,weight\n3,0,1\n0,1,0.25\n2,1,0.75\n")
    config = load_config(tiny, ["topology.kind=file", "topology.path=edges.csv", "run.rounds=1"])
    rows = pq.read_table(simulate(config, "out").folder / "metrics" / "edges.parquet").to_pylist()
    found = [(row["teacher"], row["student"], row["weight"]) for row in rows if row["round"] == 1]
    assert found == [(3, 0, 1.0), (0, 1, 0.25), (2, 1, 0.75)]
