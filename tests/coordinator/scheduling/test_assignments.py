"""What a dense round costs the coordinator: bytes of its assignments, and memory to plan it."""

import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from coordinator.scheduling.assignments import Routes
from peers.exchange.assignment import Assignment
from topologies.round import Edge
from topologies.schedule import Schedule, complete, periodic, random_teachers, static


def split(num_peers: int, num_hosts: int) -> list[list[int]]:
    return [list(range(host, num_peers, num_hosts)) for host in range(num_hosts)]


def planned(schedule: Schedule, rounds: int) -> list[list[Assignment]]:
    routes = Routes(schedule, rounds, split(schedule.num_peers, 2))
    found = [[routes.following(peer) for _ in range(rounds)] for peer in range(schedule.num_peers)]
    return [[assignment for assignment in row if assignment is not None] for row in found]


@pytest.mark.parametrize("num_peers", [64, 128, 256])
def test_routes__send_few_bytes_for_each_link_of_a_complete_graph(num_peers: int) -> None:
    hosts, links = split(num_peers, 8), num_peers * (num_peers - 1)
    few = min(2 * links + 9 * 8 * num_peers + 120 * num_peers, 5 * links)  # one row of weights for each host
    routes = Routes(complete(num_peers), 3, hosts)
    for _ in range(3):
        parts = [{peer: routes.following(peer) for peer in peers} for peers in hosts]
        assert sum(len(pickle.dumps(of_host)) for of_host in parts) <= few


def test_routes__plan_a_shared_sum_without_an_object_for_each_link() -> None:
    num_peers = 256
    schedule, hosts = complete(num_peers), split(num_peers, 8)
    round_ = schedule(0)
    tracemalloc.start()
    routes = Routes(schedule, 2, hosts, shared_sum=True)
    first = [routes.following(peer) for peer in range(num_peers)]
    assert routes.listeners(round_) == dict.fromkeys(range(num_peers), num_peers - 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(part is not None and part.sum_weights is not None and not part.links for part in first)
    assert peak < 8 * num_peers * (num_peers - 1)  # one pointer for each link


def test_routes__give_each_student_the_edges_of_its_round() -> None:
    drawn = random_teachers(12, 3, np.random.SeedSequence(1))
    aged = [
        replace(drawn(t), incoming=tuple(tuple(edge._replace(age=edge.teacher % 2) for edge in row) for row in rows))
        for t in range(2)
        for rows in [drawn(t).incoming]
    ]
    for schedule in (drawn, periodic(tuple(aged)), static(replace(drawn(0), incoming=((Edge(1, 1.0),), *[()] * 11)))):
        for peer, parts in enumerate(planned(schedule, 2)):
            for part in parts:
                assert tuple(part.links) == schedule(part.round_index).incoming[peer]


def test_routes__students_of_a_static_round_keep_their_links_and_share_equal_weights() -> None:
    parts = planned(complete(8), 2)
    assert all(first.links is second.links for first, second in parts)
    assert len({id(row[0].links.weights) for row in parts}) == 1


def test_foreign__names_teachers_on_other_hosts_only() -> None:
    routes = Routes(complete(6), 1, [[0, 3], [1, 2, 4], [5]])
    assert routes.foreign(complete(6)(0)) == [[1, 2, 4, 5], [0, 3, 5], [0, 1, 2, 3, 4]]
