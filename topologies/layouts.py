"""Where to draw each peer: positions by the kind of the topology, the same for every picture of the same links."""

import math
from collections.abc import Iterable, Iterator, Sequence

import networkx as nx
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse import csgraph

from topologies import graphs
from topologies.schedule import Schedule

Positions = Float[np.ndarray, "peers 2"]

CIRCLES = frozenset({"ring", "exponential", "one-peer-exponential", "watts-strogatz"})
CROWDS = frozenset({"complete", "random", "random-matching", "random-pair"})  # too many links to follow, or new ones
SMALL = 16  # fewer peers are on a circle, unless their kind says more
MOST_ON_A_CIRCLE = 200  # more peers fill a disc, or follow a circle with waves
WIDEST_LAYER = 20  # peers in a row of a hypercube's layer; the square root of the peers' number if that is more
MOST_WAVES, DEPTH = 24, 0.3  # of a circle of many peers: how many, and how far inwards
GAP = math.radians(30)  # between the ends of a path
BOW = 0.35  # how far the middle of a torus's line stands out, in cells: the link that closes the line is beside it
SEED = 0
ROUNDS = 64  # of a schedule, whose links say where its peers are
MANY = 300  # more peers than this start their springs in good places, and need fewer steps
STEPS, FEWER_STEPS = 100, 15
NEAR = 1e-4  # peers closer than this are moved apart


def positions(num_peers: int, links: Iterable[tuple[int, int]], kind: str = "") -> Positions:
    """A place in the unit square for each peer, y down: for the same links the same bits, and no two on one place.

    A ring, and whatever nothing else is known of, is a circle: peer 0 on top, clockwise. A torus is a grid, row by row;
    a hypercube has a layer of peers for each number of ones in their index; a star has its hub in the middle. From
    SMALL peers on, sparse graphs of other kinds are drawn by springs, with their components apart. More than
    MOST_ON_A_CIRCLE peers of many links fill a disc, from peer 0 in the middle outwards; a ring of as many is a circle
    with waves. Time: 2 s for 1,024 peers drawn by springs, milliseconds for others.

    links: (teacher, student) pairs, in any order; of a schedule that changes, those of all its rounds. Not read where
    the kind says it all.
    kind: as in the `[topology]` section; of other words nothing is known.
    """
    if kind == "torus":
        return _torus(num_peers)
    if kind == "hypercube":
        return _hypercube(num_peers)
    if kind == "star":
        return np.vstack([[[0.5, 0.5]], _circle(num_peers - 1)])
    if kind == "path":
        return _circle(num_peers, GAP)
    if kind in CIRCLES:
        return _circle(num_peers)
    if kind in CROWDS or num_peers < SMALL:
        return _crowd(num_peers)
    return _of_links(num_peers, _undirected(num_peers, links))


def places(schedule: Schedule, kind: str) -> Positions:
    """The positions of a schedule's peers, by the links of its period, or of the first ROUNDS rounds if it is longer.

    Raises: ValueError, for a round that cannot be built.
    """
    return positions(schedule.num_peers, _links_of(schedule), kind)


def _links_of(schedule: Schedule) -> Iterator[tuple[int, int]]:
    """The different links of these rounds: built only when the first one is asked for."""
    found = []
    for index in range(min(schedule.period or ROUNDS, ROUNDS)):
        arrays = schedule(index).arrays()
        found.append(arrays.teachers * schedule.num_peers + arrays.students)
    for code in np.unique(np.concatenate(found)).tolist():
        yield divmod(code, schedule.num_peers)


def has_waves(num_peers: int, kind: str) -> bool:
    """Whether a kind that is drawn as a circle has too many peers for a plain one."""
    return num_peers > MOST_ON_A_CIRCLE and (kind in CIRCLES or kind == "path")


def _circle(num_peers: int, gap: float = 0.0) -> Positions:
    """Clockwise from the top, the same distance from peer to peer; gap: the angle in radians left free at the top.

    With more than MOST_ON_A_CIRCLE peers, the line has waves, so that it is long enough for all of them to be seen.
    """
    waves = 0 if num_peers <= MOST_ON_A_CIRCLE else min(num_peers // 40, MOST_WAVES)
    share = np.arange(num_peers) / max(num_peers - bool(gap), 1)
    if waves:
        finely = np.linspace(gap / 2, 2 * np.pi - gap / 2, 64 * num_peers)
        line = _wave(finely, waves)
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        return _wave(np.interp(share * length[-1], length, finely), waves)
    return _wave(gap / 2 + (2 * np.pi - gap) * share, 0)


def _wave(angles: Float[np.ndarray, " points"], waves: int) -> Float[np.ndarray, "points 2"]:
    """Points on a circle that goes so many times towards the middle and back."""
    radii = 0.5 - (DEPTH / 2 * (1 - np.cos(waves * angles)) if waves else 0.0)
    return np.stack([0.5 + radii * np.sin(angles), 0.5 - radii * np.cos(angles)], axis=1)


def _crowd(num_peers: int) -> Positions:
    """A circle, or a disc of equal density (Vogel's spiral, 1979) where a circle would have peers on top of others."""
    if num_peers <= MOST_ON_A_CIRCLE:
        return _circle(num_peers)
    peers = np.arange(num_peers)
    radii = 0.5 * np.sqrt(peers / (num_peers - 1))
    angles = peers * np.pi * (3 - np.sqrt(5))
    return np.stack([0.5 + radii * np.sin(angles), 0.5 - radii * np.cos(angles)], axis=1)


def _torus(num_peers: int) -> Positions:
    """A grid of slightly bowed lines, in the order of `graphs.torus`; a count without such a grid is a circle."""
    try:
        rows = graphs.torus_rows(num_peers)
    except ValueError:
        return _circle(num_peers)
    columns = num_peers // rows
    row, column = np.divmod(np.arange(num_peers), columns)
    across, down = _bow(column, columns), _bow(row, rows)
    return _in_unit_square(np.stack([column + down, row + across], axis=1).astype(np.float64))


def _bow(place: Int[np.ndarray, " peers"], count: int) -> Float[np.ndarray, " peers"]:
    """How far a peer stands out of its line of `count`; lines of two have no link that closes them."""
    if count < 3:
        return np.zeros(len(place))
    bow: Float[np.ndarray, " peers"] = BOW * (2 * place / (count - 1) - 1.0) ** 2
    return bow


def _hypercube(num_peers: int) -> Positions:
    """Layers by the number of ones in the index, from the top; a large layer has several rows close to each other."""
    try:
        dimension = graphs.hypercube_dimension(num_peers)
    except ValueError:
        return _circle(num_peers)
    widest = max(WIDEST_LAYER, math.isqrt(num_peers))
    ones = np.array([peer.bit_count() for peer in range(num_peers)])
    places, height = np.zeros((num_peers, 2)), 0.0
    for layer in range(dimension + 1):
        peers = np.flatnonzero(ones == layer)
        rows = np.array_split(peers, -(-len(peers) // widest))
        for row in rows:
            places[row] = np.stack([np.arange(len(row)) - (len(row) - 1) / 2, np.full(len(row), height)], axis=1)
            height += 1.0
        height += 1.0 if dimension > 6 else 0.0  # where layers have several rows, a row is left free between them
    return _in_unit_square(places, stretched=True)


def _of_links(num_peers: int, graph: sparse.csr_array) -> Positions:
    """A circle for one cycle and for many links; else springs, component by component."""
    degrees = np.diff(graph.indptr)
    count, component = csgraph.connected_components(graph, directed=False)
    if count == 1 and (degrees == 2).all():
        places = np.empty((num_peers, 2))
        places[_along(graph)] = _circle(num_peers)
        return places
    if degrees.mean() > max(8.0, math.sqrt(num_peers)):
        return _crowd(num_peers)
    members = [np.flatnonzero(component == index) for index in range(count)]
    parts = [_springs(graph[peers][:, peers]) for peers in members]
    return _apart(_packed(num_peers, members, parts))


def _undirected(num_peers: int, links: Iterable[tuple[int, int]]) -> sparse.csr_array:
    """Ones where two peers are linked, in whatever direction."""
    pairs = np.array(sorted({(min(link), max(link)) for link in links if link[0] != link[1]}), dtype=np.int64)
    first, second = pairs.reshape(-1, 2).T
    ends = (np.concatenate([first, second]), np.concatenate([second, first]))
    return sparse.coo_array((np.ones(2 * len(first)), ends), shape=(num_peers, num_peers)).tocsr()


def _along(cycle: sparse.csr_array) -> list[int]:
    """The peers of one cycle, from peer 0 to its lower neighbour and on."""
    order, last = [0], -1
    while len(order) < cycle.shape[0]:
        here = order[-1]
        ahead = cycle.indices[cycle.indptr[here] : cycle.indptr[here + 1]]
        order.append(int(min(peer for peer in ahead if peer != last)))
        last = here
    return order


def _springs(graph: sparse.csr_array) -> Positions:
    """Fruchterman's and Reingold's springs (1991) for a connected graph, from places that show its distances.

    So it needs few steps, and is unfolded; the result depends on no draw.
    """
    num_peers = graph.shape[0]
    if num_peers < 3:
        line: Positions = np.array([[0.5, 0.5]]) if num_peers == 1 else np.array([[0.0, 0.5], [1.0, 0.5]])
        return line
    start = dict(enumerate(np.round(_by_distance(graph), 6)))  # without the last bits, which depend on the threads
    steps = STEPS if num_peers <= MANY else FEWER_STEPS
    drawn = nx.spring_layout(nx.from_scipy_sparse_array(graph), pos=start, iterations=steps, seed=SEED, method="force")
    return _in_unit_square(np.array([drawn[peer] for peer in range(num_peers)]))


def _by_distance(graph: sparse.csr_array) -> Positions:
    """Places whose distances are like the numbers of links between peers (classical scaling; Torgerson, 1952)."""
    squares = csgraph.shortest_path(graph, directed=False, unweighted=True) ** 2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    vectors = vectors[:, -2:] * np.sign(vectors[np.abs(vectors[:, -2:]).argmax(axis=0), [-2, -1]])
    places = vectors * np.sqrt(np.maximum(values[-2:], 1e-9))
    angles = np.arange(len(places)) * np.pi * (3 - np.sqrt(5))  # leaves of one peer would be on one place
    found: Positions = places / np.abs(places).max() + 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return found


def _packed(num_peers: int, members: Sequence[np.ndarray], parts: Sequence[np.ndarray]) -> Positions:
    """Components in boxes on shelves, the largest first; a box's area grows with its number of peers."""
    sides = [math.sqrt(len(peers)) for peers in members]
    shelf = max(1.05 * math.sqrt(sum((side + 1) ** 2 for side in sides)), max(sides) + 1)
    places = np.empty((num_peers, 2))
    left = top = depth = 0.0
    for index in sorted(range(len(parts)), key=lambda index: (-sides[index], index)):
        if left and left + sides[index] + 1 > shelf:
            left, top, depth = 0.0, top + depth, 0.0
        places[members[index]] = [left, top] + sides[index] * parts[index]
        left, depth = left + sides[index] + 1, max(depth, sides[index] + 1)
    return _in_unit_square(places)


def _apart(places: Positions) -> Positions:
    """The places, with peers that are on one and the same moved onto a small circle around it."""
    _, group, size = np.unique(np.round(places / NEAR), axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    moved = places.copy()
    for index in np.flatnonzero(size > 1):
        peers = np.flatnonzero(group == index)
        moved[peers] += 0.01 * (_circle(len(peers)) - 0.5)
    return _in_unit_square(moved)


def _in_unit_square(places: Positions, stretched: bool = False) -> Positions:
    """Scaled to fill the unit square, in the middle; stretched: in each direction by itself."""
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    scale = np.where(extent > 0, extent, 1.0) if stretched else max(extent.max(), 1e-12)
    scaled: Positions = (places - low - extent / 2) / scale + 0.5
    return scaled
