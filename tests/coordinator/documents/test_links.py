from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import load_config
from coordinator.documents.document import run_document
from coordinator.documents.readers.graph import graph_of
from coordinator.experiment.config import config_from, to_toml
from coordinator.planning.schedules import build_schedule
from tests.coordinator.documents.run_folders import write_table
from topologies.layouts import places

ROUNDS = 12


def written(folder: Path, measured: dict[int, list[tuple[int, int]]], **tables: Any) -> Path:
    """The folder of a run of six peers whose tables have these links at these rounds."""
    config = {
        "data": {"kind": "digits"},
        "peers": {"count": 6},
        "topology": {"kind": "ring"},
        "run": {"rounds": ROUNDS},
    }
    (folder / "metrics").mkdir()
    (folder / "config.toml").write_text(to_toml(config_from(config | tables)))
    write_table(folder / "metrics/rounds.parquet", [{"round": each, "loss": 1.0} for each in range(1, ROUNDS + 1)])
    rows = [
        {"round": number, "teacher": teacher, "student": student, "total_variation": 0.5}
        for number, links in measured.items()
        for teacher, student in links
    ]
    write_table(folder / "metrics/edges.parquet", rows)
    return folder


def test_links__who_has_dropped_out_neither_hears_nor_is_heard(tmp_path: Path) -> None:
    folder = written(tmp_path, {0: [(0, 1)], 8: [(2, 3)], ROUNDS: [(2, 3)]})
    (folder / ".progress.json").write_text('{"dropped": {"1": {"round": 3, "reason": "its loss is not finite"}}}')
    links = run_document(folder)["links"]
    assert len(links["list"]) == 6  # of a ring, each pair once
    for pair, messages in zip(links["list"], zip(*links["messages"], strict=True), strict=True):
        assert messages == ((0, 6, 0) if 1 in pair else (0, 16, 8))


def test_links__those_of_rounds_without_a_measurement_are_listed(tmp_path: Path) -> None:
    exchange = {"roles": "one-student"}  # another one in every round: 12 links of the ring, of which 2 are measured
    folder = written(tmp_path, {ROUNDS: [(0, 1), (2, 1)]}, exchange=exchange)
    schedule = build_schedule(load_config(folder / "config.toml"))
    rounds = [schedule(index).arrays() for index in range(ROUNDS)]
    sent = [pair for each in rounds for pair in zip(each.teachers.tolist(), each.students.tolist(), strict=True)]
    links = run_document(folder)["links"]
    counts = {tuple(pair): count for pair, count in zip(links["list"], links["messages"][-1], strict=True) if count}
    assert counts == {pair: sent.count(pair) for pair in sent}


@pytest.mark.parametrize("topology", [{"kind": "random-regular", "degree": 3}, {"kind": "base", "max_degree": 1}])
def test_graph__peers_are_where_other_pictures_have_them(topology: dict[str, Any]) -> None:
    """Also where every round has other links, here of one student: those of the first round say little of the graph."""
    table = {"data": {"kind": "digits"}, "peers": {"count": 20}, "topology": topology}
    config = config_from({**table, "exchange": {"roles": "one-student"}})
    graph = graph_of(config, 20)
    assert np.allclose(graph.places(graph.base), places(build_schedule(config), topology["kind"]), atol=1e-4)
