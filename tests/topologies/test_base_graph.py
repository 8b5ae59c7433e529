"""The Base-(k+1) graph: exact averaging, its degree, and the lengths that the construction implies."""

from math import log

import numpy as np
import pytest

from topologies.base_graph import base_rounds, hyper_hypercube_rounds, simple_base_rounds


@pytest.mark.parametrize("max_degree", [1, 2, 3, 4])
@pytest.mark.parametrize("construct", [base_rounds, simple_base_rounds])
def test_base_rounds__average_exactly_within_the_degree(construct: object, max_degree: int) -> None:
    assert callable(construct)
    for num_peers in range(2, 27):
        product = np.eye(num_peers)
        for sparse in construct(num_peers, max_degree):
            mixing = sparse.toarray()
            assert (mixing >= 0).all() and np.array_equal(mixing, mixing.T)
            np.testing.assert_allclose(mixing.sum(axis=1), 1)
            assert np.count_nonzero(mixing - np.diag(np.diag(mixing)), axis=1).max() <= max_degree
            product = mixing @ product
        np.testing.assert_allclose(product, 1 / num_peers, atol=1e-13)


@pytest.mark.parametrize("max_degree", [1, 2, 3, 4])
def test_simple_base_rounds__length_bound(max_degree: int) -> None:
    for num_peers in range(2, 65):
        bound = 2 * log(num_peers, max_degree + 1) + 2
        assert len(base_rounds(num_peers, max_degree)) <= len(simple_base_rounds(num_peers, max_degree)) <= bound + 1e-9


def test_base_rounds__lengths_by_hand() -> None:
    assert len(simple_base_rounds(5, 1)) == 5  # 4 + 1 peers: two rounds within, one trade, two rounds to spread it
    assert len(simple_base_rounds(6, 1)) == 5  # 4 + 2
    assert len(base_rounds(6, 1)) == 4  # 2 blocks of 3: three rounds within, one across
    assert len(base_rounds(6, 2)) == 2  # 2 * 3
    assert len(base_rounds(5, 4)) == 1  # one clique


def test_hyper_hypercube_rounds__mixed_radix_by_hand() -> None:
    pairs, triples = hyper_hypercube_rounds(6, 2)
    np.testing.assert_allclose(pairs.toarray(), np.kron(np.eye(3), np.full((2, 2), 1 / 2)))
    np.testing.assert_allclose(triples.toarray(), np.kron(np.full((3, 3), 1 / 3), np.eye(2)))


def test_simple_base_rounds__three_peers_by_hand() -> None:
    gather, trade, spread = simple_base_rounds(3, 1)
    np.testing.assert_allclose(gather.toarray(), np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]]) / 2)
    np.testing.assert_allclose(trade.toarray(), np.array([[3, 0, 0], [0, 1, 2], [0, 2, 1]]) / 3)
    np.testing.assert_allclose(spread.toarray(), gather.toarray())
