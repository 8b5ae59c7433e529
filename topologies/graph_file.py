"""Reads GraphML, GML and edge lists by networkx's own readers; peers are the nodes 0, 1, 2, ..."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx

from topologies.graphs import Graph
from topologies.link_file import MAX_BYTES, check_regular, first_line, line_of, lines, unreadable

EDGE_LISTS = (".edgelist", ".edges", ".txt")
SUFFIXES = (".graphml", ".gml", *EDGE_LISTS)
DIRECTED = (
    "does not say whether its links have a direction; set topology.directed = false (both learn from each other) or "
    "true (the first teaches the second)"
)


def from_graph_file(path: Path, directed: bool | None = None) -> Graph:
    """The graph of a file, with integers as nodes; in a directed one, links run from teacher to student.

    directed: whether the links of an edge list have a direction; None for other files, which say it themselves. The
    nodes of an edge list are those up to the highest that it names.

    Raises:
        ValueError: when the file cannot be read, its nodes are no integers, or `directed` is missing or superfluous.
    """
    suffix = path.suffix.lower()
    where = f"topology.path: {path.name}"
    if suffix in EDGE_LISTS:
        return _edge_list(path, directed, where)
    if directed is not None:
        raise ValueError(f"topology.directed: {path.name} says itself whether its links have a direction; leave it out")
    name, read = ("GraphML", _graphml) if suffix == ".graphml" else ("GML", _gml)
    check_regular(path, f"a {name} file", MAX_BYTES)
    try:
        graph = read(path)
    except OSError as error:
        raise unreadable(path, error.strerror or str(error), f"a {name} file") from None
    except Exception as error:  # networkx's readers raise whatever their parsers raise
        raise unreadable(path, f"it is no {name}, {first_line(error)}", f"a {name} file") from None
    return _with_integers(graph, where)


def _graphml(path: Path) -> "nx.Graph[Any]":
    graph: nx.Graph[Any] = nx.read_graphml(path)
    return graph


def _gml(path: Path) -> "nx.Graph[Any]":
    """Nodes by their labels, which is where networkx writes their names, or by their ids in a file without labels."""
    try:
        graph: nx.Graph[Any] = nx.read_gml(path, label="label")
    except nx.NetworkXError as error:
        if "'label'" not in str(error):
            raise
        graph = nx.read_gml(path, label="id")
    return graph


def _edge_list(path: Path, directed: bool | None, where: str) -> Graph:
    """Read line by line, so that a mistake names its line. Repeated links are refused, which networkx would merge."""
    graph: nx.Graph[Any] = nx.DiGraph() if directed else nx.Graph()
    first: dict[tuple[int, int], int] = {}
    for number, line in lines(path, "an edge list", "text"):
        content, place = line.partition("#")[0], line_of(path, number)
        if not content.strip():
            continue
        teacher, student, data = _edge(content, place)
        pair = (teacher, student) if directed else (min(teacher, student), max(teacher, student))
        if pair in first:
            turned = "" if directed or graph.edges[pair]["order"] == (teacher, student) else " the other way round"
            advice = "set topology.directed = true, or remove" if turned else "remove"
            raise ValueError(
                f"{place}: edge {teacher} {student} repeats line {first[pair]}{turned}; {advice} one of them"
            )
        first[pair] = number
        graph.add_edge(teacher, student, order=(teacher, student), **data)
    if directed is None:
        raise ValueError(f"topology.directed: must be set, since the edge list {path.name} {DIRECTED}")
    return _with_integers(graph, where, fill=True)


def _edge(line: str, place: str) -> tuple[int, int, dict[str, Any]]:
    """Teacher, student and attributes in a line `0 1`, `0 1 0.5` or `0 1 {'weight': 0.5}`."""
    if "," in line.partition("{")[0]:
        raise ValueError(
            f"{place}: an edge list separates by spaces, got commas; name a file of teacher,student with commas *.csv"
        )
    if len(line.split()) < 2:
        raise ValueError(f"{place}: must have two nodes, got {line.strip()!r}; add the other")
    weighted = len(line.split()) == 3 and "{" not in line
    parse: Callable[..., nx.Graph[Any]] = nx.parse_edgelist
    try:
        graph = parse([line], create_using=nx.DiGraph, data=(("weight", float),) if weighted else True)
    except Exception as error:
        raise ValueError(
            f"{place}: is no edge, {first_line(error)}; write two nodes, and a weight as 0.5 or {{'weight': 0.5}}"
        ) from None
    ((first, second, data),) = graph.edges(data=True)
    names = [str(first), str(second)]
    wrong = [name for name in names if not re.fullmatch("[0-9]{1,9}", name)]
    if wrong:
        raise ValueError(f"{place}: nodes must be the peers 0, 1, 2, ..., got {wrong[0]!r}; number them")
    return int(names[0]), int(names[1]), dict(data)


def _with_integers(graph: "nx.Graph[Any]", where: str, fill: bool = False) -> Graph:
    """The graph with its nodes' names as integers. fill: add the missing nodes up to the highest."""
    names: dict[Any, int] = {}
    for node in graph:
        if not re.fullmatch("[0-9]{1,9}", str(node)):
            raise ValueError(
                f"{where}: nodes must be the peers 0, 1, 2, ..., got {str(node)[:40]!r}; relabel them with "
                "networkx.convert_node_labels_to_integers before they are written"
            )
        names[node] = int(str(node))
    if len(set(names.values())) < len(names):
        raise ValueError(f"{where}: two nodes have the same number; give each its own")
    relabelled: Graph = nx.relabel_nodes(graph, names)
    if fill and names:
        relabelled.add_nodes_from(range(max(names.values())))
    return relabelled
