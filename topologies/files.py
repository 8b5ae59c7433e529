"""The schedule of a file of links, read by its suffix: CSV, also with a column of rounds, GraphML, GML, edge lists."""

from collections.abc import Iterable
from pathlib import Path

from topologies import edge_file, graph_file, mixing
from topologies.given import schedule_of
from topologies.graphs import check_num_peers
from topologies.links import Weights
from topologies.round import Round
from topologies.schedule import Schedule, periodic

SUFFIXES = (".csv", *graph_file.SUFFIXES)


def is_link_file(path: Path) -> bool:
    """Whether the name's suffix is one of a file of links."""
    return path.suffix.lower() in SUFFIXES


def schedule_from(
    path: Path,
    num_peers: int,
    directed: bool | None = None,
    weights: Weights | None = None,
    allow_disconnected: bool = False,
) -> Schedule:
    """The schedule of the links in a file; a CSV file is what has no other known suffix.

    A CSV file with rounds repeats from its first after its last. directed: required for edge lists, refused for others.
    weights: as in `given.schedule_of`. Raises: ValueError.
    """
    if path.suffix.lower() in graph_file.SUFFIXES:
        check_num_peers(num_peers)
        graph = graph_file.from_graph_file(path, directed)
        if path.suffix.lower() in graph_file.EDGE_LISTS and len(graph) < num_peers:
            graph.add_nodes_from(range(num_peers))  # peers that the list does not name have no links
        name = f"topology.path: {path.name}"
        return schedule_of(graph, num_peers, weights=weights, allow_disconnected=allow_disconnected, name=name)
    for field, value in (("directed", directed), ("weights", None if weights == "uniform" else weights)):
        if value is not None:
            raise ValueError(
                f"topology.{field}: a CSV file has directed links from teacher to student, got {value!r}; leave it out"
            )
    by_round = edge_file.from_edge_file(path, num_peers, allow_disconnected)
    if weights is not None and any(link.weight is not None for links in by_round for link in links):
        raise ValueError(f"topology.weights: {path.name} has weights itself, got {weights!r}; leave it out")
    return periodic(_rounds(by_round, num_peers))


def count_peers(path: Path, directed: bool | None = None) -> int:
    """How many peers the links of a file are for. Raises: ValueError."""
    if path.suffix.lower() not in graph_file.SUFFIXES:
        return edge_file.count_peers(path)
    return max(2, len(graph_file.from_graph_file(path, directed)))


def _rounds(by_round: Iterable[list[edge_file.Link]], num_peers: int) -> tuple[Round, ...]:
    """A round for each list of links; equal ones share an object."""
    shared: dict[Round, Round] = {}
    rounds = []
    for links in by_round:
        made = Round.from_mixing(mixing.weighted(edge_file.graph_of(links, num_peers)))
        rounds.append(shared.setdefault(made, made))
    return tuple(rounds)
