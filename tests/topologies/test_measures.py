"""A schedule's facts against closed forms, networkx and brute force."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from numpy.random import SeedSequence
from pytest import approx

from topologies import graphs, mixing, schedule
from topologies.measures import TopologyFacts, describe
from topologies.schedule import Round, Schedule


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


def test_describe__hypercube_closed_form() -> None:
    expected = TopologyFacts(16, 4, 4.0, 4, 64.0, 64.0, 4, spectral_gap=0.4, rounds_to=14)  # 0.6**14 < 1e-3 < 0.6**13
    facts = describe(fixed(graphs.hypercube(16)))
    assert facts.spectral_gap == approx(0.4)
    assert replace(facts, spectral_gap=0.4) == expected


def test_describe__star() -> None:
    facts = describe(fixed(graphs.star(8)))
    assert (facts.min_degree, facts.mean_degree, facts.max_degree) == (1, 14 / 8, 7)
    assert (facts.edges, facts.diameter) == (14, 2) and facts.spectral_gap == approx(1 / 8)


def test_describe__complete_agrees_at_once() -> None:
    facts = describe(fixed(graphs.complete(6)))
    assert (facts.diameter, facts.spectral_gap, facts.rounds_to) == (1, 1.0, 1)


def test_describe__self_sends_nothing() -> None:
    facts = describe(schedule.self_taught(4))
    assert (facts.min_degree, facts.edges, facts.messages_per_round) == (1, 4, 0)
    assert (facts.diameter, facts.spectral_gap, facts.rounds_to) == (None, 0.0, None)


def test_describe__nobody_studies() -> None:
    facts = describe(schedule.without_students(schedule.self_taught(3), frozenset(range(3))))
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
    frozen_hub = schedule.without_students(fixed(graphs.star(6)), frozenset({0}))
    directed = schedule.static(Round.from_mixing(mixing.uniform(nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 3), (3, 0)]))))
    matching = schedule.random_matching(9, SeedSequence(0))
    pair = schedule.random_pair(6, 1, SeedSequence(1))
    student = schedule.one_student(fixed(graphs.ring(6)), SeedSequence(2))
    for rounds in (frozen_hub, directed, matching, pair, student):
        expected = brute_force_rounds(rounds, 2000)
        assert expected is not None and describe(rounds, rounds=20).rounds_to == expected


def test_describe__rounds_to_gives_up() -> None:
    assert describe(fixed(graphs.path(256))).rounds_to is None  # 137 597 rounds by its gap
    two_frozen = schedule.without_students(fixed(graphs.ring(6)), frozenset({0, 3}))
    facts = describe(two_frozen)
    assert facts.rounds_to is None and facts.spectral_gap == approx(0, abs=1e-12)


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
