"""Graph families against networkx's own constructions and against the definitions."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from numpy.random import default_rng

from topologies import graphs

Refusal = Callable[..., str]


def test_ring__two_peers_share_one_edge() -> None:
    assert sorted(graphs.ring(2).edges) == [(0, 1)]


@pytest.mark.parametrize("num_peers", [3, 8, 13])
def test_static_families__equal_circulants_and_trees(num_peers: int) -> None:
    assert nx.utils.graphs_equal(graphs.ring(num_peers), nx.circulant_graph(num_peers, [1]))
    assert sorted(graphs.star(num_peers).edges) == [(0, leaf) for leaf in range(1, num_peers)]
    assert sorted(graphs.path(num_peers).edges) == [(i, i + 1) for i in range(num_peers - 1)]


@pytest.mark.parametrize(("num_peers", "sides"), [(4, (2, 2)), (6, (2, 3)), (12, (3, 4)), (16, (4, 4)), (30, (5, 6))])
def test_torus__neighbours_are_one_step_along_a_side(num_peers: int, sides: tuple[int, int]) -> None:
    rows, columns = sides
    torus = graphs.torus(num_peers)
    assert sorted(torus) == list(range(num_peers))
    for peer in torus:
        row, column = divmod(peer, columns)
        vertical = {(row + step) % rows * columns + column for step in (-1, 1)}
        assert set(torus[peer]) == vertical | {row * columns + (column + step) % columns for step in (-1, 1)}


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_hypercube__neighbours_differ_in_one_bit(dimension: int) -> None:
    graph = graphs.hypercube(2**dimension)
    assert all((i ^ j).bit_count() == 1 for i, j in graph.edges)
    assert [degree for _, degree in graph.degree] == [dimension] * 2**dimension


@pytest.mark.parametrize(("num_peers", "hops"), [(2, [1]), (3, [1, 2]), (8, [1, 2, 4]), (12, [1, 2, 4, 8])])
def test_exponential__students_learn_from_powers_of_two_ahead(num_peers: int, hops: list[int]) -> None:
    graph = graphs.exponential(num_peers)
    for student in range(num_peers):
        assert sorted(graph.predecessors(student)) == sorted((student + hop) % num_peers for hop in hops)


@pytest.mark.parametrize(("num_peers", "degree"), [(16, 2), (10, 3), (5, 4), (2, 1)])
def test_random_regular__is_regular_simple_and_redrawn_until_connected(num_peers: int, degree: int) -> None:
    for seed in range(20):  # 2-regular graphs on 16 peers are disconnected more often than not
        graph = graphs.random_regular(num_peers, degree, default_rng(seed))
        assert sorted(graph) == list(range(num_peers))
        assert nx.is_k_regular(graph, degree) and nx.is_connected(graph)
        assert nx.number_of_selfloops(graph) == 0


def test_random_regular__allow_disconnected_keeps_the_first_draw() -> None:
    drawn = [graphs.random_regular(16, 2, default_rng(seed), allow_disconnected=True) for seed in range(20)]
    assert not all(nx.is_connected(graph) for graph in drawn)
    assert nx.number_connected_components(graphs.random_regular(6, 1, default_rng(0), allow_disconnected=True)) == 3


def test_random_families__are_functions_of_the_seed() -> None:
    def drawn(seed: int) -> list[list[tuple[int, int]]]:
        rng = default_rng(seed)
        families = [graphs.random_regular(20, 3, rng), graphs.erdos_renyi(20, 0.3, rng)]
        return [sorted(graph.edges) for graph in (*families, graphs.watts_strogatz(20, 4, 0.3, rng))]

    assert drawn(1) == drawn(1)
    assert all(one != other for one, other in zip(drawn(1), drawn(2), strict=True))


def test_erdos_renyi__number_of_edges_has_the_binomial_mean() -> None:
    counts = [
        graphs.erdos_renyi(20, 0.3, default_rng(seed), allow_disconnected=True).number_of_edges() for seed in range(100)
    ]
    standard_error = np.sqrt(190 * 0.3 * 0.7 / 100)
    assert abs(np.mean(counts) - 190 * 0.3) < 4 * standard_error
    assert nx.utils.graphs_equal(graphs.erdos_renyi(7, 1.0, default_rng(0)), nx.complete_graph(7))


@pytest.mark.parametrize("p", [0.0, 0.03, 0.4])
def test_erdos_renyi__draws_what_networkx_draws(p: float) -> None:
    for num_peers in (2, 17, 40):
        ours = graphs.erdos_renyi(num_peers, p, default_rng(3), allow_disconnected=True)
        assert nx.utils.graphs_equal(ours, nx.gnp_random_graph(num_peers, p, seed=default_rng(3)))


def test_watts_strogatz__rewires_a_lattice() -> None:
    lattice = nx.circulant_graph(20, [1, 2])
    assert nx.utils.graphs_equal(graphs.watts_strogatz(20, 4, 0.0, default_rng(0)), lattice)
    rewired = graphs.watts_strogatz(20, 4, 0.5, default_rng(0))
    assert rewired.number_of_edges() == lattice.number_of_edges() and nx.is_connected(rewired)
    assert not nx.utils.graphs_equal(rewired, lattice)


@pytest.mark.parametrize("family", [graphs.ring, graphs.star, graphs.path, graphs.exponential])
def test_families__refuse_a_lone_peer(family: object, refusal: Refusal) -> None:
    assert refusal(family, 1).startswith("peers.count: a topology needs at least 2 peers, got 1")


def test_families__refuse_impossible_arguments(refusal: Refusal) -> None:
    rng = default_rng(0)
    assert "got 7; set peers.count to 8" in refusal(graphs.torus, 7)
    assert "got 3; set peers.count to 4" in refusal(graphs.torus, 3)
    assert "got 12; set peers.count to 8 or 16" in refusal(graphs.hypercube, 12)
    assert "from 1 to peers.count - 1 = 7, got 8" in refusal(graphs.random_regular, 8, 8, rng)
    assert "from 1 to peers.count - 1 = 7, got 0" in refusal(graphs.random_regular, 8, 0, rng)
    assert "must be even, got 5 * 3" in refusal(graphs.random_regular, 5, 3, rng)
    assert "none in 100 draws; raise topology.degree or set" in refusal(graphs.random_regular, 6, 1, rng)
    assert "none in 100 draws; raise topology.p or set" in refusal(graphs.erdos_renyi, 6, 0.0, rng)
    assert "must be a probability, got 1.5" in refusal(graphs.erdos_renyi, 6, 1.5, rng)
    assert "must be even for watts-strogatz, got 3" in refusal(graphs.watts_strogatz, 8, 3, 0.1, rng)
    assert "from 1 to peers.count - 1 = 3, got 4" in refusal(graphs.watts_strogatz, 4, 4, 0.1, rng)
    assert "topology.rewire: must be a probability" in refusal(graphs.watts_strogatz, 8, 4, -0.1, rng)
