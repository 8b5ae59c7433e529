"""Mixing matrices against networkx's Laplacian, the gap's closed forms and measured averaging."""

from collections.abc import Callable
from math import ceil, cos, log2, pi

import networkx as nx
import numpy as np
import pytest
from numpy.random import default_rng
from pytest import approx
from scipy.sparse import csr_array

from topologies import graphs, mixing


def test_metropolis_hastings__path_by_hand() -> None:
    expected = np.array([[2, 1, 0], [1, 1, 1], [0, 1, 2]]) / 3
    np.testing.assert_allclose(mixing.metropolis_hastings(graphs.path(3)).toarray(), expected)


def test_metropolis_hastings__is_a_laplacian_of_its_weights() -> None:
    graph = graphs.erdos_renyi(15, 0.3, default_rng(0))
    for i, j in graph.edges:
        graph.edges[i, j]["weight"] = 1 / (1 + max(graph.degree(i), graph.degree(j)))
    expected = np.eye(15) - nx.laplacian_matrix(graph, nodelist=range(15)).toarray()
    np.testing.assert_allclose(mixing.metropolis_hastings(graph).toarray(), expected, atol=1e-15)


@pytest.mark.parametrize("rule", [mixing.metropolis_hastings, mixing.uniform])
def test_rules__without_links_everybody_keeps_its_own(rule: Callable[[graphs.Graph], csr_array]) -> None:
    assert np.array_equal(rule(nx.empty_graph(3)).toarray(), np.eye(3))


def test_uniform__directed_rows_average_teachers_and_self() -> None:
    graph = nx.DiGraph([(0, 1), (2, 1)])
    np.testing.assert_allclose(mixing.uniform(graph).toarray(), np.array([[3, 0, 0], [1, 1, 1], [0, 0, 3]]) / 3)


def test_uniform__equals_metropolis_hastings_on_regular_graphs_only() -> None:
    regular, star = graphs.random_regular(12, 3, default_rng(0)), graphs.star(5)
    np.testing.assert_allclose(
        mixing.uniform(regular).toarray(), mixing.metropolis_hastings(regular).toarray(), atol=1e-15
    )
    assert mixing.uniform(star).sum(axis=0)[0] == approx(1 / 5 + 4 / 2)


def test_weighted__keeps_the_self_weight_and_splits_the_rest() -> None:
    graph: graphs.DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(3))
    graph.add_weighted_edges_from([(0, 2, 0.25), (1, 2, 0.75)])
    np.testing.assert_allclose(mixing.weighted(graph).toarray(), np.array([[6, 0, 0], [0, 6, 0], [1, 3, 2]]) / 6)


def test_weighted__is_the_dense_formula_bit_by_bit() -> None:
    """Weights that are not sums of powers of two: runs follow their last bits."""
    rng = default_rng(0)
    graph: graphs.DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(150))
    weights = rng.random((150, 150)) * (rng.random((150, 150)) < 0.3) * (1 - np.eye(150))
    graph.add_weighted_edges_from((j, i, weights[i, j]) for i, j in np.argwhere(weights))
    degrees = np.count_nonzero(weights, axis=1)
    expected = weights * (degrees / (degrees + 1) / weights.sum(axis=1))[:, None]
    np.fill_diagonal(expected, 1 / (degrees + 1))
    assert np.array_equal(mixing.weighted(graph).toarray(), expected)


def test_weighted__equal_weights_are_uniform() -> None:
    graph = graphs.exponential(12)
    np.testing.assert_allclose(mixing.weighted(graph).toarray(), mixing.uniform(graph).toarray())


def gap(graph: graphs.Graph) -> float:
    return mixing.spectral_gap(mixing.metropolis_hastings(graph).toarray())


@pytest.mark.parametrize("num_peers", [4, 5, 8, 16, 64])
def test_spectral_gap__ring_complete_and_star_closed_forms(num_peers: int) -> None:
    assert gap(graphs.ring(num_peers)) == approx(2 / 3 * (1 - cos(2 * pi / num_peers)))
    assert gap(nx.complete_graph(num_peers)) == approx(1)
    assert gap(graphs.star(num_peers)) == approx(1 / num_peers)


@pytest.mark.parametrize("side", [3, 4, 5, 8])
def test_spectral_gap__torus_closed_form(side: int) -> None:
    assert gap(graphs.torus(side**2)) == approx(2 / 5 * (1 - cos(2 * pi / side)))


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 6])
def test_spectral_gap__hypercube_closed_form(dimension: int) -> None:
    assert gap(graphs.hypercube(2**dimension)) == approx(2 / (1 + dimension))


@pytest.mark.parametrize("num_peers", [4, 6, 16, 22, 64])
def test_spectral_gap__exponential_closed_form(num_peers: int) -> None:
    num_teachers = ceil(log2(num_peers))
    assert mixing.spectral_gap(mixing.uniform(graphs.exponential(num_peers)).toarray()) == approx(
        2 / (1 + num_teachers)
    )


@pytest.mark.parametrize(("num_peers", "ring_gap"), [(16, 0.0507), (64, 0.0032)])
def test_spectral_gap__published_values(num_peers: int, ring_gap: float) -> None:
    assert gap(graphs.ring(num_peers)) == approx(ring_gap, abs=5e-5)


def test_spectral_gap__disconnected_is_zero() -> None:
    assert mixing.spectral_gap(np.eye(4)) == 0
    assert gap(nx.disjoint_union(graphs.ring(4), graphs.ring(4))) == approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("family", "late"), [(graphs.ring, 60), (graphs.star, 60), (graphs.path, 200), (graphs.torus, 40)]
)
def test_spectral_gap__is_what_averaging_measures(family: object, late: int) -> None:
    """By then only the slowest mode is left, still far above rounding."""
    assert callable(family)
    matrix = mixing.metropolis_hastings(family(12)).toarray()
    opinions = default_rng(0).normal(size=12)
    deviations = [
        np.linalg.norm(np.linalg.matrix_power(matrix, t) @ opinions - opinions.mean()) for t in (late, late + 1)
    ]
    assert deviations[1] / deviations[0] == approx(1 - mixing.spectral_gap(matrix), rel=1e-4)


def test_contraction__is_the_second_eigenvalue_if_symmetric() -> None:
    matrix = mixing.metropolis_hastings(graphs.erdos_renyi(15, 0.3, default_rng(0))).toarray()
    assert mixing.contraction(matrix) == approx(1 - mixing.spectral_gap(matrix))


def test_contraction__one_student_by_hand() -> None:
    # two peers, only peer 0 moves, half-way: the difference halves
    assert mixing.contraction(np.array([[0.5, 0.5], [0.0, 1.0]])) == approx(0.5)
