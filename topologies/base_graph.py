"""Base-(k+1) graph: short sequences of rounds of degree at most k whose product averages exactly, for any n.

Source: Takezawa et al., 2023 (arXiv 2305.11420).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array, eye_array, kron

# rows, columns, values
Cells = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Float[np.ndarray, " _"]]


def base_rounds(num_peers: int, max_degree: int) -> list[csr_array]:
    """Base-(k+1) graph: either the simple one on all peers, or one within and then across blocks; the shorter wins.

    With n = p q, where p has no prime factor above k+1: first each block of q peers averages by the simple graph, then
    the p peers at the same position of every block average by the hyper-hypercube.
    """
    simple = simple_base_rounds(num_peers, max_degree)
    num_blocks = int(np.prod(_factors(num_peers, max_degree)[0], dtype=int))
    block_size = num_peers // num_blocks
    within = [csr_array(kron(eye_array(num_blocks), w)) for w in simple_base_rounds(block_size, max_degree)]
    across = [csr_array(kron(w, eye_array(block_size))) for w in hyper_hypercube_rounds(num_blocks, max_degree)]
    return simple if len(simple) < len(within) + len(across) else within + across


def hyper_hypercube_rounds(num_peers: int, max_degree: int) -> list[csr_array]:
    """Each round averages along one digit of the mixed-radix index; n must have no prime factor above k+1."""
    return [_matrix(num_peers, [_cliques(groups)]) for groups in _hyper_hypercube(num_peers, max_degree)]


def simple_base_rounds(num_peers: int, max_degree: int) -> list[csr_array]:
    """Simple Base-(k+1) graph: peers are split into parts V_l of a_l (k+1)^p_l peers, one per base-(k+1) digit of n.

    First every part averages within itself. Then, in round l, each peer of the later parts exchanges with one peer of
    each of V_l's a_l subsets, after which all later parts hold the global mean; finally each subset of V_l averages
    within itself.
    """
    if _factors(num_peers, max_degree)[1] == 1:
        return hyper_hypercube_rounds(num_peers, max_degree)
    parts = _parts(num_peers, max_degree)
    gather = [[part.ravel()[groups] for groups in _hyper_hypercube(part.size, max_degree)] for part in parts]
    finish = [_finish(part, max_degree) for part in parts]
    num_gather = len(gather[0])
    rounds = []
    for index in range(num_gather + 1 + len(finish[0])):
        cells: list[Cells] = []
        step = index - num_gather
        for place in range(len(parts)):
            # A finished part averages equal values again: this leaves the mean unchanged, but its peers keep learning.
            sequence, when = (gather[place], index) if step < 0 else (finish[place], step - place - 1)
            if (step < 0 or place < step or place == step == len(parts) - 1) and sequence:
                cells.append(_cliques(sequence[when % len(sequence)]))
        if 0 <= step < len(parts) - 1:
            later = np.concatenate([part.ravel() for part in parts[step + 1 :]])
            cells += _trades(parts[step], later, max_degree)
        rounds.append(_matrix(num_peers, cells))
    return rounds


def _factors(num_peers: int, max_degree: int) -> tuple[list[int], int]:
    """Factors of n from 2 to k+1, largest taken first, and the remaining cofactor of n."""
    factors, rest = [], num_peers
    for factor in range(max_degree + 1, 1, -1):
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
    return factors[::-1], rest


def _hyper_hypercube(num_peers: int, max_degree: int) -> list[Int[np.ndarray, "groups size"]]:
    """The groups of each round; a group's members differ in one mixed-radix digit only."""
    factors, rest = _factors(num_peers, max_degree)
    assert rest == 1
    rounds, stride = [], 1
    for factor in factors:
        digits = np.arange(num_peers).reshape(-1, factor, stride)
        rounds.append(digits.swapaxes(1, 2).reshape(-1, factor))
        stride *= factor
    return rounds


def _parts(num_peers: int, max_degree: int) -> list[Int[np.ndarray, "subsets size"]]:
    """The peers split by the non-zero base-(k+1) digits of n: a_l subsets of (k+1)^p_l peers, largest first."""
    size = 1
    while size * (max_degree + 1) <= num_peers:
        size *= max_degree + 1
    parts, first = [], 0
    while first < num_peers:
        subsets = (num_peers - first) // size
        if subsets:
            parts.append(first + np.arange(subsets * size).reshape(subsets, size))
        first += subsets * size
        size //= max_degree + 1
    return parts


def _finish(part: Int[np.ndarray, "subsets size"], max_degree: int) -> list[Int[np.ndarray, "groups members"]]:
    """Rounds that average each subset; subsets of one peer are finished, and form one group instead."""
    if part.shape[1] == 1:
        return [part.T] if part.size > 1 else []
    return [part[:, groups].reshape(-1, groups.shape[1]) for groups in _hyper_hypercube(part.shape[1], max_degree)]


def _matrix(num_peers: int, cells: list[Cells]) -> csr_array:
    """The mixing matrix with these cells; peers without cells keep their own value."""
    rows, columns, values = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    rest = np.setdiff1d(np.arange(num_peers), rows)
    places = (np.concatenate([rows, rest]), np.concatenate([columns, rest]))
    return coo_array((np.concatenate([values, np.ones(len(rest))]), places), shape=(num_peers, num_peers)).tocsr()


def _cliques(groups: Int[np.ndarray, "groups size"]) -> Cells:
    """The cells of averaging within each group."""
    size = groups.shape[1]
    rows, columns = np.repeat(groups, size, axis=1).ravel(), np.tile(groups, (1, size)).ravel()
    return rows, columns, np.full(len(rows), 1 / size)


def _trades(part: Int[np.ndarray, "subsets size"], later: Int[np.ndarray, " rest"], max_degree: int) -> list[Cells]:
    """The cells of the exchange between a part and the later peers; idle peers average in groups of k+1."""
    num_subsets, size = part.shape
    share = part.size / (part.size + later.size)
    first = size - later.size  # later.size < size, because the later digits of n are of lower order
    partners, others = part[:, first:].ravel(), np.tile(later, num_subsets)
    traded = np.full(len(partners), share / num_subsets)
    idle = part[:, :first].ravel()
    return [
        (others, partners, traded),
        (partners, others, traded),
        (later, later, np.full(len(later), 1 - share)),
        (partners, partners, 1 - traded),
        *(_cliques(idle[None, start : start + max_degree + 1]) for start in range(0, idle.size, max_degree + 1)),
    ]
