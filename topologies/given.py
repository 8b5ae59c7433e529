"""Schedules from what a user brings: a graph, a matrix, a list of edges, a schedule, or a function of the round.

`schedule_of` takes such an object. `imported` takes what an import names, which may also be a function that makes one
for the number of peers. `content_of` says what an object contains, for a digest.
"""

import inspect
import operator
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from topologies.graphs import check_num_peers
from topologies.link_file import first_line
from topologies.links import SHAPES, WEIGHT, Weights, as_sparse, check_connected, is_edge_list, is_matrix, round_of
from topologies.round import Round
from topologies.schedule import Schedule, static

KEPT = 32  # rounds of a function that are memoised; later ones are recomputed when needed
COUNTS = ("num_peers", "n")  # a parameter for the number of peers that is not the first
OF_THE_ROUND = ("round_index", "round", "round_", "t", "step")  # names that a function's only argument may have


def schedule_of(
    topology: object,
    num_peers: int,
    *,
    weights: Weights | None = None,
    allow_disconnected: bool = False,
    name: str = "topology",
) -> Schedule:
    """The schedule of a graph, matrix or list of edges (see `links.round_of`), or of a function that gives one a round.

    A function `f(round_index)` is asked for any round >= 0, in any order and more than once, and must give the same
    for the same round. Each round is computed twice and compared, so what depends on a hidden state is found. A round
    without links is one in which nobody learns. A `Schedule` is taken as it is.

    Args:
        topology: Graph, DiGraph, matrix, list of tuples, Schedule, or a function of the round.
        num_peers: how many peers there are: the nodes are 0 to num_peers - 1.
        weights: of graphs without weights; None: Metropolis-Hastings if undirected, else uniform.
        allow_disconnected: accept links that do not join all peers. Those of a function may always be.
        name: what error lines begin with.

    Raises:
        ValueError: in one line, when it is no such thing; by the schedule, when a round of a function is not.
    """
    check_num_peers(num_peers)
    if isinstance(topology, Schedule):
        return _of_size(topology, num_peers, name)
    if callable(topology) and not isinstance(topology, Iterable):  # networkx's views of edges are both
        schedule = _by_function(topology, num_peers, weights, name)
        schedule(0)  # so that most mistakes are told at once
        return schedule
    links = round_of(topology, num_peers, weights, name)
    if not links.students:
        raise ValueError(f"{name}: must have links, got none; add some, or set topology.kind = self")
    check_connected(links.links, num_peers, allow_disconnected, f"{name}:")
    return static(links)


def imported(
    brought: object,
    num_peers: int,
    seed: np.random.SeedSequence,
    args: Mapping[str, Any],
    *,
    weights: Weights | None = None,
    allow_disconnected: bool = False,
    name: str = "topology.target",
) -> Schedule:
    """The schedule of what an import names: an object as in `schedule_of`, or a function that makes one.

    A function or class is called as `brought(num_peers, **args)`, and with `seed`, an integer below 2^32, if it has a
    parameter of that name. If `args` name its first parameter, the number of peers is its `num_peers` or `n`. So
    networkx's generators are such functions: watts_strogatz_graph with k and p in `args`, random_regular_graph with d.

    Raises:
        ValueError: in one line, as `schedule_of`; when the call fails, or `args` are given for what takes none.
    """
    if not callable(brought) or isinstance(brought, Schedule):
        if args:
            raise ValueError(
                f"topology.args: only a function takes them, and {name} is a {type(brought).__name__}; leave them out"
            )
        made = brought
    else:
        check_num_peers(num_peers)
        made = _called(brought, num_peers, seed, args, name)
    return schedule_of(made, num_peers, weights=weights, allow_disconnected=allow_disconnected, name=name)


def content_of(topology: object) -> bytes:
    """What a graph, matrix, list of edges or repeating schedule contains, to be hashed.

    Equal for equal nodes, links and weights, in whatever order they were added or stored.

    Raises:
        ValueError: for functions, and schedules that do not repeat, whose content is their code.
    """
    if isinstance(topology, nx.Graph):
        directed, nodes = topology.is_directed(), sorted(map(_label, topology))
        links = []
        for first, second, data in topology.edges(data=True):
            ends = [_label(first), _label(second)]
            links.append([*(ends if directed else sorted(ends)), _number(data.get(WEIGHT))])
        return repr(("directed" if directed else "undirected", nodes, sorted(links))).encode()
    if isinstance(topology, Schedule) and topology.period is not None:
        return repr(("schedule", topology.digest())).encode()
    if is_edge_list(topology):
        assert isinstance(topology, list | tuple | set | frozenset)
        edges = sorted([*map(_label, edge[:2]), *map(_number, edge[2:])] for edge in topology)
        return repr(("edges", edges)).encode()
    if is_matrix(topology):
        cells = as_sparse(topology, "topology").sorted_indices().tocoo()
        places = (cells.row.tolist(), cells.col.tolist(), cells.data.tolist())
        return repr(("matrix", cells.shape, *places)).encode()
    raise ValueError(f"topology: must be a graph, a matrix or a list of edges, got {type(topology).__name__}")


def _of_size(schedule: Schedule, num_peers: int, name: str) -> Schedule:
    if schedule.num_peers != num_peers:
        raise ValueError(
            f"{name}: a schedule must be of as many peers as there are, got {schedule.num_peers} for peers.count = "
            f"{num_peers}; change either"
        )
    return schedule


def _label(node: object) -> str:
    """A node's label; the same for integers of Python and NumPy."""
    try:
        return str(operator.index(node))  # type: ignore[arg-type]
    except TypeError:
        return repr(node)


def _number(weight: object) -> str:
    try:
        return repr(float(weight))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return repr(weight)


def _by_function(function: Callable[[int], object], num_peers: int, weights: Weights | None, name: str) -> Schedule:
    """The schedule of a function of the round; rounds with equal links share one object, if they are asked for soon."""
    shared: dict[tuple[Round, tuple[float, ...]], Round] = {}
    hashes: dict[int, int] = {}

    def asked(round_index: int) -> Round:
        where = f"{name}: round {round_index}"
        try:
            links = function(round_index)
        except Exception as error:
            raise ValueError(
                f"{where}: the function raised {_told(error)}; it must give the links of any round from 0 on, such as "
                "graphs[t % len(graphs)]"
            ) from error
        return round_of(links, num_peers, weights, where)

    @lru_cache(maxsize=KEPT)
    def round_at(round_index: int) -> Round:
        found = asked(round_index)
        if found != asked(round_index) or hashes.setdefault(round_index, hash(found)) != hash(found):
            raise ValueError(
                f"{name}: round {round_index}: the function must give the same links whenever it is asked for a round, "
                "got others; draw from numpy.random.default_rng([seed, round_index]) and change no graph in place"
            )
        if len(shared) == KEPT:
            shared.pop(next(iter(shared)))
        return shared.setdefault((found, found.kept), found)

    return Schedule(num_peers, None, round_at)


def _called(
    maker: Callable[..., object], num_peers: int, seed: np.random.SeedSequence, args: Mapping[str, Any], name: str
) -> object:
    """What a function that makes a topology gives for this number of peers."""
    count: tuple[int, ...] = (num_peers,)
    named = dict(args)
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):  # written in C: takes what it takes
        signature = None
    names = [] if signature is None else list(signature.parameters)
    if names and names[0] in OF_THE_ROUND:
        raise ValueError(
            f"{name}: is called with the number of peers, got a function of '{names[0]}'; name one that gives it: "
            "def make(num_peers): return function"
        )
    if "seed" in names and "seed" not in named:
        named["seed"] = int(seed.generate_state(1)[0])
    other = next((each for each in COUNTS if each in names and each not in named), None)
    if names and names[0] in named and other is not None:
        count, named[other] = (), num_peers
    if signature is not None:
        try:
            signature.bind(*count, **named)
        except TypeError as error:
            raise ValueError(
                f"topology.args: {name} is called with the number of peers and these, {first_line(error)}; it takes "
                f"{signature}"
            ) from None
    try:
        return maker(*count, **named)
    except Exception as error:
        raise ValueError(f"{name}: raised {_told(error)}; it must give {SHAPES}") from error


def _told(error: Exception) -> str:
    """Type and message of an error of the user's code, and the line in it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[1].filename).name} line {frames[1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}{place}: {first_line(error)}"
