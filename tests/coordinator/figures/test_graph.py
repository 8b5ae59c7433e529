"""Drawings of graphs: every link is drawn, towards the student; any number of peers stays a picture."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread

from coordinator.figures import graph, style
from coordinator.figures.graph import Panel, draw_panels, ends_of, save_comparison, save_topology
from coordinator.figures.peers import Look
from topologies import schedule
from topologies.analysis.measures import describe
from topologies.config import KINDS
from topologies.layouts import places

pytestmark = pytest.mark.figures
SEED = np.random.SeedSequence(0)
Legible = Callable[[Figure], list[str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would be written."""
    saved: list[Figure] = []
    monkeypatch.setattr(graph, "write", lambda figure, path, dpi: saved.append(figure))
    return saved


def built(kind: str, num_peers: int) -> schedule.Schedule:
    return KINDS[kind].example(num_peers).build(num_peers, SEED)


def of_type(axis: Axes, kind: type[Any]) -> list[Any]:
    return [each for each in axis.collections if isinstance(each, kind)]


def links_in(axis: Axes) -> set[tuple[int, int]]:
    """The (teacher, student) links that a panel shows: arrows by their heads, lines without a head in both ways."""
    (nodes,) = of_type(axis, PathCollection)
    places = np.asarray(nodes.get_offsets())

    def at(place: Any) -> int:
        return int(np.linalg.norm(places - place, axis=1).argmin())

    segments = [segment for lines in of_type(axis, LineCollection) for segment in lines.get_segments()]
    lines = [(at(segment[0]), at(segment[1])) for segment in segments]
    tips = [path.vertices[0] for heads in of_type(axis, PolyCollection) for path in heads.get_paths()]
    arrows: set[tuple[int, int]] = set()
    for tip in tips:
        for teacher, student in lines:  # of the lines into the peer that the tip touches, the one that it lies on
            along, rest = places[student] - places[teacher], tip - places[teacher]
            if at(tip) == student and abs(along[0] * rest[1] - along[1] * rest[0]) < 1e-9:
                arrows.add((teacher, student))
    return arrows | {(b, a) for a, b in lines if (a, b) not in arrows} | {link for link in lines if link not in arrows}


@pytest.mark.parametrize("kind", ["ring", "torus", "star", "hypercube", "exponential", "random-regular", "self"])
def test_draw_links__every_link_from_teacher_to_student(kind: str) -> None:
    made = built(kind, 16)
    figure = draw_panels([Panel("", places(made, kind), ends_of(made, [0]), ["k"] * 16)], "", 1)
    assert links_in(figure.axes[0]) == {link for link in made(0).links if link[0] != link[1]}


def test_save_topology__a_panel_for_each_of_its_rounds(tmp_path: Path, drawn: list[Figure], legible: Legible) -> None:
    save_topology(schedule.one_peer_exponential(4), tmp_path / "t.png", kind="one-peer-exponential")
    (figure,) = drawn
    assert [links_in(axis) for axis in figure.axes] == [{((i + hop) % 4, i) for i in range(4)} for hop in (1, 2)]
    assert [axis.get_title() for axis in figure.axes] == ["round 0", "round 1"]
    assert len({tuple(of_type(axis, PathCollection)[0].get_offsets().ravel()) for axis in figure.axes}) == 1
    assert "one-peer-exponential, 4 peers" in legible(figure)


def test_save_topology__one_drawn_anew_has_four_panels(tmp_path: Path, drawn: list[Figure]) -> None:
    made = schedule.random_teachers(5, 1, SEED)
    save_topology(made, tmp_path / "t.png", kind="random")
    assert [links_in(axis) for axis in drawn[0].axes] == [set(made(index).links) for index in range(4)]


def test_save_topology__colours_peers_by_their_gain(tmp_path: Path, drawn: list[Figure], legible: Legible) -> None:
    save_topology(schedule.self_taught(4), tmp_path / "t.png", "linear", {0: 0.1, 1: -0.2, 3: 0.0})
    panel, scale = drawn[0].axes
    (nodes,) = of_type(panel, PathCollection)
    gains = style.GAINS
    expected = [gains(0.75), gains(0.0), to_rgba(graph.UNKNOWN), gains(0.5)]
    assert np.allclose(np.asarray(nodes.get_facecolor()), expected)
    assert "linear gain" in scale.get_xlabel() and "points" in scale.get_xlabel()
    assert scale.get_xlim() == pytest.approx((-20, 20))
    legible(drawn[0])


def test_save_topology__title_has_kind_size_and_facts(tmp_path: Path, drawn: list[Figure]) -> None:
    made = built("hypercube", 8)
    save_topology(made, tmp_path / "t.png", kind="hypercube", facts=describe(made))
    title = "hypercube, 8 peers\ndegree 3 · 24 links · diameter 3 · gap 0.5"  # 1 - (4 - 2) / 4
    assert drawn[0].get_suptitle() == title


@pytest.mark.parametrize(("num_peers", "words"), [(64, "ring, 64 peers"), (256, "ring, 256 peers, in waves for room")])
def test_save_topology__says_why_a_ring_is_no_circle(
    num_peers: int, words: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    save_topology(built("ring", num_peers), tmp_path / "t.png", kind="ring")
    assert drawn[0].get_suptitle() == words


@pytest.mark.parametrize("num_peers", [8, 64, 200])
@pytest.mark.parametrize("kind", ["ring", "torus", "star", "random-regular", "random-matching"])
def test_save_topology__numbers_only_where_they_fit(
    kind: str, num_peers: int, tmp_path: Path, drawn: list[Figure], legible: Legible
) -> None:
    save_topology(built(kind, num_peers), tmp_path / "t.png", kind=kind)
    texts = legible(drawn[0])
    numbers = [text for text in texts if text.isdigit()]
    assert len(numbers) % num_peers == 0
    assert bool(numbers) if num_peers == 8 else num_peers == 64 or not numbers


def test_draw_links__many_links_are_thin_and_pale_and_none_hides_a_peer() -> None:
    looks = []
    for num_peers in (8, 64):
        made = built("complete", num_peers)
        figure = draw_panels([Panel("", places(made, "complete"), ends_of(made, [0]), ["k"] * num_peers)], "", 1)
        (lines,), (nodes,) = of_type(figure.axes[0], LineCollection), of_type(figure.axes[0], PathCollection)
        assert lines.get_zorder() < nodes.get_zorder()
        looks.append((lines.get_alpha(), lines.get_linewidths()[0]))
    (alpha, width), (paler, thinner) = looks
    assert paler < 0.5 * alpha and thinner < 0.5 * width


def test_draw_links__of_a_thousand_peers_a_sample_that_is_told(legible: Legible) -> None:
    made = built("complete", 300)
    figure = draw_panels([Panel("", places(made, "complete"), ends_of(made, [0]), ["k"] * 300)], "", 1)
    (lines,) = of_type(figure.axes[0], LineCollection)
    assert len(lines.get_segments()) == graph.MOST_LINKS < math.comb(300, 2) == 44_850
    assert "45% of the links are drawn" in legible(figure)


def test_draw_links__peers_do_not_cover_each_other() -> None:
    """Of a ring of 64, which was a blot: a peer is smaller than the distance to the next."""
    made = built("ring", 64)
    figure = draw_panels([Panel("", places(made, "ring"), ends_of(made, [0]), ["k"] * 64)], "", 1)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    (nodes,) = of_type(axis, PathCollection)
    pixels = axis.transData.transform(np.asarray(nodes.get_offsets()))
    apart = np.linalg.norm(pixels[0] - pixels[1]) / figure.dpi * 72
    diameter = math.sqrt(nodes.get_sizes()[0])
    assert 3 < diameter < apart


def test_save_topology__names_of_any_kind(
    tmp_path: Path, drawn: list[Figure], hostile: tuple[str, ...], legible: Legible
) -> None:
    made = built("ring", 8)
    for name in hostile:
        save_topology(made, tmp_path / "t.png", "linear", {0: 0.1}, name=name, kind="file", facts=describe(made))
        legible(drawn[-1])


def test_save_comparison__gap_diameter_and_messages_of_each(
    tmp_path: Path, drawn: list[Figure], legible: Legible
) -> None:
    names = ["ring", "torus", "complete", "one-peer-exponential"]
    made = [(name, name, built(name, 16)) for name in names]
    save_comparison([(*each, describe(each[2])) for each in made], "16 peers", tmp_path / "c.png")
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles[0] == "ring\ngap 0.0507 · diameter 8\n32 messages a round"
    assert titles[2] == "complete\ngap 1 · diameter 1\n240 messages a round"
    assert titles[3].startswith("one-peer-exponential, 4 rounds together\n")
    assert drawn[0].get_suptitle() == "16 peers"
    assert [len(links_in(axis)) for axis in drawn[0].axes[:3]] == [32, 64, 240]
    legible(drawn[0])


def test_save_comparison__names_of_any_kind(
    tmp_path: Path, drawn: list[Figure], hostile: tuple[str, ...], legible: Legible
) -> None:
    made = built("ring", 16)
    save_comparison([(name, "file", made, describe(made)) for name in hostile], "16 peers", tmp_path / "c.png")
    legible(drawn[0])


def test_ends_of__is_the_union_of_rounds_without_links_to_oneself() -> None:
    made = schedule.random_teachers(6, 2, SEED)
    expected = sorted({link for index in range(3) for link in made(index).links})
    assert [tuple(link) for link in ends_of(made, range(3)).tolist()] == expected
    assert len(ends_of(schedule.self_taught(3), [0])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["complete", "hypercube", "random-regular", "ring", "torus", "random"])
def test_save_topology__of_1024_peers(kind: str, tmp_path: Path) -> None:
    save_topology(built(kind, 1024), tmp_path / "t.png", kind=kind)
    image = imread(tmp_path / "t.png")[..., :3]
    assert 0.01 < (image < 0.9).any(axis=2).mean() < 0.75  # something is drawn, and it is no blot


def test_ends_of__agrees_with_networkx() -> None:
    graph = nx.hypercube_graph(4)
    assert len(ends_of(built("hypercube", 16), [0])) == 2 * graph.number_of_edges()


def test_save_topology__groups_by_shape_and_marks_of_liars_and_frozen_peers(
    drawn: list[Figure], tmp_path: Path, legible: Legible
) -> None:
    look = Look({"good": [0, 1], "poor": [2, 3, 4, 5]}, liars=[3], frozen=[0, 5])
    made = built("ring", 6)
    save_topology(made, tmp_path / "t.png", "linear", {1: 0.1}, kind="ring", facts=describe(made), look=look)
    (figure,) = drawn
    legible(figure)
    where, scattered = places(made, "ring"), of_type(figure.axes[0], PathCollection)
    offsets = [np.asarray(each.get_offsets()) for each in scattered]
    for found, peers in zip(offsets, ([0, 1], [2, 3, 4, 5], [3], [0, 5]), strict=True):
        assert np.allclose(found, where[peers])
    corners = [len(each.get_paths()[0].vertices) for each in scattered]
    assert len({*corners[:2]}) == 2 and all(not each.get_facecolor().size for each in scattered[2:])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["good", "poor", "lies", "frozen"]
    axis = figure.axes[0]
    assert all(0 < each < 1 for each in axis.transAxes.inverted().transform(axis.transData.transform(where)).ravel())
