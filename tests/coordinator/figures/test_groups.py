"""Gains of groups and by distance: the values that are drawn are those of the summary and the table of peers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.figures.groups import draw_distances, save_distances, save_groups

pytestmark = pytest.mark.figures
Legible = Callable[[Figure], list[str]]


def probe(gain: float) -> dict[str, Any]:
    over = {"mean": gain / 2, "low": gain / 2 - 0.01, "high": gain / 2 + 0.01}
    return {
        "calibrated": 0.5,
        "trained": 0.5 + gain,
        "gain": gain,
        "interval": [gain - 0.02, gain + 0.02],
        "over_alone": over,
    }


def of(gain: float, *students: int) -> dict[str, Any]:
    return {"students": list(students), "probes": {"knn": probe(gain), "sgd": probe(0.9)}}


SUMMARY: dict[str, Any] = {
    "groups": {
        "good sensors": {"peers": [0], **of(0.01, 0), "hops": {"1": of(0.01, 0)}},
        "poor": {"peers": [1, 2, 3], **of(0.03, 1, 2, 3), "hops": {"1": of(0.05, 1, 2), "2": of(0.02, 3)}},
    },
    "probes": {},
}
ROWS = [
    {"round": completed, "peer": peer, "loss": 1.0, "knn_accuracy": 0.5 + 0.001 * completed + 0.01 * peer}
    for completed in (10, 20)
    for peer in range(4)
]


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_distances__end_and_rounds(narrow: bool, legible: Legible) -> None:
    figure = draw_distances(SUMMARY, ROWS, narrow)
    assert figure is not None and legible(figure)
    end, rounds = figure.axes  # of one group, as the other has one distance only, and of one probe
    assert end.get_title(loc="left") == "kNN probe: poor"
    lines = {line.get_label(): line for line in end.get_lines()}
    assert np.allclose(lines["over calibrated"].get_ydata(), [5.0, 2.0])
    assert np.allclose(lines["over alone"].get_ydata(), [2.5, 1.0])
    drawn = {line.get_label(): line for line in rounds.get_lines()}
    assert np.allclose(drawn["round 10"].get_xydata(), [[1, 2.5], [2, 4.0]])  # peers 1 and 2; 3
    assert np.allclose(drawn["round 20"].get_xydata(), [[1, 3.5], [2, 5.0]])


def test_draw_distances__without_probes_over_the_rounds(legible: Legible) -> None:
    figure = draw_distances(SUMMARY, ROWS[4:])
    assert figure is not None and len(figure.axes) == 1 and legible(figure)


def test_save__nothing_without_groups_or_distances(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    alike = {"groups": {"poor": {**SUMMARY["groups"]["poor"], "hops": {"1": of(0.1, 1)}}}, "probes": {}}
    assert not save_distances(alike, ROWS, path) and not save_groups({"groups": {}}, path) and not path.exists()
    assert save_groups(alike, path) and path.exists()
