"""Layouts against what a picture of each kind must show: neighbours beside each other, nobody on top of another."""

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from topologies import graphs
from topologies.config import KINDS
from topologies.layouts import has_waves, positions


def links_of(kind: str, num_peers: int) -> set[tuple[int, int]]:
    variant = KINDS[kind]
    schedule = variant.example(num_peers).build(num_peers, np.random.SeedSequence(0))
    return {link for index in range(schedule.period or 4) for link in schedule(index).links}


def shortest(places: np.ndarray) -> float:
    """The smallest distance between two peers."""
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    return float(apart[~np.eye(len(places), dtype=bool)].min())


@pytest.mark.parametrize("num_peers", [2, 3, 4, 8, 16, 64])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"file"}))
def test_positions__in_the_unit_square_and_nobody_on_another(kind: str, num_peers: int) -> None:
    if not KINDS[kind].example(num_peers).takes(num_peers):
        pytest.skip("there is none")
    links = links_of(kind, num_peers)
    for name in (kind, ""):
        places = positions(num_peers, links, name)
        assert places.min() >= -1e-12 and places.max() <= 1 + 1e-12
        assert shortest(places) > 0.3 / num_peers
        assert (positions(num_peers, sorted(links, reverse=True), name) == places).all()  # the same bits, in any order


def test_positions__of_a_single_peer() -> None:
    assert positions(1, []).shape == (1, 2)


def test_positions__no_global_draws() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = positions(40, nx.random_regular_graph(3, 40, seed=1).edges)
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]  # noqa: NPY002
    assert (positions(40, nx.random_regular_graph(3, 40, seed=1).edges) == first).all()


def test_positions__ring_is_a_circle_clockwise_from_the_top() -> None:
    expected = [[0.5, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 0.5]]
    np.testing.assert_allclose(positions(4, [], "ring"), expected, atol=1e-12)
    assert positions(9, [], "ring") == pytest.approx(positions(9, [], "complete"))


def test_positions__neighbours_of_a_ring_are_nearest_however_it_is_named() -> None:
    """A user's own cycle in another order is a circle along it."""
    order = np.random.default_rng(3).permutation(30).tolist()
    for cycle, kind in ((list(range(30)), "ring"), (order, "file")):
        links = [*pairwise(cycle), (cycle[-1], cycle[0])]
        places = positions(30, links, kind)
        lengths = [math.dist(places[first], places[second]) for first, second in links]
        np.testing.assert_allclose(lengths, math.sin(math.pi / 30), rtol=1e-9)  # the side of a 30-gon in the circle


@pytest.mark.parametrize("num_peers", [16, 64, 1024])
def test_positions__hypercube_neighbours_are_in_adjacent_layers(num_peers: int) -> None:
    places = positions(num_peers, [], "hypercube")
    ones = np.array([bin(peer).count("1") for peer in range(num_peers)])
    layers = [places[ones == each, 1] for each in range(ones.max() + 1)]
    assert all(upper.max() < lower.min() for upper, lower in pairwise(layers))
    assert all(abs(ones[first] - ones[second]) == 1 for first, second in graphs.hypercube(num_peers).edges)
    assert shortest(places) > 0.5 / math.sqrt(num_peers) / 2


@pytest.mark.parametrize("num_peers", [12, 64, 1024])
def test_positions__torus_neighbours_are_grid_neighbours(num_peers: int) -> None:
    """But for the links that close rows and columns, which do not run over the peers between their ends."""
    rows = graphs.torus_rows(num_peers)
    columns = num_peers // rows
    places = positions(num_peers, [], "torus")
    cell = 1 / (columns - 1 + 0.35)
    for first, second in graphs.torus(num_peers).edges:
        (row, column), (other_row, other_column) = divmod(first, columns), divmod(second, columns)
        apart = math.dist(places[first], places[second])
        if abs(row - other_row) + abs(column - other_column) == 1:
            assert 0.8 * cell < apart < 1.25 * cell
        elif row == other_row:
            between = places[row * columns + columns // 2]
            assert abs(between[1] - places[first][1]) > 0.2 * cell


def test_positions__hub_of_a_star_in_the_middle() -> None:
    places = positions(20, [], "star")
    assert places[0].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(np.linalg.norm(places[1:] - 0.5, axis=1), 0.5)


def test_positions__ends_of_a_path_are_farther_apart_than_its_neighbours() -> None:
    places = positions(30, [], "path")
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert math.dist(places[0], places[-1]) > 2 * steps.max()
    np.testing.assert_allclose(steps, steps[0])


def test_positions__springs_draw_linked_peers_nearer_than_others() -> None:
    graph = nx.random_regular_graph(3, 60, seed=2)
    places = positions(60, graph.edges)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    linked = np.mean([apart[first, second] for first, second in graph.edges])
    assert linked < 0.6 * apart[~np.eye(60, dtype=bool)].mean()


def test_positions__components_do_not_overlap() -> None:
    parts = [nx.random_regular_graph(3, 20, seed=1), nx.path_graph(9), nx.cycle_graph(5), *[nx.empty_graph(1)] * 6]
    graph = nx.disjoint_union_all(parts)
    places = positions(len(graph), graph.edges)
    boxes = []
    for part in nx.connected_components(graph):
        inside = places[sorted(part)]
        boxes.append((inside.min(axis=0), inside.max(axis=0)))
    for index, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:index]:
            assert (high < other_low).any() or (other_high < low).any()


def test_positions__dense_graphs_are_a_circle_and_many_peers_a_disc() -> None:
    assert positions(30, nx.complete_graph(30).edges) == pytest.approx(positions(30, [], "ring"))
    disc = positions(1024, [], "complete")
    inner = np.linalg.norm(disc - 0.5, axis=1) < 0.25
    assert inner.mean() == pytest.approx(0.25, abs=0.01)  # equal density: half the radius, a quarter of the peers
    assert shortest(disc) > 0.5 / math.sqrt(1024)


def test_positions__rounds_drawn_anew_never_move_the_peers() -> None:
    """The live page draws them while new links come."""
    assert (positions(64, links_of("random", 64), "random") == positions(64, [(0, 1)], "random")).all()


def test_positions__counts_that_a_kind_does_not_take_are_a_circle() -> None:
    """A frozen or added peer must not keep a picture from being drawn."""
    for kind in ("torus", "hypercube"):
        assert (positions(7, [], kind) == positions(7, [], "ring")).all()


@pytest.mark.parametrize("kind", ["ring", "path"])
def test_positions__a_long_line_has_waves_and_the_same_distance_from_peer_to_peer(kind: str) -> None:
    places = positions(1024, [], kind)
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert steps.min() > 0.4 * steps.mean()  # less only where the line turns
    assert steps.mean() > 3 * math.sin(math.pi / 1024)  # than on a circle
    assert shortest(places) > 0.4 * steps.mean()  # no two waves touch


@pytest.mark.parametrize("kind", ["ring", "watts-strogatz", "path"])
def test_has_waves__where_a_circle_is_none(kind: str) -> None:
    for num_peers in (64, 200, 201, 1024):
        radii = np.linalg.norm(positions(num_peers, [], kind) - 0.5, axis=1)
        assert has_waves(num_peers, kind) == (np.ptp(radii) > 0.05)
    assert not has_waves(1024, "torus")
