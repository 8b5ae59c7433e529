"""Accuracy on own and others' classes over the rounds: a line each, with the level of calibrated peers."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.figures.class_curves import draw_class_curves
from coordinator.records.files.probe_curves import ProbeCurve

pytestmark = pytest.mark.figures
ROUNDS = np.array([10, 20, 30])


def curve(*means: float) -> ProbeCurve:
    return ProbeCurve(ROUNDS, np.array(means), np.array(means) - 0.1, np.array(means) + 0.1)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("probes", [("knn",), ("knn", "linear", "sgd", "top1")])
def test_draw_class_curves__a_line_for_each_scope(
    probes: tuple[str, ...], narrow: bool, legible: Callable[[Figure], list[str]]
) -> None:
    curves = {probe: {"own": curve(0.5, 0.7, 0.8), "others": curve(0.4, 0.3, 0.2)} for probe in probes}
    levels = {"knn": {"own": {"calibrated": 0.45}, "others": {"calibrated": 0.35}}}
    figure = draw_class_curves(curves, levels, narrow)
    assert figure is not None and len(figure.axes) == len(probes)
    texts = legible(figure)
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1
    assert {"own classes", "others' classes", "own classes, calibrated"} <= set(texts)
    own, level, others, other_level = figure.axes[0].get_lines()
    assert own.get_ydata() == pytest.approx([50, 70, 80]) and others.get_ydata() == pytest.approx([40, 30, 20])
    assert level.get_ydata() == pytest.approx([45, 45]) and other_level.get_ydata() == pytest.approx([35, 35])
    assert own.get_xdata().tolist() == [10, 20, 30]


def test_draw_class_curves__none_where_nothing_is_known() -> None:
    assert draw_class_curves({}, {}) is None
