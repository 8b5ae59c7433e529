"""Properties of rounds that follow from their links alone: whether averaging agrees, diameter, symmetries."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt64
from scipy.sparse import coo_array, csgraph, csr_array

from topologies.schedule import Round

WORDS = 2**23  # 64-bit words gathered at a time: 64 MiB
MOST_AT_ONCE = 32_768  # peers whose reachable sets are kept at once: 128 MiB
SEARCHES = 64  # from so many of more peers than that
FEW_STEPS = 32  # diameters up to this are computed for all peers at once


def agrees(rounds: Sequence[Round]) -> bool:
    """Whether repeated averaging in these rounds brings all peers to one value.

    It does if there is exactly one closed group of peers (closed under "learns from"), and that group is aperiodic.
    Only links matter, not weights: the graph has a node per peer and position in the period, linked to the nodes of the
    previous position that it averages.
    """
    num_peers, period = rounds[0].num_peers, len(rounds)
    links = [round_.mixing.tocoo() for round_ in rounds]
    rows = np.concatenate([(place + 1) % period * num_peers + link.row for place, link in enumerate(links)])
    columns = np.concatenate([place * num_peers + link.col for place, link in enumerate(links)])
    size = num_peers * period
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size)).tocsr()
    closed, label = _closed_classes(graph, rows, columns)
    if len(closed) > 1:
        return False
    start = int(np.flatnonzero(label == closed[0])[0])
    steps = _depths(graph, start)
    inside = label[rows] == closed[0]
    cycles = steps[rows[inside]] + 1 - steps[columns[inside]]
    return int(np.gcd.reduce(cycles)) == period


def is_split(links: csr_array) -> bool:
    """Whether two groups of peers receive nothing from outside, and so never agree over these links."""
    pairs = links.tocoo()
    return len(_closed_classes(links, pairs.row, pairs.col)[0]) > 1


def diameter(links: csr_array, alike: bool) -> tuple[int | None, int | None]:
    """The longest shortest path, over links that include self-links, and None; or None, and a lower bound.

    Both are None if not every peer reaches all others. The bound is of more peers than MOST_AT_ONCE, where a few
    searches do not settle it.
    alike: whether the graph looks the same from every peer, so that one peer's distances suffice.
    """
    if csgraph.connected_components(links, directed=True, connection="strong")[0] > 1:
        return None, None
    if alike:
        return int(_depths(links, 0).max()), None
    if links.shape[0] > MOST_AT_ONCE:
        return _long_diameter(links, SEARCHES)
    found = _short_diameter(links)
    return _long_diameter(links, links.shape[0]) if found is None else (found, None)


def translations(rounds: Sequence[Round]) -> tuple[int, ...] | None:
    """Sizes of mixed-radix digits of a peer's index, lowest first, such that raising any digit by one changes no round.

    A ring has one digit, a torus two, a hypercube one per dimension. None if there are no such digits.
    """
    num_peers, stride, sizes = rounds[0].num_peers, 1, list[int]()
    index = np.arange(num_peers)
    while stride < num_peers:
        rest = num_peers // stride
        for size in (divisor for divisor in range(rest, 1, -1) if rest % divisor == 0):
            digit = index // stride % size
            moved = index + ((digit + 1) % size - digit) * stride
            if all(_unchanged(round_.mixing, moved) for round_ in rounds):
                sizes.append(size)
                stride *= size
                break
        else:
            return None
    return tuple(sizes)


def _closed_classes(
    graph: csr_array, rows: Int[np.ndarray, " links"], columns: Int[np.ndarray, " links"]
) -> tuple[Int[np.ndarray, " closed"], Int[np.ndarray, " nodes"]]:
    """The strongly connected components without outgoing links, and the component of each node."""
    count, label = csgraph.connected_components(graph, directed=True, connection="strong")
    leaving = label[rows][label[rows] != label[columns]]
    return np.setdiff1d(np.arange(count), leaving), label


def _unchanged(mixing: csr_array, moved: Int[np.ndarray, " peers"]) -> bool:
    """Whether W[moved[i], moved[j]] is W[i, j] for all i and j."""
    first = mixing.indices[: mixing.indptr[1]]
    second = mixing.indices[mixing.indptr[moved[0]] : mixing.indptr[moved[0] + 1]]
    if not np.array_equal(np.sort(moved[first]), second):  # quickly rejects most cases
        return False
    pairs, num_peers = mixing.tocoo(), mixing.shape[0]
    keys = moved[pairs.row].astype(np.int64) * num_peers + moved[pairs.col]
    order = np.argsort(keys)
    same = np.array_equal(keys[order], pairs.row.astype(np.int64) * num_peers + pairs.col)
    return same and bool(np.allclose(pairs.data[order], pairs.data, rtol=1e-12, atol=0))


def _depths(links: csr_array, start: int) -> Int[np.ndarray, " peers"]:
    """The distance from `start` to each peer that it reaches, by pointer jumping in a breadth-first search tree."""
    _, parents = csgraph.breadth_first_order(links, start)
    parents = np.where(parents < 0, start, parents)
    depths: Int[np.ndarray, " peers"] = (parents != np.arange(len(parents))).astype(np.int64)
    while (parents != start).any():
        depths += depths[parents]
        parents = parents[parents]
    return depths


def _short_diameter(links: csr_array) -> int | None:
    """The diameter by growing all peers' reachable sets step by step, as bit sets; None if above FEW_STEPS."""
    num_peers = links.shape[0]
    width = -(-num_peers // 64)
    index = np.arange(num_peers)
    reach: UInt64[np.ndarray, "peers words"] = np.zeros((num_peers, width), np.uint64)
    reach[index, index // 64] = np.uint64(1) << (index % 64).astype(np.uint64)
    all_peers = np.bitwise_or.reduce(reach, axis=0)
    rows = max(1, WORDS // (width * int(np.diff(links.indptr).max())))
    for step in range(1, FEW_STEPS + 1):
        parts = []
        for first in range(0, num_peers, rows):
            bounds = links.indptr[first : first + rows + 1]
            heard = reach[links.indices[bounds[0] : bounds[-1]]]
            parts.append(np.bitwise_or.reduceat(heard, bounds[:-1] - bounds[0], axis=0))
        reach = np.concatenate(parts)
        if (reach == all_peers).all():
            return step
    return None


def _long_diameter(links: csr_array, most: int) -> tuple[int | None, int | None]:
    """The diameter by a search from each peer that the bounds do not exclude; after `most` of them a lower bound.

    Source: Takes and Kosters, 2011, Determining the diameter of small world networks; the bounds need links both ways.
    """
    both_ways = abs(links - links.T).nnz == 0
    num_peers, longest = links.shape[0], 0
    bounds = np.full(num_peers, num_peers)
    for _ in range(most):
        if bounds.max() <= longest:
            break
        start = int(bounds.argmax())
        depths = _depths(links, start)
        reach = int(depths.max())
        longest = max(longest, reach)
        if both_ways:
            bounds = np.minimum(bounds, reach + depths)
        bounds[start] = 0
    return (None, longest) if bounds.max() > longest else (longest, None)
