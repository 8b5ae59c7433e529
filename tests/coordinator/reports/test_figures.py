import itertools
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread

from coordinator.measures.gains import Condition
from coordinator.records.probe_curves import ProbeCurve
from coordinator.records.run_folder import RunFolder
from coordinator.reports import figures
from topologies import schedule

pytestmark = pytest.mark.figures
SEED = np.random.SeedSequence(0)
PROBES = {
    "knn": {
        "raw_pixels": 0.9,
        "untrained": 0.5,
        "calibrated": 0.6,
        "trained": 0.8,
        "gain": 0.2,
        "interval": [0.1, 0.3],
    }
}
ROWS = [
    {"round": 0, "relative_distance": 1.0, "agreement": 0.25},
    {"round": 10, "relative_distance": 0.5, "agreement": 0.75},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, whose files are still written."""
    saved: list[Figure] = []
    write = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        write(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[set[tuple[int, int]]]:
    """The links that are handed to networkx for drawing."""
    seen: list[set[tuple[int, int]]] = []
    draw = nx.draw_networkx

    def draw_networkx(graph: Any, *arguments: Any, **options: Any) -> None:
        seen.append(set(graph.edges))
        draw(graph, *arguments, **options)

    monkeypatch.setattr(nx, "draw_networkx", draw_networkx)
    return seen


def test_save_topology__draws_the_links_from_teacher_to_student(
    tmp_path: Path, drawn: list[Figure], graphs: list[set[tuple[int, int]]]
) -> None:
    figures.save_topology(schedule.one_peer_exponential(4), tmp_path / "t.png")
    assert graphs == [{((i + hop) % 4, i) for i in range(4)} for hop in (1, 2)]
    assert [axis.get_title() for axis in drawn[0].axes] == ["round 0", "round 1"]
    assert imread(tmp_path / "t.png").shape[:2] == (384, 768)  # two panels of 2.4 inches at 160 dots


def test_save_topology__a_static_one_has_one_panel_and_self_teaching_no_links(
    tmp_path: Path, drawn: list[Figure], graphs: list[set[tuple[int, int]]]
) -> None:
    figures.save_topology(schedule.self_taught(3), tmp_path / "t.png")
    assert graphs == [set()] and [axis.get_title() for axis in drawn[0].axes] == ["every round"]


def test_save_topology__one_drawn_anew_has_four_panels(
    tmp_path: Path, drawn: list[Figure], graphs: list[set[tuple[int, int]]]
) -> None:
    made = schedule.random_teachers(5, 1, SEED)
    figures.save_topology(made, tmp_path / "t.png")
    assert graphs == [set(made(index).links) for index in range(4)]


def test_save_topology__colours_peers_by_their_gain(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.save_topology(schedule.self_taught(4), tmp_path / "t.png", "linear", {0: 0.1, 1: -0.2, 3: 0.0})
    panel, scale = drawn[0].axes
    (nodes,) = (each for each in panel.collections if len(each.get_offsets()) == 4)
    expected = [figures.GAINS(0.75), figures.GAINS(0.0), to_rgba(figures.UNKNOWN), figures.GAINS(0.5)]
    assert np.allclose(np.asarray(nodes.get_facecolor()), expected)
    assert "linear gain" in scale.get_xlabel() and scale.get_xlim() == pytest.approx((-20, 20))  # points


def test_peer_gains__linear_before_knn_and_never_the_papers_probe() -> None:
    table = {name: {"peers": {"peer": [0, 2], "gain": [0.1, gain]}} for name, gain in (("knn", 0.2), ("linear", 0.3))}
    assert figures.peer_gains(table) == ("linear", {0: 0.1, 2: 0.3})
    assert figures.peer_gains({"sgd": table["knn"], "linear": {"raw_pixels": 0.9}}) == ("", {})
    assert figures.peer_gains({"sgd": table["linear"], "knn": table["knn"]}) == ("kNN", {0: 0.1, 2: 0.2})


def test_colours__every_condition_has_its_own() -> None:
    assert set(figures.COLOURS) == set(Condition)
    assert len(set(figures.COLOURS.values())) == len(Condition)


def test_save_consensus__narrow_is_one_column_and_reset_stands_beside_trained(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    probes = {"knn": {**PROBES["knn"], "reset": 0.75, "alone": 0.7}}
    figures.save_consensus(ROWS, probes, tmp_path / "c.png", narrow=True)
    boxes = [axis.get_position() for axis in drawn[0].axes]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    bars: Any = drawn[0].axes[2].patches
    assert [bar.get_height() for bar in bars] == [0.9, 0.5, 0.6, 0.8, 0.75, 0.7]
    (interval,) = drawn[0].axes[2].collections[0].get_segments()  # type: ignore[attr-defined]
    assert interval[0, 0] == pytest.approx(bars[3].get_center()[0])  # of the trained


def test_save_consensus__draws_rows_and_bars(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.save_consensus(ROWS, PROBES, tmp_path / "c.png")
    distance, agreement, accuracy = drawn[0].axes
    assert np.array_equal(distance.lines[0].get_xydata(), [[0, 1.0], [10, 0.5]])
    assert np.array_equal(agreement.lines[0].get_xydata(), [[0, 0.25], [10, 0.75]])
    bars: Any = accuracy.patches
    assert [bar.get_height() for bar in bars] == [0.9, 0.5, 0.6, 0.8]
    (interval,) = accuracy.collections[0].get_segments()  # type: ignore[attr-defined]
    assert interval[:, 1] == pytest.approx([0.7, 0.9])  # calibrated + interval
    assert interval[0, 0] == pytest.approx(bars[3].get_center()[0])


CURVE = ProbeCurve(np.array([5, 10]), np.array([0.5, 0.8]), np.array([0.4, 0.7]), np.array([0.6, 0.9]))


@pytest.mark.parametrize("narrow", [False, True])
def test_save_consensus__curves_of_probes_with_the_controls_as_levels(
    tmp_path: Path, drawn: list[Figure], narrow: bool
) -> None:
    probes = {"knn": {**PROBES["knn"], "alone": 0.7}}
    figures.save_consensus(ROWS, probes, tmp_path / "c.png", {"knn": CURVE, "linear": CURVE}, narrow=narrow)
    _, _, bars, knn, linear = drawn[0].axes
    assert (knn.get_title(), linear.get_title()) == ("kNN accuracy", "linear accuracy")
    mean, *levels = knn.lines
    assert np.array_equal(mean.get_xydata(), [[5, 0.5], [10, 0.8]])
    assert [(line.get_label(), line.get_ydata()[0]) for line in levels] == [("calibrated", 0.6), ("alone", 0.7)]
    corners = {tuple(corner) for corner in knn.collections[0].get_paths()[0].vertices.tolist()}  # type: ignore[union-attr]
    assert corners == {(5, 0.4), (5, 0.6), (10, 0.7), (10, 0.9)}
    assert len(linear.lines) == 1  # a probe without controls, as of a run that was interrupted
    assert bars.get_position().y0 > knn.get_position().y1


def test_save__curves_where_probes_were_taken_in_several_rounds(tmp_path: Path, drawn: list[Figure]) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.record("rounds", {"round": 0}, ROWS[0])
    for completed, accuracy in ((5, 0.5), (10, 0.8)):
        for peer in range(3):
            row = {"loss": 1.0, "knn_accuracy": accuracy + 0.1 * peer}
            folder.record("peers", {"round": completed, "peer": peer}, row)
    figures.save(schedule.self_taught(3), folder, {"probes": PROBES, "not_finite": {"2": {}}})
    _, wide, narrow = drawn
    for figure in (wide, narrow):
        assert np.allclose(figure.axes[-1].lines[0].get_xydata(), [[5, 0.55], [10, 0.85]])


def test_save_consensus__without_probes_has_no_bars(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.save_consensus(ROWS, {"knn": {"raw_pixels": 0.9}}, tmp_path / "c.png")
    assert len(drawn[0].axes) == 2


def test_save__writes_what_there_is(tmp_path: Path) -> None:
    folder, ring = RunFolder(tmp_path, "run"), schedule.self_taught(2)
    figures.save(ring, folder, {"probes": {}})
    assert [path.name for path in (folder.path / "figures").iterdir()] == ["topology.png"]
    folder.record("rounds", {"round": 0}, ROWS[0])
    figures.save(ring, folder, {"probes": PROBES})
    names = sorted(path.name for path in (folder.path / "figures").iterdir())
    assert names == ["consensus-narrow.png", "consensus.png", "topology.png"]
