"""One round's links from what a user has: a networkx graph, a matrix, or a list of edges. Mistakes in one line each."""

import math
import operator
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Literal

import networkx as nx
import numpy as np
from scipy import sparse

from topologies import mixing
from topologies.graphs import DiGraph, Graph
from topologies.round import Edge, Round

Weights = Literal["metropolis-hastings", "uniform"]
WEIGHT = "weight"  # the edge attribute, which is networkx's own name for it
SMALLEST, LARGEST = 1e-100, 1e100  # sums and quotients of weights within stay finite and positive
RANGE = f"a number from {SMALLEST:g} to {LARGEST:g}"
ITSELF = (
    "remove such links: graph.remove_edges_from(list(networkx.selfloop_edges(graph))); a student's own share is set by "
    "topology.self_weight, or is the diagonal of a matrix"
)
SHAPES = (
    "a networkx Graph or DiGraph (u -> v: u teaches v), a matrix (students by teachers), or a list of tuples "
    "(teacher, student) or (teacher, student, weight)"
)


def round_of(links: object, num_peers: int, weights: Weights | None = None, where: str = "topology") -> Round:
    """The round in which peers learn over these links.

    Graph: both ends learn from each other, with Metropolis-Hastings weights, or uniform ones (`weights`). DiGraph and
    edges: the first teaches the second, all teachers of a student weigh the same. With weights (edge attribute
    `weight`, or the third of an edge), a student's teachers weigh in proportion. Matrix: row i has what student i
    averages into its target, in proportion: its teachers by column, on the diagonal itself; a row of zeros, or with
    nothing beside the diagonal, is of a peer that does not study.

    Args:
        links: a Graph or DiGraph, a matrix (NumPy array, nested lists, scipy.sparse), or a list of tuples.
        num_peers: the nodes are 0 to num_peers - 1.
        weights: only for links that have no weights; None: Metropolis-Hastings if undirected, else uniform.
        where: what an error line begins with.

    Raises:
        ValueError: when the links are no such thing, name other peers, join a peer with itself, or have bad weights.
    """
    if isinstance(links, nx.Graph):
        return _graph_round(links, num_peers, weights, where)
    if is_edge_list(links):
        return _graph_round(_from_edges(links, num_peers, where), num_peers, weights, where)
    if is_matrix(links):
        if weights is not None:
            raise ValueError(f"topology.weights: a matrix has weights itself, got {weights!r}; leave it out")
        return _matrix_round(links, num_peers, where)
    hint = "; for a graph in each round, give a function such as lambda t: graphs[t % len(graphs)]"
    listed = isinstance(links, list) and any(isinstance(item, nx.Graph) for item in links)
    raise ValueError(f"{where}: must be {SHAPES}, got {'a list of graphs' + hint if listed else _named(links)}")


def is_edge_list(links: object) -> bool:
    """Whether this is a list, tuple or set that is empty or contains tuples; a matrix is a list of lists."""
    return isinstance(links, list | tuple | set | frozenset) and all(isinstance(item, tuple) for item in links)


def is_matrix(links: object) -> bool:
    """Whether this is an array (of NumPy, or of a library that NumPy understands), a sparse one, or nested lists."""
    if isinstance(links, list):
        return bool(links) and all(isinstance(item, list | np.ndarray) for item in links)
    return sparse.issparse(links) or hasattr(links, "__array__")


def as_sparse(matrix: Any, where: str) -> sparse.csr_array:
    """A matrix of numbers, without its zeros. Raises: ValueError."""
    try:
        cells: Any = matrix if sparse.issparse(matrix) else np.asarray(matrix)
        if cells.dtype.kind not in "buif":
            raise TypeError(f"got {cells.dtype}")
    except (TypeError, ValueError, RuntimeError) as error:  # rows of several lengths, text, complex numbers
        raise ValueError(f"{where}: a matrix must have real numbers in rows of one length; {error}") from None
    if cells.ndim != 2:
        raise ValueError(f"{where}: a matrix must have rows and columns, got {cells.ndim} axes; give a square one")
    found: sparse.csr_array = sparse.csr_array(cells, dtype=float, copy=True)
    found.sum_duplicates()
    found.eliminate_zeros()
    return found


def check_connected(pairs: Iterable[tuple[int, int]], num_peers: int, allow_disconnected: bool, where: str) -> None:
    """Refuse links that leave peers apart, whichever way they run. Raises: ValueError."""
    if allow_disconnected:
        return
    graph: Graph = nx.empty_graph(num_peers)
    graph.add_edges_from(pairs)
    reached = nx.node_connected_component(graph, 0)
    if len(reached) < num_peers:
        cut_off = min(set(range(num_peers)) - reached)
        raise ValueError(
            f"{where} must connect all peers, but no chain of edges joins peers 0 and {cut_off}; "
            "add one or set topology.allow_disconnected = true"
        )


def short(value: object, most: int = 60) -> str:
    """A value of the user's as one short line for a message."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # by an object of the user's own
        text = type(value).__name__
    return text if len(text) <= most else f"{text[:most]}..."


def _named(links: object) -> str:
    return f"{type(links).__name__}; convert it"


def _graph_round(graph: "nx.Graph[Any]", num_peers: int, weights: Weights | None, where: str) -> Round:
    clean, weighted = _checked(graph, num_peers, where)
    directed = clean.is_directed()
    if weights is not None and weighted:
        raise ValueError(f"topology.weights: the links have weights themselves, got {weights!r}; leave it out")
    if weights == "metropolis-hastings" and directed:
        raise ValueError(
            "topology.weights: Metropolis-Hastings weights are for undirected graphs, got directed links; leave it out"
        )
    if weighted:
        matrix = mixing.weighted(clean if isinstance(clean, nx.DiGraph) else clean.to_directed())
    else:
        matrix = mixing.uniform(clean) if directed or weights == "uniform" else mixing.metropolis_hastings(clean)
    return Round.from_mixing(matrix)


def _checked(graph: "nx.Graph[Any]", num_peers: int, where: str) -> tuple[Graph, bool]:
    """A copy with nothing but the nodes 0, 1, 2, ..., the links and their weights; and whether there are weights."""
    if graph.is_multigraph():
        raise ValueError(
            f"{where}: must have at most one link from a peer to another, got a {type(graph).__name__}; convert it: "
            f"networkx.{'DiGraph' if graph.is_directed() else 'Graph'}(graph)"
        )
    if len(graph) != num_peers:
        raise ValueError(
            f"{where}: must have a node for each peer, got {len(graph)} nodes for peers.count = {num_peers}; "
            "set peers.count to it, or add nodes"
        )
    strangers = [node for node in graph if not _is_peer(node, num_peers)]
    if strangers:
        raise ValueError(
            f"{where}: nodes must be the peers 0 to {num_peers - 1}, got {short(strangers[0])}; relabel them: "
            "networkx.convert_node_labels_to_integers(graph)"
        )
    clean: Graph = nx.DiGraph() if graph.is_directed() else nx.Graph()
    clean.add_nodes_from(range(num_peers))
    links = [(int(teacher), int(student), data.get(WEIGHT)) for teacher, student, data in graph.edges(data=True)]
    weighted = _all_weighted([weight for *_, weight in links], where)
    for teacher, student, weight in links:
        if teacher == student:
            raise ValueError(f"{where}: peer {student} must not be linked with itself; {ITSELF}")
        if weighted:
            clean.add_edge(teacher, student, weight=_weight(weight, f"{where}: edge {teacher} -> {student}"))
        else:
            clean.add_edge(teacher, student)
    return clean, weighted


def _is_peer(node: object, num_peers: int) -> bool:
    try:
        return 0 <= operator.index(node) < num_peers  # type: ignore[arg-type]
    except TypeError:
        return False


def _all_weighted(weights: list[object], where: str) -> bool:
    """Whether all links have a weight; some with and some without are refused."""
    num_weighted = sum(weight is not None for weight in weights)
    if 0 < num_weighted < len(weights):
        raise ValueError(
            f"{where}: all links must have a weight, or none, got {num_weighted} of {len(weights)} with one; "
            "add the others' or remove them"
        )
    return num_weighted > 0


def _weight(weight: object, where: str) -> float:
    try:
        value = float(weight) if isinstance(weight, Real) else math.nan
    except OverflowError:  # a huge integer
        value = math.inf
    if not SMALLEST <= value <= LARGEST:
        raise ValueError(f"{where}: weight must be {RANGE}, got {short(weight)}; correct it or remove the link")
    return value


def _from_edges(edges: Any, num_peers: int, where: str) -> DiGraph:
    graph: DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(num_peers))
    for edge in edges:
        if len(edge) not in (2, 3) or not all(_is_peer(peer, num_peers) for peer in edge[:2]):
            raise ValueError(
                f"{where}: a link must be (teacher, student) or (teacher, student, weight), with peers from 0 to "
                f"{num_peers - 1}, got {short(edge)}; correct it"
            )
        teacher, student = map(int, edge[:2])
        if graph.has_edge(teacher, student):
            raise ValueError(f"{where}: the link from {teacher} to {student} must not repeat; remove one of them")
        graph.add_edge(teacher, student, **dict(zip([WEIGHT], edge[2:], strict=False)))
    return graph


def _matrix_round(matrix: Any, num_peers: int, where: str) -> Round:
    cells = as_sparse(matrix, where)
    if cells.shape != (num_peers, num_peers):
        rows, columns = cells.shape
        raise ValueError(
            f"{where}: a matrix must be students by teachers, {num_peers} x {num_peers} for peers.count = {num_peers}, "
            f"got {rows} x {columns}; change either (links by peers' numbers are tuples: [(teacher, student), ...])"
        )
    bad = ~((cells.data >= SMALLEST) & (cells.data <= LARGEST))
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(cells.indptr, place, side="right")) - 1
        raise ValueError(
            f"{where}: a matrix must have weights that are 0 or {RANGE}, got {cells.data[place]:g} in row {row}, "
            f"column {cells.indices[place]}; correct it"
        )
    incoming = tuple(_row(edges, student) for student, edges in enumerate(_rows(cells)))
    return Round(incoming, kept=tuple(0.0 if edges else 1.0 for edges in incoming))


def _rows(cells: sparse.csr_array) -> Iterator[list[tuple[int, float]]]:
    """Column and value of the non-zeros of each row, ascending."""
    cells = cells.sorted_indices()
    for first, end in zip(cells.indptr[:-1].tolist(), cells.indptr[1:].tolist(), strict=True):
        yield list(zip(cells.indices[first:end].tolist(), cells.data[first:end].tolist(), strict=True))


def _row(cells: Iterable[tuple[int, float]], student: int) -> tuple[Edge, ...]:
    """The edges into a student; none if its row has nothing beside the diagonal, since it then keeps what it has."""
    cells = list(cells)
    if all(teacher == student for teacher, _ in cells):
        return ()
    total = math.fsum(weight for _, weight in cells)
    return tuple(Edge(teacher, weight / total) for teacher, weight in cells)
