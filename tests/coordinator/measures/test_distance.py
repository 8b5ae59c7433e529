"""Distances in links against networkx, closed forms, and the direction from teacher to student."""

from typing import Any

import networkx as nx
import numpy as np
import pytest

from coordinator import load_config
from coordinator.measures.distance import (
    UNREACHED,
    Arrival,
    distance_scopes,
    hops,
    hops_to_other_groups,
    links_of,
    round_of_arrival,
)
from coordinator.measures.gains import Gain
from coordinator.measures.subjects import Scope
from coordinator.planning.schedules import build_schedule
from topologies import schedule


@pytest.mark.parametrize("seed", range(5))
def test_hops__as_networkx_finds_them(seed: int) -> None:
    graph = nx.gnp_random_graph(20, 0.07, seed=seed, directed=True)
    sources = [3, 11]
    links = np.array(list(graph.edges), dtype=np.int64)
    known = nx.multi_source_dijkstra_path_length(graph, sources)
    assert UNREACHED in (found := hops(20, links, sources).tolist())
    assert found == [known.get(peer, UNREACHED) for peer in range(20)]


def test_hops__from_teacher_to_student_only() -> None:
    chain = np.array([[0, 1], [1, 2]])
    assert hops(3, chain, [0]).tolist() == [0, 1, 2]
    assert hops(3, chain, [2]).tolist() == [UNREACHED, UNREACHED, 0]
    assert hops(3, chain, []).tolist() == [UNREACHED] * 3


def test_links_of__all_rounds_of_a_period() -> None:
    """The one-peer exponential graph on 8 peers: in round k peer i hears i - 2^k."""
    made = schedule.one_peer_exponential(8)
    steps = {(teacher - student) % 8 for teacher, student in links_of(made, 100).tolist()}
    assert made.period == 3 and len(steps - {0}) == 3
    assert len({(t - s) % 8 for t, s in links_of(made, 1).tolist()} - {0}) == 1


def peers_on(small: dict[str, Any], topology: dict[str, Any], **peers: Any) -> tuple[Any, Any]:
    small |= {"topology": topology, "peers": peers}
    config = load_config(small)
    return config.peers, build_schedule(config)


def test_distance_scopes__four_good_ones_on_a_ring_of_twenty(small: dict[str, Any]) -> None:
    """Peers 0 to 3 are good: 4 and 19 hear one, 11 and 12 are 8 links away."""
    groups = [{"name": "good", "count": 4}, {"name": "poor", "count": 16}]
    peers, ring = peers_on(small, {"kind": "ring"}, groups=groups)
    found = distance_scopes(peers, hops_to_other_groups(peers, ring, 10))
    good = [Scope("good.hops.1", (0, 3)), Scope("good.hops.2", (1, 2))]
    assert found == good + [Scope(f"poor.hops.{steps}", (3 + steps, 20 - steps)) for steps in range(1, 9)]


def test_distance_scopes__liars_neither_teach_nor_count(small: dict[str, Any]) -> None:
    groups = [{"name": "good", "count": 2}, {"name": "poor", "count": 4}]
    liars = [{"peers": [0, 3], "attack": {"kind": "sign-flip"}}]
    peers, ring = peers_on(small, {"kind": "ring"}, groups=groups, adversaries=liars)
    found = {scope.name: scope.peers for scope in distance_scopes(peers, hops_to_other_groups(peers, ring, 10))}
    # of the good ones only peer 1 is honest: 2 hears it, 5 does by way of 0
    assert found == {"good.hops.1": (1,), "poor.hops.1": (2,), "poor.hops.2": (5,), "poor.hops.3": (4,)}


def test_distance_scopes__only_of_groups_with_names(small: dict[str, Any]) -> None:
    peers, ring = peers_on(small, {"kind": "ring"}, groups=[{"count": 2}, {"count": 2}])
    assert hops_to_other_groups(peers, ring, 10) is None and distance_scopes(peers, None) == []


@pytest.mark.parametrize("travel", [3, 10])
def test_round_of_arrival__a_step_that_travels_and_a_rise(travel: int) -> None:
    """A gain that is 0 until it has come d links, `travel` rounds each, arrives just then: so many rounds a hop."""
    for far in (1, 2, 4):
        stepped = {completed: 0.04 * (completed > travel * far) for completed in range(51)}
        assert round_of_arrival(stepped) == travel * far + 1
    assert round_of_arrival({completed: completed / 100 for completed in range(0, 101, 10)}) == 60  # not at the half


def test_round_of_arrival__stays_there_and_is_positive_at_the_end() -> None:
    assert round_of_arrival({10: 0.05, 20: 0.01, 30: 0.04, 40: 0.04}) == 30  # what is lost again had not arrived
    assert round_of_arrival({40: 0.04, 10: 0.03}) == 10  # from the first probed round on
    assert round_of_arrival({10: -0.2, 40: 0.04}) == 40
    assert round_of_arrival({10: 0.05, 40: 0.0}) is None and round_of_arrival({10: 0.05, 40: -0.1}) is None
    assert round_of_arrival({}) is None


def test_arrival__name_and_back() -> None:
    arrival = Arrival("poor.hops.2", "knn", Gain.OVER_ALONE)
    assert arrival.name == "groups.poor.hops.2.arrival.knn.over_alone" and Arrival.parse(arrival.name) == arrival
    for other in ("groups.poor.hops.2.probes.knn.gain", "groups.poor.arrival.knn.gain", f"{arrival.name}.mean"):
        assert Arrival.parse(other) is None
