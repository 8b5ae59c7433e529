"""Schedules from what a user brings: objects, functions of the round, what an import names; and their content."""

import re
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence, default_rng
from scipy import sparse

from topologies import schedule
from topologies.analysis.measures import describe
from topologies.given import KEPT, content_of, imported, schedule_of
from topologies.schedule import Schedule

RING = schedule.static(schedule.one_peer_exponential(5)(0))


def refused(call: Callable[..., object], *arguments: object, **named: object) -> str:
    with pytest.raises(ValueError) as caught:
        call(*arguments, **named)
    assert re.match(r"^(topology[^:]*|peers\.count): [^\n]*; [^\n]*$", str(caught.value)), str(caught.value)
    return str(caught.value)


def test_schedule_of__an_object_is_the_same_in_every_round() -> None:
    given = schedule_of(nx.cycle_graph(6), 6)
    assert given.period == 1 and given(0) is given(10**6)
    assert schedule_of(RING, 5) is RING
    assert "must be of as many peers as there are, got 5 for peers.count = 6" in refused(schedule_of, RING, 6)


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (nx.empty_graph(4), "topology: must have links, got none; add some, or set topology.kind = self"),
        (np.eye(4), "topology: must have links, got none"),
        ([], "topology: must have links, got none"),
        (nx.Graph([(0, 1), (2, 3)]), "topology: must connect all peers, but no chain of edges joins peers 0 and 2"),
        ([(1, 0), (1, 3)], "topology: must connect all peers, but no chain of edges joins peers 0 and 2"),
    ],
    ids=str,
)
def test_schedule_of__refuses_links_that_leave_peers_apart(topology: Any, message: str) -> None:
    if isinstance(topology, list) and topology:
        topology = [*topology]
    elif isinstance(topology, nx.Graph) and "2" in message:
        topology.add_nodes_from(range(4))
    assert refused(schedule_of, topology, 4).startswith(message)
    if "connect" in message:
        assert schedule_of(topology, 4, allow_disconnected=True).num_peers == 4


def test_schedule_of__refuses_a_lone_peer() -> None:
    assert "at least 2 peers, got 1" in refused(schedule_of, nx.empty_graph(1), 1)


def test_schedule_of__a_function_of_the_round_is_seekable() -> None:
    """Each in its own form, the rounds of the one-peer exponential graph."""
    built = schedule.one_peer_exponential(8)

    def by_form(round_index: int) -> object:
        edges = [((student + 2 ** (round_index % 3)) % 8, student) for student in range(8)]
        if round_index % 3 == 0:
            return set(edges)
        if round_index % 3 == 1:
            return nx.DiGraph(edges)
        return sparse.coo_array((np.ones(8), ([s for _, s in edges], [t for t, _ in edges])), shape=(8, 8))

    given = schedule_of(by_form, 8)
    assert given.period is None
    for round_index in (7, 0, 10**6, 1, 2, 7, *range(2 * KEPT), 3):
        assert given(round_index) == built(round_index)
    assert given(0) is given(3) is not given(1)  # equal rounds are one object, so what is derived from them is kept
    given = schedule_of(lambda t: [((student + 2 ** (t % 3)) % 8, student) for student in range(8)], 8)
    assert describe(given).mean_degree == 1 and describe(given).rounds_to == describe(built).rounds_to == 3


def test_schedule_of__a_function_may_leave_a_round_without_links_or_connection() -> None:
    given = schedule_of(lambda t: [] if t % 2 else [(0, 1)], 3)
    assert given(0).links == ((0, 1),) and given(1).links == () and given(1).mixing.diagonal().tolist() == [1, 1, 1]


def grown() -> Callable[[int], object]:
    graph = nx.path_graph(4)

    def change(round_index: int) -> object:
        graph.add_edge(0, 3) if not graph.has_edge(0, 3) else graph.remove_edge(0, 3)
        return graph

    return change


def unseeded() -> Callable[[int], object]:
    rng = default_rng(0)
    return lambda round_index: rng.random((4, 4))


def test_schedule_of__refuses_a_function_with_a_hidden_state() -> None:
    for make in (grown, unseeded):
        line = refused(schedule_of, make(), 4)
        assert line.startswith("topology: round 0: the function must give the same links whenever it is asked")
        assert "numpy.random.default_rng([seed, round_index])" in line
    calls: list[int] = []
    late = schedule_of(lambda t: calls.append(t) or [(len(calls) > 200, 3)], 4)  # type: ignore[func-returns-value]
    for round_index in range(100):
        late(round_index)
    assert "round 5: the function must give the same" in refused(late, 5)


def test_schedule_of__mistakes_of_a_function_name_the_round() -> None:
    late = schedule_of(lambda t: [(0, 1)] if t < 3 else nx.path_graph(t), 2)
    assert late(2).links == ((0, 1),)
    assert refused(late, 3).startswith("topology: round 3: must have a node for each peer, got 3 nodes")
    assert "round 0: must be a networkx Graph" in refused(schedule_of, lambda t: None, 4)
    assert "got NoneType; convert it" in refused(schedule_of, lambda t: None, 4)
    listed = [[(0, 1)], [(1, 0)]]
    end = refused(schedule_of(lambda t: listed[t], 2), 2)
    assert re.match(r"topology: round 2: the function raised IndexError \(test_given.py line \d+\): list index", end)
    assert "TypeError: " in refused(schedule_of, lambda: None, 4)


@pytest.mark.parametrize(
    ("maker", "args"), [(nx.watts_strogatz_graph, {"k": 4, "p": 0.5}), (nx.random_regular_graph, {"d": 4})]
)
def test_imported__networkx_generators_with_the_runs_seed(maker: Callable[..., Any], args: dict[str, Any]) -> None:
    first = imported(maker, 10, SeedSequence(7), args)
    expected = maker(n=10, seed=int(SeedSequence(7).generate_state(1)[0]), **args)
    assert first(0) == schedule_of(expected, 10)(0) == imported(maker, 10, SeedSequence(7), args)(0)
    assert first(0) != imported(maker, 10, SeedSequence(8), args)(0)
    chosen = imported(maker, 10, SeedSequence(8), args | {"seed": 3})
    assert chosen(0) == schedule_of(maker(n=10, seed=3, **args), 10)(0)


def test_imported__what_a_function_makes_may_be_a_function_of_the_round() -> None:
    def make(num_peers: int, hop: int = 1) -> Callable[[int], object]:
        return lambda round_index: [((peer + hop + round_index) % num_peers, peer) for peer in range(num_peers)]

    made = imported(make, 5, SeedSequence(0), {"hop": 2})
    assert [edge.teacher for (edge,) in made(1).incoming] == [3, 4, 0, 1, 2]
    assert imported(nx.cycle_graph(5), 5, SeedSequence(0), {})(0) == schedule_of(nx.cycle_graph(5), 5)(0)
    assert imported(RING, 5, SeedSequence(0), {}) is RING


def fails(num_peers: int) -> object:
    raise KeyError(num_peers)


def by_round(round_index: int) -> object:
    return nx.cycle_graph(4)


@pytest.mark.parametrize(
    ("brought", "args", "message"),
    [
        (nx.cycle_graph(4), {"k": 3}, "topology.args: only a function takes them, and topology.target is a Graph"),
        (RING, {"k": 3}, "topology.args: only a function takes them, and topology.target is a Schedule"),
        (by_round, {}, "topology.target: is called with the number of peers, got a function of 'round_index'"),
        (fails, {}, "topology.target: raised KeyError (test_given.py line "),
        (fails, {"k": 1}, "topology.args: topology.target is called with the number of peers and these, got an unexpe"),
        (nx.watts_strogatz_graph, {"k": 2}, "these, missing a required argument: 'p'; it takes (n, k, p, seed=None"),
        (nx.navigable_small_world_graph, {}, "topology.target: must have a node for each peer, got 16 nodes"),
        (lambda n: "ring", {}, "topology.target: must be a networkx Graph or DiGraph"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_imported__mistakes_are_one_line(brought: object, args: dict[str, Any], message: str) -> None:
    assert message in refused(imported, brought, 4, SeedSequence(0), args)


def test_content_of__is_that_of_nodes_links_and_weights() -> None:
    """The order of nodes and edges, the types of numbers and the storage of a matrix make no difference."""
    graph, other = nx.Graph([(0, 1), (1, 2)]), nx.Graph()
    other.add_nodes_from(np.array([2, 1, 0]))
    other.add_edges_from([(2, 1), (1, 0)], colour="red")
    assert content_of(graph) == content_of(other)
    matrix = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    forms = [matrix, matrix.tolist(), matrix.astype(np.float32), matrix > 0, sparse.coo_array(matrix[::-1])[::-1]]
    forms += [sparse.csc_matrix(matrix), sparse.csr_array(([1, 1, 1, 1, 0], ([2, 1, 1, 0, 0], [1, 2, 0, 1, 0])))]
    assert len({content_of(form) for form in forms}) == 1
    assert content_of([(0, 1), (1, 2)]) == content_of({(1, 2), (0, np.int64(1))})
    assert content_of([(0, 1, 2)]) == content_of([(0, 1, 2.0)])


def test_content_of__tells_contents_apart() -> None:
    weighted = nx.Graph([(0, 1, {"weight": 2}), (1, 2, {"weight": 1})])
    contents = [
        nx.Graph([(0, 1), (1, 2)]),
        nx.Graph([(0, 1), (0, 2)]),
        nx.DiGraph([(0, 1), (1, 2)]),
        nx.DiGraph([(1, 0), (1, 2)]),
        nx.path_graph(4),
        nx.Graph([("0", "1"), ("1", "2")]),
        weighted,
        np.eye(3),
        np.eye(4),
        np.diag([1, 2], k=1),
        np.diag([1, 2], k=-1),
        [(0, 1), (1, 2)],
        [(0, 1, 0.5), (1, 2, 0.5)],
        RING,
        schedule.one_peer_exponential(5),
    ]
    assert len({content_of(each) for each in contents}) == len(contents)
    assert content_of(RING) == content_of(Schedule(5, 1, lambda _: RING(3)))


def test_content_of__of_a_function_is_its_code() -> None:
    for topology in (by_round, schedule.random_matching(4, SeedSequence(0)), None):
        with pytest.raises(ValueError, match="topology: must be a graph, a matrix or a list of edges, got "):
            content_of(topology)
