from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from coordinator.figures.pooling import draw_pooling, save_pooling

ROWS: list[dict[str, Any]] = [
    {"round": at, "honest_dropped": 0.1, "lies_dropped": min(at / 30, 1.0), "lie_auc": min(0.5 + at / 60, 1.0)}
    for at in range(1, 41)
]


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_pooling__two_panels_with_what_is_known(narrow: bool, legible: Callable[[Figure], list[str]]) -> None:
    figure = draw_pooling(ROWS, narrow)
    assert figure is not None
    texts = legible(figure)
    assert {"lies", "honest messages", "0.9: a filter can tell", "mean of it and the next 9"} <= set(texts)
    told, dropped = figure.axes
    means = next(line for line in told.lines if line.get_label() == "mean of it and the next 9")
    assert (len(means.get_xdata()), means.get_ydata()[0]) == (31, pytest.approx(0.5 + 5.5 / 60))
    assert [line.get_ydata()[-1] for line in dropped.lines] == pytest.approx([10, 100])


def test_draw_pooling__without_liars_only_what_was_dropped(tmp_path: Path) -> None:
    rows = [{**row, "lies_dropped": None, "lie_auc": None} for row in ROWS]
    figure = draw_pooling(rows)
    assert figure is not None and [axis.get_title(loc="left") for axis in figure.axes] == [
        "messages that the pool dropped"
    ]
    assert not save_pooling([{"round": 1, "loss": 0.1}], tmp_path / "pooling.png") and not list(tmp_path.iterdir())
