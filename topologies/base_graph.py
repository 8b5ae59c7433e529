"""Base-(k+1) graph: short sequences of rounds of degree at most k whose product averages exactly, for any n.

Source: Takezawa et al., 2023 (arXiv 2305.11420).
"""

import numpy as np
from jaxtyping import Float, Int


def base_rounds(num_peers: int, max_degree: int) -> list[Float[np.ndarray, "peers peers"]]:
    """Base-(k+1) graph: the shorter of the simple one on all peers and one on blocks, then across blocks.

    With n = p q, where p has no prime factor above k+1, blocks of q peers average by the simple graph and the
    p peers at the same place of every block average by the hyper-hypercube.
    """
    simple = simple_base_rounds(num_peers, max_degree)
    num_blocks = int(np.prod(_factors(num_peers, max_degree)[0], dtype=int))
    block_size = num_peers // num_blocks
    within = [np.kron(np.eye(num_blocks), w) for w in simple_base_rounds(block_size, max_degree)]
    across = [np.kron(w, np.eye(block_size)) for w in hyper_hypercube_rounds(num_blocks, max_degree)]
    return simple if len(simple) < len(within) + len(across) else within + across


def hyper_hypercube_rounds(num_peers: int, max_degree: int) -> list[Float[np.ndarray, "peers peers"]]:
    """Averages along one digit of the mixed-radix index a round; needs n without a prime factor above k+1."""
    return [_cliques(num_peers, groups) for groups in _hyper_hypercube(num_peers, max_degree)]


def simple_base_rounds(num_peers: int, max_degree: int) -> list[Float[np.ndarray, "peers peers"]]:
    """Simple Base-(k+1) graph; parts V_1, V_2, ... hold the digits of n in base k+1, a_l (k+1)^p_l peers each.

    Every part averages within itself. Then in round l each peer of the later parts trades with one peer of each of
    V_l's a_l subsets, so that all later parts hold the right mean; each subset of V_l then averages within itself.
    """
    if _factors(num_peers, max_degree)[1] == 1:
        return hyper_hypercube_rounds(num_peers, max_degree)
    parts = _parts(num_peers, max_degree)
    gather = [[part.ravel()[groups] for groups in _hyper_hypercube(part.size, max_degree)] for part in parts]
    finish = [_finish(part, max_degree) for part in parts]
    num_gather = len(gather[0])
    rounds = []
    for index in range(num_gather + 1 + len(finish[0])):
        mixing = np.eye(num_peers)
        step = index - num_gather
        for place in range(len(parts)):
            # A part that is through averages equal values again; its links serve learning between the averages.
            sequence, when = (gather[place], index) if step < 0 else (finish[place], step - place - 1)
            if (step < 0 or place < step or place == step == len(parts) - 1) and sequence:
                _set_cliques(mixing, sequence[when % len(sequence)])
        if 0 <= step < len(parts) - 1:
            _set_trades(mixing, parts[step], np.concatenate([part.ravel() for part in parts[step + 1 :]]), max_degree)
        rounds.append(mixing)
    return rounds


def _factors(num_peers: int, max_degree: int) -> tuple[list[int], int]:
    """Factors of n from 2 to k+1, largest taken first, and what they leave of n."""
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
    """The peers by the non-zero digits of n in base k+1: a_l subsets of (k+1)^p_l peers, longest first."""
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
    """Rounds that average each subset; single peers, which are through, form one group instead."""
    if part.shape[1] == 1:
        return [part.T] if part.size > 1 else []
    return [part[:, groups].reshape(-1, groups.shape[1]) for groups in _hyper_hypercube(part.shape[1], max_degree)]


def _cliques(num_peers: int, groups: Int[np.ndarray, "groups size"]) -> Float[np.ndarray, "peers peers"]:
    mixing = np.eye(num_peers)
    _set_cliques(mixing, groups)
    return mixing


def _set_cliques(mixing: Float[np.ndarray, "peers peers"], groups: Int[np.ndarray, "groups size"]) -> None:
    """Write the averages within each group into the matrix."""
    mixing[groups[:, :, None], groups[:, None, :]] = 1 / groups.shape[1]


def _set_trades(
    mixing: Float[np.ndarray, "peers peers"],
    part: Int[np.ndarray, "subsets size"],
    later: Int[np.ndarray, " rest"],
    max_degree: int,
) -> None:
    """Write the trades of a part with the later peers into the matrix; peers left over average in groups of k+1."""
    num_subsets, size = part.shape
    share = part.size / (part.size + later.size)
    first = size - later.size  # later.size < size: it is what a shorter digit of n leaves
    partners = part[:, first:]
    mixing[later, partners] = mixing[partners, later] = share / num_subsets
    mixing[later, later] = 1 - share
    mixing[partners, partners] = 1 - share / num_subsets
    idle = part[:, :first].ravel()
    for start in range(0, idle.size, max_degree + 1):
        _set_cliques(mixing, idle[None, start : start + max_degree + 1])
