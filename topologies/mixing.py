"""Graph -> row-stochastic mixing matrix W, and how fast averaging with W reaches agreement."""

from itertools import chain

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array

from topologies.graphs import DiGraph, Graph


def metropolis_hastings(graph: Graph) -> csr_array:
    """W_ij = 1 / (1 + max(d_i, d_j)) on edges, the rest of each row on the diagonal: symmetric, doubly stochastic.

    Source: Xiao, Boyd, Lall, 2005, Metropolis weights.
    """
    assert not graph.is_directed()
    students, teachers = _links(graph)
    degrees = np.bincount(students, minlength=len(graph))
    shares = 1 / (1 + np.maximum(degrees[students], degrees[teachers]))
    return _matrix(students, teachers, shares, 1.0 - np.bincount(students, shares, minlength=len(graph)))


def uniform(graph: Graph) -> csr_array:
    """W_ij = 1 / (d_i + 1) on the d_i teachers of i and on i itself; doubly stochastic on regular graphs only."""
    students, teachers = _links(graph)
    shares = 1 / (1 + np.bincount(students, minlength=len(graph)))
    return _matrix(students, teachers, shares[students], shares)


def weighted(graph: DiGraph) -> csr_array:
    """Self-weight 1 / (d_i + 1), the rest split among the d_i teachers by edge weight; equal weights give `uniform`."""
    num_peers = len(graph)
    students, teachers, shares = list[int](), list[int](), list[float]()
    own = np.ones(num_peers)
    for student in range(num_peers):
        row = np.zeros(num_peers)  # dense on purpose: the last bits of a sum depend on its length
        for teacher, _, data in graph.in_edges(student, data=True):
            row[teacher] = data.get("weight", 1.0)
        neighbours = np.flatnonzero(row)
        if len(neighbours):
            own[student] = 1 / (len(neighbours) + 1)
            row *= len(neighbours) / (len(neighbours) + 1) / row.sum()
            students += [student] * len(neighbours)
            teachers += neighbours.tolist()
            shares += row[neighbours].tolist()
    return _matrix(np.array(students, int), np.array(teachers, int), np.array(shares), own)


def spectral_gap(mixing: Float[np.ndarray, "peers peers"]) -> float:
    """1 - second-largest |eigenvalue|, from 0 (never agrees) to 1 (agrees in one round)."""
    symmetric = np.array_equal(mixing, mixing.T)
    moduli = np.abs(np.linalg.eigvalsh(mixing) if symmetric else np.linalg.eigvals(mixing))
    return float(np.clip(1 - np.sort(moduli)[-2], 0, 1))


def contraction(mixing: Float[np.ndarray, "peers peers"]) -> float:
    """||(I - J) W||_2: the largest fraction of the peers' deviation from their mean that can remain after W.

    It equals |lambda_2| if W is symmetric. W may be a product of rounds, latest first; J averages over all peers.
    """
    return float(np.linalg.norm(mixing - mixing.mean(axis=0), 2))


def _links(graph: Graph) -> tuple[Int[np.ndarray, " links"], Int[np.ndarray, " links"]]:
    """The student and the teacher of each link."""
    edges = np.fromiter(chain.from_iterable(graph.edges), np.int64, 2 * graph.number_of_edges()).reshape(-1, 2)
    teachers, students = edges.T
    if graph.is_directed():
        return students, teachers
    return np.concatenate([students, teachers]), np.concatenate([teachers, students])


def _matrix(
    students: Int[np.ndarray, " links"],
    teachers: Int[np.ndarray, " links"],
    shares: Float[np.ndarray, " links"],
    own: Float[np.ndarray, " peers"],
) -> csr_array:
    """The sparse matrix with the teachers' shares, and each peer's own weight on the diagonal."""
    peers = np.arange(len(own))
    rows, columns = np.concatenate([students, peers]), np.concatenate([teachers, peers])
    return coo_array((np.concatenate([shares, own]), (rows, columns)), shape=(len(own), len(own))).tocsr()
