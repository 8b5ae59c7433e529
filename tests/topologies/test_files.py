"""Files of links as a whole: the same schedule as that of what was written into them."""

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

from topologies import schedule
from topologies.files import SUFFIXES, count_peers, is_link_file, schedule_from
from topologies.given import schedule_of
from topologies.schedule import Schedule

Refusal = Callable[..., str]


def by_rounds(rounds: Schedule, count: int, weights: bool = False) -> str:
    """The links of the first rounds as a CSV file."""
    lines = [
        f"{index},{student},{edge.teacher},{edge.weight!r}"
        for index in range(count)
        for student, edges in enumerate(rounds(index).incoming)
        for edge in edges
    ]
    return "\n".join(["round,student,teacher,weight", *lines] if weights else ["round,student,teacher"]) + "".join(
        [] if weights else ["\n" + line.rpartition(",")[0] for line in lines]
    )


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("num_peers", [4, 7])
def test_schedule_from__a_file_by_rounds_is_the_schedule_written_into_it(
    num_peers: int, weights: bool, tmp_path: Path
) -> None:
    """Also after the last round, where it begins again."""
    built = schedule.one_peer_exponential(num_peers)
    assert built.period is not None
    (tmp_path / "e.csv").write_text(by_rounds(built, built.period, weights))
    read = schedule_from(tmp_path / "e.csv", num_peers)
    assert read.period == built.period and read.digest() == built.digest()
    assert [read(index) for index in range(20)] == [built(index) for index in range(20)]
    assert read(1).mixing.toarray().tolist() == built(1).mixing.toarray().tolist()


def test_schedule_from__weights_of_every_round(tmp_path: Path) -> None:
    built = schedule.base(6, 2)
    assert built.period is not None
    (tmp_path / "e.csv").write_text(by_rounds(built, built.period, weights=True))
    read = schedule_from(tmp_path / "e.csv", 6, allow_disconnected=True)
    for index in range(built.period):
        assert read(index).links == built(index).links
        for student in range(6):
            expected = [edge.weight for edge in built(index).incoming[student]]
            assert [edge.weight for edge in read(index).incoming[student]] == pytest.approx(expected, rel=1e-15)


def test_schedule_from__equal_rounds_are_one_object_and_missing_ones_have_no_exchange(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("round,teacher,student\n0,0,1\n2,1,0\n4,0,1\n7,1,0\n")
    read = schedule_from(tmp_path / "e.csv", 2)
    assert [len(read(index).links) for index in range(9)] == [1, 0, 1, 0, 1, 0, 0, 1, 1]
    assert read(0) is read(4) is read(8) and read(1) is read(6) and read(2) is read(7)


@pytest.mark.parametrize("name", ["g.graphml", "g.gml", "g.edgelist"])
def test_schedule_from__a_graphs_file_equals_the_graph(name: str, tmp_path: Path, refusal: Refusal) -> None:
    graph = nx.watts_strogatz_graph(9, 4, 0.4, seed=3)
    {"g.graphml": nx.write_graphml, "g.gml": nx.write_gml, "g.edgelist": nx.write_edgelist}[name](
        graph, tmp_path / name
    )
    directed = False if name == "g.edgelist" else None
    assert schedule_from(tmp_path / name, 9, directed)(0) == schedule_of(graph, 9)(0)
    uniform = schedule_from(tmp_path / name, 9, directed, "uniform")(0)
    assert uniform == schedule_of(graph, 9, weights="uniform")(0) != schedule_of(graph, 9)(0)
    assert count_peers(tmp_path / name, directed) == 9
    line = refusal(schedule_from, tmp_path / name, 8, directed)
    assert line.startswith(f"topology.path: {name}: must have a node for each peer, got 9 nodes for peers.count = 8")


def test_schedule_from__peers_that_an_edge_list_does_not_name_have_no_links(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "g.txt").write_text("0 2\n")
    assert "joins peers 0 and 1; " in refusal(schedule_from, tmp_path / "g.txt", 4, True)
    assert schedule_from(tmp_path / "g.txt", 4, True, None, True)(0).links == ((0, 2),)
    assert "got 3 nodes for peers.count = 2" in refusal(schedule_from, tmp_path / "g.txt", 2, True)


def test_schedule_from__refuses_settings_that_would_not_be_used(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "e.csv"
    path.write_text("teacher,student,weight\n0,1,1\n")
    assert "topology.directed: a CSV file has directed links" in refusal(schedule_from, path, 2, True)
    assert "topology.weights: a CSV file has" in refusal(schedule_from, path, 2, None, "metropolis-hastings")
    assert "topology.weights: e.csv has weights itself" in refusal(schedule_from, path, 2, None, "uniform")
    path.write_text("teacher,student\n0,1\n")
    assert schedule_from(path, 2, None, "uniform")(0).links == ((0, 1),)


def test_is_link_file__by_suffix() -> None:
    assert all(is_link_file(Path(f"folder/Links{suffix.upper()}")) for suffix in SUFFIXES)
    assert not any(is_link_file(Path(name)) for name in ("ring", "run.toml", "csv", "links.csv.gz", "ring.png"))
