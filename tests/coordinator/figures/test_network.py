import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.figures.network import (
    draw_ages,
    draw_gantt,
    draw_over_time,
    save_ages,
    save_gantt,
    save_over_time,
    unit_of,
)
from coordinator.figures.regions import draw_regions, located, save_regions
from coordinator.records.files.probe_curves import ProbeCurve
from tests.topologies.network.hand_made import neighbours, start_of
from topologies.accounts.intervals import Doing, Interval, intervals_of
from topologies.schedule import complete
from topologies.worlds import aws

Legible = Callable[[Figure], list[str]]
PLACES = ("us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1", "ap-southeast-2", "us-east-1")
ROWS = [
    {"round": 0, "relative_distance": 1.0, "virtual_seconds": None},
    {"round": 1, "loss": 0.5, "virtual_seconds": 4.0, "online": 3, "lost": 0, "mean_age_seconds": 0.01},
    {"round": 2, "loss": 0.25, "virtual_seconds": 9.0, "online": 2, "lost": 4, "mean_age_seconds": 0.02}
    | {"relative_distance": 0.5},
]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("num_peers", [2, 16, 60])
def test_draw_gantt__a_row_for_each_peer(narrow: bool, num_peers: int, legible: Legible) -> None:
    schedule = complete(num_peers)
    rounds = itertools.islice(neighbours(schedule, [1.0 + 0.1 * peer for peer in range(num_peers)], 0.25), 4)
    figure = draw_gantt(intervals_of(rounds, start_of(schedule)), 4, narrow)
    (axis,) = figure.axes
    computing = axis.collections[: min(num_peers, 48)]
    assert all(len(bars.get_paths()) == 4 for bars in computing)
    texts = legible(figure)
    assert {"computing", "waiting", "peer", "virtual seconds"} <= set(texts) and "offline" not in texts
    assert any(text.startswith("The first 4 rounds") for text in texts)
    assert ("The first 4 rounds, of 60 peers" in texts) == (num_peers == 60)


def test_draw_gantt__names_all_peers_and_shows_short_steps() -> None:
    """A step of 10 ms in 100 s keeps its colour: a white edge would cover it."""
    row = [Interval(Doing.COMPUTING, 5.0, 5.01), Interval(Doing.COMPUTING, 20.0, 100.0)]
    (axis,) = draw_gantt([row] * 4, 2).axes
    short, long = axis.collections[0].get_edgecolor()
    assert tuple(short) == tuple(axis.collections[0].get_facecolor()[0]) and tuple(long) == (1, 1, 1, 1)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "1", "2", "3"]


def test_draw_gantt__offline_is_hatched(legible: Legible) -> None:
    rows = [[Interval(Doing.COMPUTING, 0.0, 0.002), Interval(Doing.OFFLINE, 0.002, 0.01)], []]
    texts = legible(draw_gantt(rows, 1))
    assert "offline" in texts and "virtual ms" in texts and "The first round" in texts


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_ages__shares_of_messages(narrow: bool, legible: Legible) -> None:
    bins = {"rounds": [[0.0, 30.0], [1.0, 10.0], [90.0, 10.0]], "seconds": [[0.5, 25.0], [4.0, 25.0]]}
    figure = draw_ages(bins, narrow)
    rounds, seconds = figure.axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in rounds.patches] == [  # type: ignore[attr-defined]
        (pytest.approx(0), pytest.approx(60)),
        (pytest.approx(1), pytest.approx(20)),
    ]
    line = seconds.lines[0]
    assert np.allclose(line.get_xydata(), [[0, 0], [0.5, 50], [4, 100], [4.16, 100]])
    assert "age in rounds (20.0% are older)" in legible(figure)


def test_draw_ages__of_one_kind(legible: Legible) -> None:
    figure = draw_ages({"rounds": [[0.0, 5.0]], "seconds": [[0.004, 5.0]]})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["age in ms"]
    legible(figure)


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_over_time__against_virtual_seconds(narrow: bool, legible: Legible) -> None:
    curve = ProbeCurve(np.array([1, 2]), np.array([0.5, 0.8]), np.array([0.4, 0.7]), np.array([0.6, 0.9]))
    figure = draw_over_time(ROWS, {"linear": curve}, narrow)
    assert figure is not None
    titles = ["disagreement", "loss", "age of the messages used", "peers online", "messages lost", "linear probe"]
    assert [axis.get_title(loc="left") for axis in figure.axes] == titles
    assert np.array_equal(figure.axes[0].lines[0].get_xydata(), [[0, 1.0], [9, 0.5]])
    assert np.array_equal(figure.axes[2].lines[0].get_xydata(), [[4, 10], [9, 20]])  # ms
    assert np.allclose(figure.axes[5].lines[0].get_xydata(), [[4, 50], [9, 80]])
    assert {axis.get_xlabel() for axis in figure.axes} == {"virtual seconds"}
    legible(figure)


def test_draw_over_time__leaves_out_what_never_changes() -> None:
    rows = [row | {"online": 3, "lost": 0, "mean_age_seconds": 0.0} for row in ROWS]
    figure = draw_over_time(rows)
    assert figure is not None and len(figure.axes) == 2
    assert draw_over_time([row | {"virtual_seconds": 0.0} for row in ROWS]) is None
    assert draw_over_time([]) is None


@pytest.mark.parametrize(("seconds", "name"), [(0.5, "ms"), (4.0, "seconds"), (400.0, "minutes"), (4e-5, "µs")])
def test_unit_of__an_axis(seconds: float, name: str) -> None:
    assert unit_of(seconds)[1] == name


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_regions__points_and_links(narrow: bool, legible: Legible) -> None:
    table = aws.table()
    assert located(table, PLACES)["us-east-1"] == 2
    figure = draw_regions(table, PLACES, narrow)
    points, links = figure.axes[0].collections[1], figure.axes[0].collections[0]
    east, north = table.coordinates["us-east-1"][::-1]
    assert [east, north] in points.get_offsets().tolist()  # type: ignore[union-attr]
    delays = np.sort(links.get_array())  # type: ignore[type-var]
    names = sorted(set(PLACES))
    pairs = [(table.names.index(a), table.names.index(b)) for a, b in itertools.combinations(names, 2)]
    assert np.allclose(delays, np.sort([500 * (table.seconds[a, b] + table.seconds[b, a]) for a, b in pairs]))
    texts = legible(figure)
    assert ("us-east-1 (2)" in texts) != narrow


def test_draw_regions__all_regions(legible: Legible) -> None:
    table = aws.table()
    legible(draw_regions(table, table.names))


def test_draw_regions__twelve_close_ones(legible: Legible) -> None:
    table = aws.table()
    close = [name for name in table.names if name.startswith(("eu-", "us-"))]
    legible(draw_regions(table, close[:12]))


def test_save__no_file_without_data(tmp_path: Path) -> None:
    assert not save_gantt([[], []], 1, tmp_path / "a.png")
    assert not save_ages({"rounds": [[0.0, 5.0]], "seconds": []}, tmp_path / "a.png")
    assert not save_over_time([], tmp_path / "a.png")
    assert not save_regions(aws.table(), ["us-east-1", None], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    assert save_regions(aws.table(), PLACES, tmp_path / "a.png") and save_over_time(ROWS, tmp_path / "b.png")
