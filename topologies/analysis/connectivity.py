"""How well the pooling matrix connects the peers: its algebraic connectivity."""

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence, aslinearoperator, eigsh

from topologies.analysis.agreement import DENSE_PEERS
from topologies.analysis.spectrum import BESIDE, MAX_RESTARTS, WHOLE_PEERS, group_eigenvalues, is_narrow, wide
from topologies.analysis.structure import is_split

BALANCED = 1e-6  # largest accepted relative difference of pi_i P_ij and pi_j P_ji


def algebraic_connectivity(pooling: csr_array, digits: tuple[int, ...] | None, exchangeable: bool) -> float | None:
    """1 - the second-largest real part of an eigenvalue of P, from 0 (peers apart) to n / (n - 1) (complete graph).

    If outputs move a small part c of the way to their targets, disagreement falls by this times c in a round, also
    where P has eigenvalues near -1. None: not known, for thousands of peers and links without a way back.

    Args:
        pooling: P, or its mean over rounds.
        digits: the result of `structure.translations`.
        exchangeable: `pooling` was measured on rounds drawn alike for all peers: then the matrix that is expected has
            equal entries off its diagonal, and its eigenvalues follow from the mean of the diagonal.
    """
    num_peers = pooling.shape[0]
    if exchangeable:
        return float((1 - pooling.diagonal().mean()) * num_peers / (num_peers - 1))
    if is_split(pooling):
        return 0.0
    if digits is not None:
        return float(1 - group_eigenvalues(pooling, digits).real.max())
    found = _of_balanced(pooling)
    if found is None and num_peers <= WHOLE_PEERS:
        return float(1 - np.sort(np.linalg.eigvals(pooling.toarray()).real)[-2])
    return found


def _of_balanced(pooling: csr_array) -> float | None:
    """The connectivity of a reversible P, as all undirected graphs have; None: P is not reversible.

    With detailed balance, pi_i P_ij = pi_j P_ji, the symmetric matrix of sqrt(P_ij P_ji) has the same eigenvalues, and
    sqrt(pi) is its first eigenvector, by which the balance is verified.
    """
    symmetric = pooling.multiply(pooling.T).sqrt().tocsr()
    symmetric.eliminate_zeros()
    if symmetric.nnz < pooling.nnz:  # a link without a way back
        return None
    try:
        values, vectors = _two_largest(symmetric)
    except ArpackNoConvergence:
        return None
    share = np.square(vectors[:, -1])
    cells = pooling.tocoo()
    flow = csr_array((share[cells.row] * cells.data, (cells.row, cells.col)), shape=pooling.shape)
    if abs(flow - flow.T).max() > BALANCED * flow.max() or abs(values[-1] - 1) > BALANCED:
        return None
    return float(1 - values[0])


def _two_largest(symmetric: csr_array) -> tuple[Float[np.ndarray, " two"], Float[np.ndarray, "peers two"]]:
    """The two largest eigenvalues, ascending, and their eigenvectors."""
    num_peers = symmetric.shape[0]
    if num_peers <= DENSE_PEERS:
        values, vectors = np.linalg.eigh(symmetric.toarray())
        return values[-2:], vectors[:, -2:]
    start = np.random.default_rng(0).standard_normal(num_peers)
    try:
        values, vectors = eigsh(symmetric, k=2, which="LA", v0=start, maxiter=MAX_RESTARTS)
    except ArpackNoConvergence:  # many eigenvalues cluster, as near 1 on long paths, where solving is cheap
        if is_narrow(symmetric):
            values, vectors = eigsh(symmetric.tocsc(), k=2, sigma=1 + BESIDE, v0=start)
        else:
            values, vectors = wide(aslinearoperator(symmetric), 2, "LA", start)
    order = np.argsort(values)
    return values[order], vectors[:, order]
