"""A schedule's facts against closed forms, networkx and brute force."""

import math
import tracemalloc
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence
from pytest import approx
from scipy.sparse import csgraph

from topologies import combinators, graphs, mixing, schedule
from topologies.analysis import agreement, drawn, spectrum, structure
from topologies.analysis.measures import describe
from topologies.config import KINDS, Base, ErdosRenyi, File, Path, Ring, Star
from topologies.facts import TopologyFacts
from topologies.schedule import Round, Schedule
from topologies.topology import Topology


def fixed(graph: graphs.Graph) -> Schedule:
    matrix = mixing.uniform(graph) if graph.is_directed() else mixing.metropolis_hastings(graph)
    return schedule.static(Round.from_mixing(matrix))


def brute_force_rounds(rounds: Schedule, limit: int) -> int | None:
    product = np.eye(rounds.num_peers)
    for t in range(limit):
        product = rounds(t).mixing @ product
        if np.linalg.norm(product - product.mean(axis=0), 2) <= 1e-3:
            return t + 1
    return None


# every kind whose rounds repeat, and variations
TOPOLOGIES: list[Topology] = [
    *(
        kind.example(16)
        for kind in KINDS.values()
        if kind is not File and kind.example(16).build(16, SeedSequence(0)).period is not None
    ),
    *(kind(weights="uniform") for kind in (Ring, Star, Path)),
    ErdosRenyi(p=0.5),
    ErdosRenyi(p=0.5, weights="uniform"),
    Base(max_degree=3),
]


def dense_reference(rounds: Schedule, most: int = 6_000) -> tuple[int | None, float, int | None]:
    """Diameter, gap and rounds to agreement of a schedule that repeats, from dense matrices alone."""
    matrices = [rounds(t).mixing.toarray() for t in range(rounds.period or 0)]
    links = sum(matrices) > 0
    longest = float(np.max(csgraph.shortest_path(links, unweighted=True)))
    product = np.linalg.multi_dot([np.eye(rounds.num_peers), *matrices[::-1]])
    exact = np.linalg.norm(product - product.mean(axis=0), 2) < 1e-12
    modulus = np.sort(np.abs(np.linalg.eigvals(product)))[-2]
    gap = 1.0 if exact else 1 - modulus ** (1 / len(matrices))
    found, left = None, np.eye(rounds.num_peers)
    most = 0 if gap < 1e-12 else most
    for t in range(most):
        left = matrices[t % len(matrices)] @ left
        away = left - left.mean(axis=0)
        if np.linalg.norm(away) <= 1e-3 or (np.linalg.norm(away) < 0.05 and np.linalg.norm(away, 2) <= 1e-3):
            found = t + 1
            break
    return int(longest) if math.isfinite(longest) else None, gap, found


def built(topology: Topology, num_peers: int, change: str) -> Schedule:
    made = topology.build(num_peers, SeedSequence(1))
    if change == "frozen":
        return combinators.without_students(made, frozenset({1}))
    return combinators.with_self_weight(made, 0.3) if change == "self-weight" else made


def check(rounds: Schedule) -> None:
    facts, (diameter, gap, count) = describe(rounds), dense_reference(rounds)
    assert facts.diameter == diameter and facts.spectral_gap == approx(gap, abs=1e-9)
    assert facts.rounds_to == count or (count is None and facts.rounds_to is not None and facts.rounds_to > 6_000)
    assert facts.rounds_over is None
    pooled = schedule.periodic(tuple(rounds(t).as_pooled() for t in range(rounds.period or 0)))
    _, gap, count = dense_reference(pooled)
    assert facts.pooling_gap == approx(gap, abs=1e-9)
    assert (facts.pooling_rounds_to, facts.pooling_rounds_over) == (count, None)


@pytest.mark.parametrize("change", ["", "frozen", "self-weight"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=repr)
def test_describe__is_the_dense_computation(topology: Topology, change: str) -> None:
    counts = [num_peers for num_peers in (3, 5, 8, 12, 24) if topology.takes(num_peers)]
    for num_peers in counts:
        check(built(topology, num_peers, change))
    assert 8 in counts  # which every kind takes


@pytest.mark.parametrize("change", ["", "frozen", "self-weight"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=repr)
def test_describe__many_peers_are_computed_alike(
    topology: Topology, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ways that are taken above some hundred peers, on few: bounds hold, and numbers are those of the dense way."""
    monkeypatch.setattr(agreement, "DENSE_PEERS", 0)
    monkeypatch.setattr(spectrum, "WHOLE_PEERS", 0)
    monkeypatch.setattr(structure, "FEW_STEPS", 3)
    rounds = built(topology, 24 if topology.takes(24) else 16, change)
    facts, (diameter, gap, count) = describe(rounds), dense_reference(rounds)
    assert facts.diameter == diameter and facts.spectral_gap == approx(gap, abs=1e-9)
    if facts.rounds_to is None and count is not None:
        assert facts.rounds_over is not None and 1000 <= facts.rounds_over < count
    else:
        assert facts.rounds_to == count


@pytest.mark.parametrize("num_peers", [256, 1024, 4096])
def test_describe__slow_rings_and_paths_have_their_closed_form(num_peers: int) -> None:
    for family, angle in ((graphs.ring, 2 * np.pi / num_peers), (graphs.path, np.pi / num_peers)):
        facts = describe(fixed(family(num_peers)))
        gap = 2 / 3 * 2 * np.sin(angle / 2) ** 2
        assert facts.spectral_gap == approx(gap, rel=1e-6)
        assert facts.rounds_to == approx(math.ceil(math.log(1e-3) / math.log1p(-gap)), rel=1e-6)
    assert describe(fixed(graphs.star(num_peers))).spectral_gap == approx(1 / num_peers)


def test_describe__ring_of_1024_agrees_after_half_a_million_rounds() -> None:
    assert (describe(fixed(graphs.ring(1024))).rounds_to or 0) // 1000 == 550


def test_describe__never_is_told_only_where_it_never_agrees() -> None:
    """By its links, whatever the numbers: groups that do not hear each other, and groups that take turns."""
    two_frozen = combinators.without_students(fixed(graphs.ring(6)), frozenset({0, 3}))
    apart = fixed(graphs.random_regular(6, 1, np.random.default_rng(0), allow_disconnected=True))
    turns = combinators.with_self_weight(fixed(graphs.ring(6)), 0.0)
    moved = combinators.with_self_weight(schedule.one_peer_exponential(8), 0.0)
    for never in (two_frozen, apart, turns, moved, schedule.self_taught(600)):
        facts = describe(never)
        assert (facts.spectral_gap, facts.rounds_to, facts.rounds_over) == (0.0, None, None)
    assert describe(combinators.with_self_weight(fixed(graphs.ring(7)), 0.0)).rounds_to == 67  # cos(pi / 7) a round
    tiny = np.array([[1 - 1e-15, 1e-15], [1e-15, 1 - 1e-15]])  # it does, but rounding hides when
    facts = describe(schedule.static(Round.from_mixing(tiny)))
    assert facts.rounds_to is None and facts.rounds_over == agreement.SLOWEST


def test_describe__drawn_rounds_are_followed_so_far_and_no_further() -> None:
    two_frozen = combinators.without_students(schedule.random_matching(16, SeedSequence(0)), frozenset({0, 3}))
    facts = describe(two_frozen)
    assert facts.rounds_to is None and facts.rounds_over == 200


def few_gap(rounds: Schedule, monkeypatch: pytest.MonkeyPatch) -> float:
    with monkeypatch.context() as few:
        few.setattr(drawn, "FEW_PEERS", 0)
        return describe(rounds, rounds=1000).spectral_gap


def test_describe__many_drawn_peers_are_the_dense_product(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (
        schedule.random_matching(40, SeedSequence(0)),
        schedule.random_teachers(33, 2, SeedSequence(0)),
        schedule.random_pair(12, 2, SeedSequence(1)),
    )
    for rounds in kinds:
        exact = describe(rounds)
        with monkeypatch.context() as few:
            few.setattr(drawn, "FEW_PEERS", 0)
            few.setattr(agreement, "KEPT", 20)
            facts = describe(rounds)
        assert facts.rounds_to == approx(exact.rounds_to, abs=1) and facts.rounds_over is None
        later = describe(rounds, rounds=1000)  # where it no longer matters which start is followed
        assert later.spectral_gap == approx(few_gap(rounds, monkeypatch), rel=0.1)


def test_describe__eight_thousand_peers_take_no_dense_matrix() -> None:
    tracemalloc.start()
    for rounds in (schedule.complete(8192), fixed(graphs.ring(8192)), schedule.one_peer_exponential(8192)):
        assert describe(rounds).rounds_to is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8192**2  # an eighth of a matrix of floats


def test_describe__a_random_regular_graph_of_thousands_has_its_gap() -> None:
    """Its eigenvalues are near 2 sqrt(d - 1) of the graph's matrix, in a cluster (Friedman 2008): W is (1 + A) / 5."""
    facts = describe(fixed(graphs.random_regular(4000, 4, np.random.default_rng(0))))
    assert facts.spectral_gap == approx(1 - (1 + 2 * math.sqrt(3)) / 5, rel=0.02)
    assert facts.pooling_connectivity == approx(1 - 2 * math.sqrt(3) / 4, rel=0.02)


def test_diameter__of_too_many_peers_a_bound_unless_a_few_searches_settle_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MOST_AT_ONCE", 10)
    path = describe(fixed(graphs.path(50)))  # the second search, from its end, settles a path
    assert (path.diameter, path.diameter_least) == (49, None)
    graph = graphs.random_regular(60, 3, np.random.default_rng(1))
    monkeypatch.setattr(structure, "SEARCHES", 1)
    facts = describe(fixed(graph))
    assert facts.diameter is None and facts.diameter_least is not None
    assert facts.diameter_least == max(nx.single_source_shortest_path_length(graph, 0).values()) <= nx.diameter(graph)


@pytest.mark.parametrize("steps", [0, 100])
def test_diameter__is_networkx_both_ways(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "FEW_STEPS", steps)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        undirected = graphs.watts_strogatz(70, 2, 0.2, rng, allow_disconnected=False)
        directed = nx.DiGraph([*((i, (i + 1) % 70) for i in range(70)), *rng.integers(0, 70, (20, 2)).tolist()])
        directed.remove_edges_from(list(nx.selfloop_edges(directed)))
        for graph in (undirected, directed):
            assert describe(fixed(graph)).diameter == nx.diameter(graph)


def test_translations__are_the_digits_of_the_index() -> None:
    def digits(rounds: Schedule) -> tuple[int, ...] | None:
        return structure.translations([rounds(t) for t in range(rounds.period or 0)])

    assert digits(fixed(graphs.ring(12))) == (12,) and digits(fixed(graphs.torus(12))) == (4, 3)
    assert digits(fixed(graphs.hypercube(8))) == (2, 2, 2) and digits(schedule.base(6, 2)) == (2, 3)
    assert digits(fixed(graphs.star(5))) is None and digits(fixed(graphs.path(6))) is None


def test_describe__hypercube_closed_form() -> None:
    expected = TopologyFacts(
        16, 4, 4.0, 4, 64.0, 64.0, 4, spectral_gap=0.4, rounds_to=14, pooling_gap=0.0, pooling_connectivity=0.5
    )  # 0.6**14 < 1e-3 < 0.6**13; links alone swap the two halves of the cube, so that P never agrees
    facts = describe(fixed(graphs.hypercube(16)))
    assert facts.spectral_gap == approx(0.4)
    assert replace(facts, spectral_gap=0.4) == expected


def test_describe__star() -> None:
    facts = describe(fixed(graphs.star(8)))
    assert (facts.min_degree, facts.mean_degree, facts.max_degree) == (1, 14 / 8, 7)
    assert (facts.edges, facts.diameter) == (14, 2) and facts.spectral_gap == approx(1 / 8)


def test_describe__complete_agrees_at_once() -> None:
    facts = describe(fixed(nx.complete_graph(6)))
    assert (facts.diameter, facts.spectral_gap, facts.rounds_to) == (1, 1.0, 1)


def test_describe__self_sends_nothing() -> None:
    facts = describe(schedule.self_taught(4))
    assert (facts.min_degree, facts.edges, facts.messages_per_round) == (1, 4, 0)
    assert (facts.diameter, facts.spectral_gap, facts.rounds_to) == (None, 0.0, None)


def test_describe__nobody_studies() -> None:
    facts = describe(combinators.without_students(schedule.self_taught(3), frozenset(range(3))))
    assert (facts.min_degree, facts.mean_degree, facts.max_degree, facts.edges) == (0, 0.0, 0, 0)


@pytest.mark.parametrize("num_peers", [5, 11, 16])
def test_describe__diameter_is_networkx(num_peers: int) -> None:
    for graph in (graphs.ring(num_peers), graphs.path(num_peers), graphs.exponential(num_peers)):
        assert describe(fixed(graph)).diameter == nx.diameter(graph)


def test_describe__one_way_path_has_no_diameter() -> None:
    facts = describe(fixed(nx.DiGraph([(0, 1), (1, 2)])))
    assert facts.diameter is None and facts.edges == 2
    assert facts.mean_degree == 1  # the two students; peer 0 only teaches


@pytest.mark.parametrize("num_peers", [2, 8, 16])
def test_describe__one_peer_exponential_is_exact(num_peers: int) -> None:
    facts = describe(schedule.one_peer_exponential(num_peers))
    assert facts.spectral_gap == 1.0 and facts.rounds_to == np.log2(num_peers)
    assert (facts.max_degree, facts.messages_per_round) == (1, num_peers)


def test_describe__one_peer_exponential_of_twelve() -> None:
    facts = describe(schedule.one_peer_exponential(12))
    assert 1 - facts.spectral_gap == approx(0.209 ** (1 / 4), abs=5e-4)
    assert facts.rounds_to == brute_force_rounds(schedule.one_peer_exponential(12), 100)


@pytest.mark.parametrize("num_peers", [7, 12])
def test_describe__base_is_exact(num_peers: int) -> None:
    rounds = schedule.base(num_peers, 2)
    facts = describe(rounds)
    assert (facts.spectral_gap, facts.rounds_to) == (1.0, rounds.period) and facts.max_degree <= 2


@pytest.mark.parametrize("num_peers", [2, 3, 9, 16, 24])
def test_describe__rounds_to_is_theory_if_symmetric(num_peers: int) -> None:
    for family in (graphs.ring, graphs.path, graphs.star):
        facts = describe(fixed(family(num_peers)))
        gap = round(facts.spectral_gap, 12)
        assert facts.rounds_to == (1 if gap == 1 else np.ceil(np.log(1e-3) / np.log1p(-gap)))


def test_describe__rounds_to_is_brute_force() -> None:
    frozen_hub = combinators.without_students(fixed(graphs.star(6)), frozenset({0}))
    directed = schedule.static(Round.from_mixing(mixing.uniform(nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 3), (3, 0)]))))
    matching = schedule.random_matching(9, SeedSequence(0))
    pair = schedule.random_pair(6, 1, SeedSequence(1))
    student = combinators.one_student(fixed(graphs.ring(6)), SeedSequence(2))
    for rounds in (frozen_hub, directed, matching, pair, student):
        expected = brute_force_rounds(rounds, 2000)
        assert expected is not None and describe(rounds, rounds=20).rounds_to == expected


def test_describe__random_gap_is_the_geometric_mean_contraction() -> None:
    rounds = schedule.random_teachers(8, 2, SeedSequence(0))
    product = np.eye(8)
    for t in range(12):
        product = rounds(t).mixing @ product
    expected = 1 - np.linalg.norm(product - product.mean(axis=0), 2) ** (1 / 12)
    assert describe(rounds, rounds=12).spectral_gap == approx(expected)
    # far beyond double precision of the plain product, the estimate stays finite and settles
    assert describe(rounds, rounds=400).spectral_gap == approx(describe(rounds, rounds=800).spectral_gap, abs=0.03)


def test_describe__two_matched_peers_agree_at_once() -> None:
    facts = describe(schedule.random_matching(2, SeedSequence(0)))
    assert (facts.spectral_gap, facts.rounds_to, facts.diameter) == (1.0, 1, 1)


def test_describe__random_means_are_over_rounds() -> None:
    facts = describe(schedule.random_matching(7, SeedSequence(0)), rounds=10)
    assert (facts.min_degree, facts.mean_degree, facts.edges, facts.messages_per_round) == (1, 1.0, 6.0, 6.0)
    facts = describe(schedule.random_pair(7, 3, SeedSequence(0)), rounds=300)
    assert (facts.max_degree, facts.edges, facts.diameter) == (3, 3.0, 1)


def test_describe__few_students_a_round_are_watched_for_long_enough():
    """A pair a round among 96 peers: everyone is reached, and the gap is the expected matrix's, in order of size."""
    facts = describe(schedule.random_pair(96, 1, SeedSequence(0)))
    assert facts.diameter is not None and facts.rounds_to is not None
    assert 0.1 / 96 < facts.spectral_gap < 2 / 96
