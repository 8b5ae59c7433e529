"""Graph -> row-stochastic mixing matrix W, and how fast averaging with it agrees."""

import numpy as np
from jaxtyping import Float

from topologies.graphs import DiGraph, Graph


def metropolis_hastings(graph: Graph) -> Float[np.ndarray, "peers peers"]:
    """W_ij = 1 / (1 + max(d_i, d_j)) on edges, the rest of each row on the diagonal: symmetric, doubly stochastic.

    Source: Xiao, Boyd, Lall, 2005, Metropolis weights.
    """
    assert not graph.is_directed()
    links = _links(graph)
    degrees = links.sum(axis=1)
    mixing: Float[np.ndarray, "peers peers"] = links / (1 + np.maximum.outer(degrees, degrees))
    np.fill_diagonal(mixing, 1 - mixing.sum(axis=1))
    return mixing


def uniform(graph: Graph) -> Float[np.ndarray, "peers peers"]:
    """W_ij = 1 / (d_i + 1) on the d_i teachers of i and on i itself; doubly stochastic on regular graphs only."""
    links = _links(graph) + np.eye(len(graph))
    mixing: Float[np.ndarray, "peers peers"] = links / links.sum(axis=1, keepdims=True)
    return mixing


def weighted(graph: DiGraph) -> Float[np.ndarray, "peers peers"]:
    """Self-weight 1 / (d_i + 1), the rest split among the d_i teachers by edge weight; equal weights give `uniform`."""
    weights = np.zeros((len(graph), len(graph)))
    for teacher, student, data in graph.edges(data=True):
        weights[student, teacher] = data.get("weight", 1.0)
    num_teachers = np.count_nonzero(weights, axis=1)
    totals = np.where(num_teachers > 0, weights.sum(axis=1), 1.0)
    mixing: Float[np.ndarray, "peers peers"] = weights * (num_teachers / (num_teachers + 1) / totals)[:, None]
    np.fill_diagonal(mixing, 1 / (num_teachers + 1))
    return mixing


def spectral_gap(mixing: Float[np.ndarray, "peers peers"]) -> float:
    """1 - second-largest |eigenvalue|, from 0 (never agrees) to 1 (agrees in one round)."""
    symmetric = np.array_equal(mixing, mixing.T)
    moduli = np.abs(np.linalg.eigvalsh(mixing) if symmetric else np.linalg.eigvals(mixing))
    return float(np.clip(1 - np.sort(moduli)[-2], 0, 1))


def contraction(mixing: Float[np.ndarray, "peers peers"]) -> float:
    """||(I - J) W||_2: the largest share of the peers' deviation from their mean that W can leave.

    It is |lambda_2| if W is symmetric. W may be a product of rounds, latest first; J is the matrix of the mean.
    """
    return float(np.linalg.norm(mixing - mixing.mean(axis=0), 2))


def _links(graph: Graph) -> Float[np.ndarray, "peers peers"]:
    """1 where the row's peer learns from the column's, else 0."""
    links = np.zeros((len(graph), len(graph)))
    for teacher, student in graph.edges:
        links[student, teacher] = 1
        if not graph.is_directed():
            links[teacher, student] = 1
    return links
