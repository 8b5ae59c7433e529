"""The figure of gains: what is drawn is what the summary says, on a scale on which it is seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from coordinator.figures.gains import MOST_DOTS, SIDES, draw_gains, rows_of, save_gains
from coordinator.measures.gains import FOR_COMPARISON
from coordinator.measures.verdict import Interval, Side

pytestmark = pytest.mark.figures
Legible = Callable[[Figure], list[str]]


def over(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high}


def summary() -> dict[str, Any]:
    knn = {
        "calibrated": 0.9,
        "trained": 0.94,
        "gain": 0.04,
        "interval": [0.01, 0.07],
        "alone": 0.95,
        "over_alone": over(-0.01, -0.03, 0.01),
        "over_shuffled": over(-0.02, -0.03, -0.01),
        "supervised": 0.99,
        "over_supervised": over(-0.45, -0.5, -0.4),
        "controls": {"alone": "no difference", "shuffled": "worse than the control (this run)"},
        "peers": {"peer": [0, 1], "gain": [0.03, 0.05], "over_alone": [-0.02, 0.0]},
    }
    return {"probes": {"knn": knn}, "controls": {}, "data": {"shape": [1, 8, 8]}}


def intervals(axis: Axes) -> list[tuple[float, float]]:
    return [tuple(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 2]


def points(axis: Axes) -> list[Any]:
    return [line for line in axis.lines if line.get_marker() in ("o", "<", ">")]


def test_rows_of__calibrated_first_and_gains_in_points() -> None:
    rows = rows_of(summary(), "knn")
    assert [row.control for row in rows] == ["calibrated", "alone", "shuffled", "supervised"]
    assert rows[0].gain is not None and rows[1].gain is not None
    assert (rows[0].gain.mean, rows[0].gain.low, rows[0].gain.high) == pytest.approx((4, 1, 7))
    assert rows[0].students == pytest.approx([3, 5]) and rows[1].students == pytest.approx([-2, 0])


def test_draw_gains__points_intervals_and_the_colours_of_their_sides(legible: Legible) -> None:
    figure = draw_gains({"knn": rows_of(summary(), "knn")}, "images")
    axis = figure.axes[0]
    assert intervals(axis)[:3] == [pytest.approx((1, 7)), pytest.approx((-3, 1)), pytest.approx((-3, -1))]
    marks = points(axis)
    assert [float(mark.get_xdata()[0]) for mark in marks[:3]] == pytest.approx([4, -1, -2])
    sides = [Side.ABOVE, Side.NEITHER, Side.BELOW]
    assert [mark.get_color() for mark in marks[:3]] == [SIDES[side] for side in sides]
    assert [mark.get_markerfacecolor() == "white" for mark in marks[:3]] == [False, True, False]
    assert len({to_rgba(colour) for colour in SIDES.values()}) == 3
    texts = legible(figure)
    assert "+4.0 (+1.0 to +7.0)" in texts and "over calibrated" in texts and "kNN probe" in texts
    assert any("percentage points" in text and "95% intervals" in text and "images" in text for text in texts)


def test_draw_gains__a_gain_of_four_points_is_seen_beside_one_of_forty() -> None:
    """Supervised peers, as far above as labels are, do not stretch the scale: an arrow at its end says where."""
    axis = draw_gains({"knn": rows_of(summary(), "knn")}, "images").axes[0]
    low, high = axis.get_xlim()
    assert (low, high) == pytest.approx((-7.56, 7.56))
    (arrow,) = [mark for mark in points(axis) if mark.get_marker() == "<"]
    assert low < arrow.get_xdata()[0] < 0.97 * low


def test_draw_gains__probes_of_other_sizes_have_other_scales() -> None:
    rows = rows_of(summary(), "knn")
    like, unlike = (
        [row for row in rows_of(summary() | {"probes": {"knn": table}}, "knn") if row.control == "calibrated"]
        for table in (
            {"gain": 0.02, "interval": [0.0, 0.04]},
            {"gain": 0.5, "interval": [0.3, 0.7]},
        )
    )
    first, second = draw_gains({"knn": rows, "linear": like}, "images").axes
    assert first.get_xlim() == second.get_xlim() == pytest.approx((-7.56, 7.56))
    figure = draw_gains({"knn": rows, "linear": unlike}, "images")
    assert [axis.get_xlim()[1] for axis in figure.axes] == pytest.approx([7.56, 75.6])


def test_draw_gains__a_control_without_a_verdict_says_why(legible: Legible) -> None:
    table = summary()
    table["probes"]["knn"]["controls"]["stranger"] = "no verdict"
    table["controls"]["stranger"] = {"void": "diverged"}
    rows = rows_of(table, "knn")
    assert [(row.control, row.gain, row.note) for row in rows if row.note] == [
        ("stranger", None, "no verdict: it diverged")
    ]
    assert "no verdict: it diverged" in legible(draw_gains({"knn": rows}, "images"))
    assert "over stranger (no verdict)" in legible(draw_gains({"knn": rows}, "images", narrow=True))


def test_draw_gains__fits_the_first_screen() -> None:
    """Of two probes and four controls: beside the verdicts on a screen of 1200 points, below them on a phone of 360."""
    rows = rows_of(summary(), "knn")
    wide, narrow = (draw_gains({"knn": rows, "linear": rows}, "images", form) for form in (False, True))
    assert wide.get_figheight() / wide.get_figwidth() < 380 / 1100
    assert narrow.get_figheight() / narrow.get_figwidth() < 300 / 340
    wide.draw_without_rendering()
    first, second = (axis.get_position() for axis in wide.axes)
    assert first.x1 < second.x0


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_gains__names_of_any_kind(narrow: bool, hostile: tuple[str, ...], legible: Legible) -> None:
    rows = rows_of(summary(), "knn")
    legible(draw_gains(dict.fromkeys(hostile, rows[:2]), hostile[1], narrow))


def test_draw_gains__each_students_own_unless_there_are_too_many() -> None:
    table = summary()
    marks = [
        line for line in draw_gains({"knn": rows_of(table, "knn")}, "images").axes[0].lines if line.get_marker() == "|"
    ]
    assert [list(line.get_xdata()) for line in marks] == [pytest.approx([3, 5]), pytest.approx([-2, 0])]
    table["probes"]["knn"]["peers"]["gain"] = [0.01] * (MOST_DOTS + 1)
    axis = draw_gains({"knn": rows_of(table, "knn")}, "images").axes[0]
    assert [len(line.get_xdata()) for line in axis.lines if line.get_marker() == "|"] == [2]


def test_draw_gains__an_interval_that_is_not_known_is_no_mistake(legible: Legible) -> None:
    table = summary()
    table["probes"]["knn"]["interval"] = [float("nan"), float("nan")]
    legible(draw_gains({"knn": rows_of(table, "knn")}, "images"))
    assert Interval(0.1, float("nan"), float("nan")).side is Side.NEITHER


def test_save_gains__the_papers_probe_only_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "coordinator.figures.gains.draw_gains",
        lambda probes, *rest: drawn.append(list(probes)) or draw_gains(probes, *rest),
    )
    knn = summary()["probes"]["knn"]
    for probes in ({"knn": knn, FOR_COMPARISON[0]: knn}, {FOR_COMPARISON[0]: knn}):
        assert save_gains(summary() | {"probes": probes}, tmp_path / "g.png")
    assert drawn == [["knn"], [FOR_COMPARISON[0]]]
    (tmp_path / "g.png").unlink()
    assert not save_gains(summary() | {"probes": {"knn": {"raw_pixels": 0.9}}}, tmp_path / "g.png")
    assert not (tmp_path / "g.png").exists()
