"""A function per graph family; peers are 0..n-1 and a directed edge runs teacher -> student."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    Graph = nx.Graph[int]
    DiGraph = nx.DiGraph[int]
else:  # networkx's classes take no type arguments at run time
    Graph, DiGraph = nx.Graph, nx.DiGraph

MAX_DRAWS = 100


def ring(num_peers: int) -> Graph:
    """A cycle; two peers share one edge."""
    check_num_peers(num_peers)
    graph: Graph = nx.cycle_graph(num_peers)
    return graph


def star(num_peers: int) -> Graph:
    """Peer 0 is the hub, all others its leaves."""
    check_num_peers(num_peers)
    graph: Graph = nx.star_graph(num_peers - 1)
    return graph


def path(num_peers: int) -> Graph:
    """A line from peer 0 to peer n-1."""
    check_num_peers(num_peers)
    graph: Graph = nx.path_graph(num_peers)
    return graph


def torus(num_peers: int) -> Graph:
    """The most square 2-D torus, row by row; a side of 2 has one edge where longer sides have two.

    Raises:
        ValueError: when the count has no factorisation into two sides of at least 2.
    """
    rows = torus_rows(num_peers)
    grid = nx.grid_2d_graph(rows, num_peers // rows, periodic=True)
    return nx.convert_node_labels_to_integers(grid, ordering="sorted")


def torus_rows(num_peers: int) -> int:
    """The shorter side of the most square torus.

    Raises:
        ValueError: when the count has no factorisation into two sides of at least 2.
    """
    check_num_peers(num_peers)
    rows = next((side for side in range(math.isqrt(num_peers), 1, -1) if num_peers % side == 0), None)
    if rows is None:
        raise ValueError(
            f"topology.kind: torus needs a peer count that is a product of two sides of at least 2, got {num_peers}; "
            f"set peers.count to {max(4, num_peers + 1)} or choose another kind"
        )
    return rows


def hypercube(num_peers: int) -> Graph:
    """Neighbours differ in one binary digit of their index.

    Raises:
        ValueError: when the count is no power of two.
    """
    dimension = hypercube_dimension(num_peers)
    graph: Graph = nx.empty_graph(num_peers)
    graph.add_edges_from(
        (i, i | 1 << digit) for i in range(num_peers) for digit in range(dimension) if not i >> digit & 1
    )
    return graph


def hypercube_dimension(num_peers: int) -> int:
    """The binary digits of a peer's index.

    Raises:
        ValueError: when the count is no power of two.
    """
    check_num_peers(num_peers)
    dimension = num_peers.bit_length() - 1
    if num_peers != 2**dimension:
        raise ValueError(
            f"topology.kind: hypercube needs a power of two of peers, got {num_peers}; "
            f"set peers.count to {2**dimension} or {2 ** (dimension + 1)}"
        )
    return dimension


def exponential(num_peers: int) -> DiGraph:
    """Static exponential graph: student i learns from i + 2^k (mod n) for every 2^k < n.

    Source: Ying et al., 2021 (arXiv 2110.13363).
    """
    check_num_peers(num_peers)
    hops = [2**k for k in range((num_peers - 1).bit_length())]
    graph: DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(num_peers))
    graph.add_edges_from(((i + hop) % num_peers, i) for i in range(num_peers) for hop in hops)
    return graph


def random_regular(num_peers: int, degree: int, rng: np.random.Generator, allow_disconnected: bool = False) -> Graph:
    """A random graph in which every peer has `degree` neighbours.

    Raises:
        ValueError: when no such graph exists, or none of the draws is connected.
    """
    check_regular(num_peers, degree)
    return _connected(
        lambda: nx.random_regular_graph(degree, num_peers, seed=rng),
        allow_disconnected,
        "topology.degree",
        f"{num_peers} peers of degree {degree}",
    )


def erdos_renyi(num_peers: int, p: float, rng: np.random.Generator, allow_disconnected: bool = False) -> Graph:
    """Every pair of peers is linked independently with probability p.

    Raises:
        ValueError: when p is no probability, or none of the draws is connected.
    """
    check_num_peers(num_peers)
    if not 0 <= p <= 1:
        raise ValueError(f"topology.p: must be a probability, got {p}; choose a value from 0 to 1")

    def draw() -> Graph:  # the same draws as nx.gnp_random_graph, one row of pairs at a time
        graph: Graph = nx.empty_graph(num_peers)
        for peer in range(num_peers - 1):
            linked = peer + 1 + np.flatnonzero(rng.random(num_peers - 1 - peer) < p)
            graph.add_edges_from((peer, other) for other in linked.tolist())
        return graph

    return _connected(
        draw,
        allow_disconnected,
        "topology.p",
        f"{num_peers} peers linked with p = {p}",
    )


def watts_strogatz(
    num_peers: int, degree: int, rewire: float, rng: np.random.Generator, allow_disconnected: bool = False
) -> Graph:
    """A ring lattice of even degree whose edges are rewired with probability `rewire`.

    Raises:
        ValueError: when degree or rewire is out of range, or none of the draws is connected.
    """
    check_degree(num_peers, degree)
    if degree % 2:
        raise ValueError(f"topology.degree: must be even for watts-strogatz, got {degree}; change it by one")
    if not 0 <= rewire <= 1:
        raise ValueError(f"topology.rewire: must be a probability, got {rewire}; choose a value from 0 to 1")
    return _connected(
        lambda: nx.watts_strogatz_graph(num_peers, degree, rewire, seed=rng),
        allow_disconnected,
        "topology.degree",
        f"{num_peers} peers of mean degree {degree}",
    )


def check_num_peers(num_peers: int) -> None:
    """Refuse a lone peer.

    Raises:
        ValueError: when there are fewer than two.
    """
    if num_peers < 2:
        raise ValueError(f"peers.count: a topology needs at least 2 peers, got {num_peers}; raise peers.count")


def check_degree(num_peers: int, degree: int) -> None:
    """Refuse a degree that exceeds the number of other peers.

    Raises:
        ValueError: when there are too few other peers.
    """
    check_num_peers(num_peers)
    if not 1 <= degree < num_peers:
        raise ValueError(
            f"topology.degree: must be from 1 to peers.count - 1 = {num_peers - 1}, got {degree}; "
            "change topology.degree or peers.count"
        )


def check_regular(num_peers: int, degree: int) -> None:
    """Refuse a degree for which no regular graph exists.

    Raises:
        ValueError: when there are too few other peers, or an odd number of link ends.
    """
    check_degree(num_peers, degree)
    if num_peers * degree % 2:
        raise ValueError(
            f"topology.degree: peers.count * topology.degree must be even, got {num_peers} * {degree}; "
            "change either by one"
        )


def _connected(draw: Callable[[], Graph], allow_disconnected: bool, field: str, description: str) -> Graph:
    """The first connected graph in `MAX_DRAWS` draws, or the first graph if disconnected ones are allowed."""
    for _ in range(MAX_DRAWS):
        graph = draw()
        if allow_disconnected or nx.is_connected(graph):
            return graph
    raise ValueError(
        f"{field}: {description} must give a connected graph, got none in {MAX_DRAWS} draws; "
        f"raise {field} or set topology.allow_disconnected = true"
    )
