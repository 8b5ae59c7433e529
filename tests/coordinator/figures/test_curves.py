"""Curves of a run: the rows that were recorded, in units, beside the levels of the controls."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.figures.curves import draw_consensus, save_consensus
from coordinator.records.files.probe_curves import ProbeCurve

pytestmark = pytest.mark.figures
Legible = Callable[[Figure], list[str]]
PROBES = {"knn": {"raw_pixels": 0.9, "untrained": 0.5, "calibrated": 0.6, "trained": 0.8, "alone": 0.7}}
ROWS: list[dict[str, Any]] = [
    {"round": 0, "relative_distance": 1.0, "agreement": 0.25, "loss": None},
    {"round": 5, "relative_distance": None, "agreement": None, "loss": 0.5},
    {"round": 10, "relative_distance": 0.5, "agreement": 0.75, "loss": 0.25},
]
CURVE = ProbeCurve(np.array([5, 10]), np.array([0.5, 0.8]), np.array([0.4, 0.7]), np.array([0.6, 0.9]))


def drawn(*arguments: Any, **options: Any) -> Figure:
    figure = draw_consensus(*arguments, **options)
    assert figure is not None
    return figure


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_consensus__rows_in_units(narrow: bool, legible: Legible) -> None:
    figure = drawn(ROWS, PROBES, narrow=narrow)
    loss, distance, agreement = figure.axes
    assert np.array_equal(loss.lines[0].get_xydata(), [[5, 0.5], [10, 0.25]])
    assert np.array_equal(distance.lines[0].get_xydata(), [[0, 1.0], [10, 0.5]])
    assert np.array_equal(agreement.lines[0].get_xydata(), [[0, 25.0], [10, 75.0]])
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "disagreement", "agreement"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"round"}
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "loss, mean over students",
        "relative distance (0 to 1)",
        "same largest output (%)",
    ]
    legible(figure)


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_consensus__curves_of_probes_with_the_controls_as_levels(narrow: bool, legible: Legible) -> None:
    figure = drawn(ROWS, PROBES, {"knn": CURVE, "linear": CURVE}, narrow=narrow)
    *_, knn, linear = figure.axes
    assert (knn.get_title(loc="left"), linear.get_title(loc="left")) == ("kNN probe", "linear probe")
    assert knn.get_ylabel() == "accuracy (%)"
    mean, *levels = knn.lines
    assert np.allclose(mean.get_xydata(), [[5, 50], [10, 80]])
    assert [(line.get_label(), line.get_ydata()[0]) for line in levels] == [("calibrated", 60.0), ("alone", 70.0)]
    assert len({line.get_color() for line in knn.lines}) == 3 and all(line.is_dashed() for line in levels)
    corners = {tuple(corner) for corner in knn.collections[0].get_paths()[0].vertices.tolist()}  # type: ignore[union-attr]
    assert corners == {(5, 40), (5, 60), (10, 70), (10, 90)}
    assert len(linear.lines) == 1  # a probe without controls, as of a run that was interrupted
    texts = legible(figure)
    assert [texts.count(name) for name in ("calibrated", "alone", "mean of the students")] == [1, 1, 1]


def test_draw_consensus__narrow_is_one_column() -> None:
    figure = drawn(ROWS, PROBES, {"knn": CURVE}, narrow=True)
    figure.draw_without_rendering()
    boxes = [axis.get_position() for axis in figure.axes]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))


def test_draw_consensus__a_measure_is_never_drawn_beyond_what_it_can_be() -> None:
    rows = [{"round": t, "relative_distance": 1.0, "agreement": 1.0} for t in (0, 1)]
    distance, agreement = drawn(rows, {}).axes
    assert distance.get_ylim() == pytest.approx((0, 1.02)) and agreement.get_ylim() == pytest.approx((0, 102))


def test_draw_consensus__a_level_line_is_not_on_the_edge() -> None:
    rows = [{"round": t, "loss": 0.25, "relative_distance": 0.9, "agreement": 0.03} for t in (1, 2)]
    for axis, value in zip(drawn(rows, {}).axes, (0.25, 0.9, 3.0), strict=True):
        bottom, top = axis.get_ylim()
        assert bottom == 0 and 1.04 * value < top < 1.1 * value


@pytest.mark.parametrize("rounds", [2, 5, 12, 120, 10_000])
def test_draw_consensus__ticks_are_whole_rounds(rounds: int) -> None:
    (axis,) = drawn([{"round": t, "loss": 1 / t} for t in (1, rounds // 2 + 1, rounds)], {}).axes
    ticks = axis.get_xticks()
    assert len(ticks) >= 2 and np.array_equal(ticks, np.round(ticks))


def test_draw_consensus__a_loss_over_decades_has_a_logarithmic_scale() -> None:
    rows = [{"round": t, "loss": loss} for t, loss in ((1, 10.0), (2, 0.1))]
    (axis,) = drawn(rows, {}).axes
    assert axis.get_yscale() == "log" and "log" in axis.get_ylabel()


def test_draw_consensus__values_that_are_not_finite_are_left_out() -> None:
    rows = [{"round": t, "loss": loss} for t, loss in ((1, 1.0), (2, float("nan")), (3, 0.5))]
    assert np.array_equal(drawn(rows, {}).axes[0].lines[0].get_xdata(), [1, 3])


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_consensus__names_of_any_kind(narrow: bool, hostile: tuple[str, ...], legible: Legible) -> None:
    legible(drawn(ROWS, dict.fromkeys(hostile, PROBES["knn"]), dict.fromkeys(hostile, CURVE), narrow=narrow))


def test_save_consensus__no_file_without_rows(tmp_path: Path) -> None:
    assert not save_consensus([{"round": 0, "bytes": 3}], PROBES, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()
    assert save_consensus(ROWS, PROBES, tmp_path / "c.png") and (tmp_path / "c.png").is_file()
