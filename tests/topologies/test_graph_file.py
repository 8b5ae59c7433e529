"""GraphML, GML and edge lists as networkx writes them, and the one line about what is wrong in them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from topologies.graph_file import from_graph_file

Refusal = Callable[..., str]
WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "g.graphml": nx.write_graphml,
    "g.gml": nx.write_gml,
    "g.edgelist": nx.write_edgelist,
    "g.edges": nx.write_weighted_edgelist,
    "G.TXT": lambda graph, path: nx.write_edgelist(graph, path, data=False),
}


def own_graphs() -> "dict[str, nx.Graph[int]]":
    backwards: nx.Graph[int] = nx.Graph()
    backwards.add_edges_from([(4, 2), (2, 0), (3, 1), (0, 3)])
    directed = nx.gn_graph(7, seed=1)
    weighted = nx.cycle_graph(5)
    nx.set_edge_attributes(weighted, {edge: 0.5 + edge[0] for edge in weighted.edges}, "weight")
    return {"undirected": backwards, "directed": directed, "weighted": weighted}


@pytest.mark.parametrize("graph", own_graphs().values(), ids=own_graphs())
@pytest.mark.parametrize("name", WRITERS)
def test_from_graph_file__reads_what_networkx_writes(graph: "nx.Graph[int]", name: str, tmp_path: Path) -> None:
    """Whichever order the nodes come in: GML numbers them by that order, and has their names as labels."""
    has_weights = bool(nx.get_edge_attributes(graph, "weight"))
    if name == "g.edges" and not has_weights:
        nx.set_edge_attributes(graph, 1.0, "weight")  # else networkx writes no line
    WRITERS[name](graph, tmp_path / name)
    lists = name not in ("g.graphml", "g.gml")
    read = from_graph_file(tmp_path / name, directed=graph.is_directed() if lists else None)
    assert read.is_directed() == graph.is_directed() and set(read) == set(graph)
    assert nx.utils.edges_equal(read.edges, graph.edges, directed=graph.is_directed())
    kept = {} if name == "G.TXT" else nx.get_edge_attributes(graph, "weight")
    assert {edge: read.edges[edge]["weight"] for edge in kept} == kept
    assert bool(nx.get_edge_attributes(read, "weight")) == bool(kept)


def test_from_graph_file__gml_without_labels_has_its_nodes_by_id(tmp_path: Path) -> None:
    path = tmp_path / "g.gml"
    path.write_text("graph [ directed 1 node [ id 1 ] node [ id 0 ] edge [ source 1 target 0 weight 3 ] ]")
    assert list(from_graph_file(path).edges(data="weight")) == [(1, 0, 3)]


def test_from_graph_file__what_may_stand_in_an_edge_list(tmp_path: Path) -> None:
    path = tmp_path / "g.edgelist"
    path.write_bytes(b"\xef\xbb\xbf# by hand\r\n\r\n 0\t1\r\n2 1 # back\r\n3 1 {'colour': 'red'}\r\n5 3 0.25\r\n")
    graph = from_graph_file(path, directed=True)
    assert list(graph.edges) == [(0, 1), (2, 1), (3, 1), (5, 3)] and sorted(graph) == list(range(6))
    assert nx.get_edge_attributes(graph, "weight") == {(5, 3): 0.25}


GRAPHML = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="directed">{}</graph></graphml>'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("g.graphml", "", "g.graphml: it is no GraphML, no element found"),
        (
            "g.graphml",
            "teacher,student\n0,1\n",
            "it is no GraphML, syntax error: line 1, column 0; name a GraphML file",
        ),
        ("g.graphml", "<html/>", "it is no GraphML, file not successfully read as graphml; name a GraphML file"),
        (
            "g.graphml",
            GRAPHML.format('<node id="n0"/>'),
            "nodes must be the peers 0, 1, 2, ..., got 'n0'; relabel them",
        ),
        ("g.graphml", GRAPHML.format('<node id="00"/><node id="0"/>'), "two nodes have the same number"),
        ("g.gml", "", "g.gml: it is no GML, input contains no graph; name a GML file"),
        ("g.gml", "graph [ node [ id 0 label 'a' ] ]", "it is no GML, cannot tokenize"),
        (
            "g.gml",
            'graph [ node [ id 0 label "Ada" ] ]',
            "got 'Ada'; relabel them with networkx.convert_node_labels_to",
        ),
        ("g.gml", "graph [ node [ id -1 ] ]", "nodes must be the peers 0, 1, 2, ..., got '-1'; relabel them"),
        ("g.txt", "0 1\n2\n", "g.txt line 2: must have two nodes, got '2'; add the other"),
        ("g.txt", "0 1\n\na 1\n", "g.txt line 3: nodes must be the peers 0, 1, 2, ..., got 'a'; number them"),
        (
            "g.txt",
            "0 1 half\n",
            "line 1: is no edge, Failed to convert weight data half to type <class 'float'>.; write",
        ),
        ("g.txt", "0 1 {'weight': open}\n", "line 1: is no edge, Failed to convert edge data"),
        ("g.txt", "0 1 0.5 0.5\n", "line 1: is no edge, Failed to convert edge data"),
        ("g.txt", "teacher,student\n0,1\n", "line 1: an edge list separates by spaces, got commas; name a file of"),
        ("g.txt", "0 1\n1 2\n0 1\n", "line 3: edge 0 1 repeats line 1; remove one of them"),
        ("g.txt", "0 1\n1 0\n", "line 2: edge 1 0 repeats line 1 the other way round; set topology.directed = true"),
        ("g.txt", "0 1\0\n", "line 1: holds a zero byte, so it is no edge; name an edge list"),
    ],
)
def test_from_graph_file__mistakes_are_one_line(
    name: str, text: str, message: str, tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert message in refusal(from_graph_file, path, False if name == "g.txt" else None)


def test_from_graph_file__an_edge_list_must_be_told_whether_its_links_have_a_direction(
    tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / "g.edges"
    path.write_text("0 1\n1 0\n")
    assert "set topology.directed = true" in refusal(from_graph_file, path)
    assert sorted(from_graph_file(path, True).edges) == [(0, 1), (1, 0)]
    path.write_text("0 1\n")
    assert "topology.directed: must be set, since the edge list g.edges does not say" in refusal(from_graph_file, path)
    assert "topology.directed: g.gml says itself" in refusal(from_graph_file, tmp_path / "g.gml", False)


@pytest.mark.parametrize("name", ["g.graphml", "g.gml", "g.txt"])
def test_from_graph_file__what_is_no_file_is_not_opened(name: str, tmp_path: Path, refusal: Refusal) -> None:
    directed = False if name == "g.txt" else None
    assert "No such file or directory" in refusal(from_graph_file, tmp_path / name, directed)
    os.mkfifo(tmp_path / name)
    assert "it is a pipe; name" in refusal(from_graph_file, tmp_path / name, directed)
    (tmp_path / name).unlink()
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    line = refusal(from_graph_file, tmp_path / name, directed)
    assert ("holds a zero byte" if name == "g.txt" else "it has more than 256 MiB") in line
