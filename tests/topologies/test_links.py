"""One round's links from graphs, matrices and edges, against the built-in kinds and against the matrix itself."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence, default_rng
from scipy import sparse

from topologies import config, graphs, mixing, schedule
from topologies.combinators import with_self_weight
from topologies.links import Weights, round_of
from topologies.round import Round
from topologies.topology import Topology

SEED = SeedSequence(0)
SAME = {  # networkx's own graph -> the built-in kind with the same links
    "ring": (nx.cycle_graph(8), config.Ring()),
    "ring of two": (nx.path_graph(2), config.Ring()),
    "star": (nx.star_graph(6), config.Star()),
    "path": (nx.path_graph(5), config.Path()),
    "complete": (nx.complete_graph(6), config.Complete()),
    "torus": (
        nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4, periodic=True), ordering="sorted"),
        config.Torus(),
    ),
    "hypercube": (
        nx.relabel_nodes(nx.hypercube_graph(3), lambda bits: int("".join(map(str, bits)), 2)),
        config.Hypercube(),
    ),
    "random-regular": (nx.random_regular_graph(3, 10, seed=default_rng(SEED)), config.RandomRegular(degree=3)),
    "watts-strogatz": (nx.watts_strogatz_graph(12, 4, 0.1, seed=default_rng(SEED)), config.WattsStrogatz()),
    "exponential": (
        nx.DiGraph([((student + hop) % 12, student) for student in range(12) for hop in (1, 2, 4, 8)]),
        config.Exponential(),
    ),
}


def same(first: Round, second: Round) -> bool:
    """Equal links and weights, and equal gossip matrices."""
    return first == second and np.allclose(first.mixing.toarray(), second.mixing.toarray(), rtol=1e-15, atol=0)


def shuffled(graph: "nx.Graph[Any]") -> "nx.Graph[Any]":
    """The same graph, with nodes and edges added in another order, and the numbers of NumPy."""
    rng = default_rng(1)
    other = graph.__class__()
    other.add_nodes_from(rng.permutation(len(graph)))
    for place in rng.permutation(graph.number_of_edges()):
        first, second, data = list(graph.edges(data=True))[place]
        other.add_edge(*((first, second) if graph.is_directed() else (second, first)), **data)
    return other


@pytest.mark.parametrize(("graph", "kind"), SAME.values(), ids=SAME)
def test_round_of__a_graph_equals_the_kind_with_its_links(graph: "nx.Graph[Any]", kind: Topology) -> None:
    built = kind.build(len(graph), SEED)(0)
    assert same(round_of(graph, len(graph)), built)
    assert round_of(shuffled(graph), len(graph)) == built
    if "weights" in type(kind).model_fields:
        uniform = kind.model_copy(update={"weights": "uniform"}).build(len(graph), SEED)(0)
        assert same(round_of(graph, len(graph), "uniform"), uniform)


def test_round_of__every_link_runs_from_teacher_to_student() -> None:
    """A Kleinberg graph: a grid of mutual links, and a long-range link from each node, which teaches the other."""
    kleinberg = nx.convert_node_labels_to_integers(nx.navigable_small_world_graph(4, seed=2), ordering="sorted")
    kleinberg.remove_edges_from(list(nx.selfloop_edges(kleinberg)))  # which networkx draws, too
    assert kleinberg.is_directed() and any(not kleinberg.has_edge(v, u) for u, v in kleinberg.edges)
    links = round_of(kleinberg, 16)
    assert set(links.links) == set(kleinberg.edges)
    for student in range(16):
        teachers = list(kleinberg.predecessors(student))
        assert [edge.weight for edge in links.incoming[student]] == pytest.approx([1 / len(teachers)] * len(teachers))
    assert same(round_of(list(kleinberg.edges), 16), links)
    # networkx's adjacency matrix is teachers by students
    assert set(round_of(nx.to_numpy_array(kleinberg, nodelist=range(16)).T, 16).links) == set(kleinberg.edges)


def test_round_of__weights_are_shares_of_a_students_teachers() -> None:
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([(0, 2, 6), (1, 2, np.float32(2)), (2, 0, 1e90), (0, 1, Fraction(1, 3))])
    links = round_of(graph, 3)
    assert [[tuple(edge[:2]) for edge in edges] for edges in links.incoming] == [
        [(2, 1.0)],
        [(0, 1.0)],
        [(0, 0.75), (1, 0.25)],
    ]
    np.testing.assert_allclose(links.mixing.toarray(), [[0.5, 0, 0.5], [0.5, 0.5, 0], [0.5, 1 / 6, 1 / 3]])
    assert round_of([(0, 2, 6), (1, 2, 2), (2, 0, 1), (0, 1, 5)], 3) == links
    undirected: nx.Graph[int] = nx.Graph()
    undirected.add_weighted_edges_from([(0, 1, 3), (1, 2, 1)])
    assert [[tuple(edge[:2]) for edge in edges] for edges in round_of(undirected, 3).incoming] == [
        [(1, 1.0)],
        [(0, 0.75), (2, 0.25)],
        [(1, 1.0)],
    ]


@pytest.mark.parametrize("weights", ["metropolis-hastings", "uniform"])
def test_round_of__a_matrix_is_what_students_average_with(weights: Weights) -> None:
    """Its diagonal included: that of Metropolis-Hastings weights gives the student its own share."""
    graph = graphs.star(5)
    matrix = mixing.uniform(graph) if weights == "uniform" else mixing.metropolis_hastings(graph)
    links = round_of(matrix, 5)
    np.testing.assert_allclose(links.mixing.toarray(), matrix.toarray(), atol=1e-15)
    np.testing.assert_array_equal(links.as_pooled().mixing.toarray(), links.mixing.toarray())
    leaf = 1 / (1 + (1 if weights == "uniform" else 4))
    assert [edge.weight for edge in links.incoming[1]] == pytest.approx([leaf, 1 - leaf])
    for same_matrix in (matrix.toarray(), matrix.toarray().tolist(), 7 * matrix, sparse.lil_matrix(matrix.toarray())):
        found = round_of(same_matrix, 5)
        assert found.links == links.links
        np.testing.assert_allclose(found.mixing.toarray(), links.mixing.toarray(), atol=1e-15)


def test_round_of__a_diagonal_is_the_self_weight() -> None:
    """The built-in way to the same targets is `topology.self_weight`."""
    ring = schedule.static(Round.from_mixing(mixing.metropolis_hastings(graphs.ring(5))))
    rolled = [np.roll(np.eye(5), step, axis=1) for step in (-1, 1)]
    assert round_of(rolled[0] + rolled[1], 5) == ring(0)
    with_own = round_of(2 * np.eye(5) + rolled[0] + rolled[1], 5)
    assert same(with_own, with_self_weight(ring, 0.5)(0))
    with pytest.raises(
        ValueError, match=r"^topology.self_weight: must be left out, since the matrix's diagonal [^\n]*$"
    ):
        with_self_weight(schedule.static(with_own), 0.5)


def test_round_of__rows_without_teachers_are_of_peers_that_do_not_study() -> None:
    links = round_of([[0, 0, 0], [0, 5, 0], [3, 1, 0]], 3)
    assert links.students == (2,) and links.links == ((0, 2), (1, 2))
    np.testing.assert_array_equal(links.mixing.toarray(), [[1, 0, 0], [0, 1, 0], [0.75, 0.25, 0]])
    assert round_of([], 3).students == () == round_of(nx.empty_graph(3), 3).students


def test_round_of__changes_nothing_of_the_users() -> None:
    matrix = sparse.csr_array(([1.0, 2.0, 0.0, 1.0], ([0, 0, 0, 1], [1, 1, 0, 0])), shape=(2, 2))
    before = (matrix.data.copy(), matrix.indices.copy(), matrix.nnz)
    round_of(matrix, 2)
    assert np.array_equal(matrix.data, before[0]) and np.array_equal(matrix.indices, before[1])
    graph = nx.Graph([(0, 1, {"colour": "red"})])
    round_of(graph, 2)
    assert dict(graph.edges[0, 1]) == {"colour": "red"}


def weighted(weight: object) -> "nx.Graph[int]":
    graph: nx.Graph[int] = nx.path_graph(4)
    nx.set_edge_attributes(graph, weight, "weight")
    return graph


PARTLY = nx.path_graph(4)
PARTLY.edges[0, 1]["weight"] = 1.0
LOOP = nx.path_graph(4)
LOOP.add_edge(2, 2)
RANGE = "must be a number from 1e-100 to 1e+100, got"


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (nx.MultiGraph([(0, 1)]), "must have at most one link from a peer to another, got a MultiGraph"),
        (nx.MultiDiGraph([(0, 1)]), "got a MultiDiGraph; convert it: networkx.DiGraph(graph)"),
        (nx.path_graph(3), "must have a node for each peer, got 3 nodes for peers.count = 4; set peers.count"),
        (nx.grid_2d_graph(2, 2), "got (0, 0); relabel them: networkx.convert_node_labels_to_integers(graph)"),
        (nx.path_graph("abcd"), "nodes must be the peers 0 to 3, got 'a'; relabel them"),
        (nx.path_graph(range(1, 5)), "nodes must be the peers 0 to 3, got 4; relabel them"),
        (
            LOOP,
            "peer 2 must not be linked with itself; remove such links: graph.remove_edges_from(list(networkx.selfloop_",
        ),
        (PARTLY, "all links must have a weight, or none, got 1 of 3 with one"),
        (weighted(-1), f"edge 0 -> 1: weight {RANGE} -1"),
        (weighted(0), f"edge 0 -> 1: weight {RANGE} 0"),
        (weighted(float("nan")), f"weight {RANGE} nan"),
        (weighted(float("inf")), f"weight {RANGE} inf"),
        (weighted(10**400), f"weight {RANGE} 1000"),
        (weighted(1e-320), f"weight {RANGE} 1e-320"),
        (weighted("a\nb"), f"weight {RANGE} 'a"),
        (np.ones((3, 4)), "a matrix must be students by teachers, 4 x 4 for peers.count = 4, got 3 x 4; change either"),
        (np.ones(4), "a matrix must have rows and columns, got 1 axes"),
        (np.float64(1), "a matrix must have rows and columns, got 0 axes"),
        (np.ones((4, 4)) * 1j, "a matrix must have real numbers in rows of one length; got complex128"),
        ([[0, 1, 0, 0], [1]], "a matrix must have real numbers in rows of one length; "),
        ([["a"] * 4] * 4, "a matrix must have real numbers in rows of one length; got <U1"),
        (np.diag([1, 1, -2.5], k=1), f"weights that are 0 or {RANGE[8:]} -2.5 in row 2, column 3; correct it"),
        (np.full((4, 4), np.nan), "got nan in row 0, column 0"),
        (sparse.csr_array(np.diag([1, np.inf, 1], k=-1)), "got inf in row 2, column 1"),
        ([(0, 4)], "with peers from 0 to 3, got (0, 4); correct it"),
        ([(0, -1)], "with peers from 0 to 3, got (0, -1); correct it"),
        ([(0, 0.5)], "with peers from 0 to 3, got (0, 0.5); correct it"),
        ([(0, 1, 2, 3)], "a link must be (teacher, student) or (teacher, student, weight), with peers"),
        ([(0, 1), (1, 2), (0, 1)], "the link from 0 to 1 must not repeat; remove one of them"),
        ([(0, 1, 0.5), (1, 2)], "all links must have a weight, or none, got 1 of 2 with one"),
        ([(3, 3)], "peer 3 must not be linked with itself; remove such links"),
        ([nx.path_graph(4)], "got a list of graphs; for a graph in each round, give a function"),
        (nx.path_graph(4).edges, "must be a networkx Graph or DiGraph (u -> v: u teaches v), a matrix"),
        ("ring", "got str; convert it"),
        (None, "got NoneType; convert it"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_round_of__mistakes_are_one_line(links: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        round_of(links, 4)
    assert message in str(caught.value) and re.match(r"^topology: [^\n]*; [^\n]*$", str(caught.value))


@pytest.mark.parametrize(
    ("make", "weights", "message"),
    [
        (
            lambda: nx.DiGraph([(0, 1), (1, 2), (2, 3)]),
            "metropolis-hastings",
            "are for undirected graphs, got directed",
        ),
        (lambda: weighted(2), "uniform", "the links have weights themselves, got 'uniform'; leave it out"),
        (lambda: np.ones((4, 4)), "uniform", "a matrix has weights itself, got 'uniform'; leave it out"),
    ],
)
def test_round_of__refuses_a_rule_that_would_not_be_used(
    make: Callable[[], object], weights: Weights, message: str
) -> None:
    with pytest.raises(ValueError, match=r"^topology\.weights: [^\n]*$") as caught:
        round_of(make(), 4, weights)
    assert message in str(caught.value)
