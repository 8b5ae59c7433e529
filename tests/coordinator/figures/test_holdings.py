"""The map of who holds what: its numbers are the counts, and it stays legible."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.figures.holdings import draw_holdings
from coordinator.measures.holdings import ClassTable

pytestmark = pytest.mark.figures
Legible = Callable[[Figure], list[str]]


def table(peers: int, classes: int, public: int = 9) -> ClassTable:
    counts = np.random.default_rng(0).integers(0, 5000, (peers, classes)) * (np.arange(classes) % 3 > 0)
    return ClassTable(counts, np.full(classes, public))


def test_draw_holdings__numbers_are_the_counts_and_zeros_are_left_out(legible: Legible) -> None:
    held = table(3, 4)
    texts = legible(draw_holdings(held))
    for count in np.unique(held.private[held.private > 0]):
        assert texts.count(str(count)) >= (held.private == count).sum()
    assert {"public", "peer 0", "peer 2"} <= set(texts)
    assert "public" not in legible(draw_holdings(table(3, 4, public=0)))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize(("peers", "classes"), [(1, 2), (10, 10), (17, 5), (100, 10), (8, 100), (1000, 100)])
def test_draw_holdings__no_text_lies_on_another(peers: int, classes: int, narrow: bool, legible: Legible) -> None:
    texts = legible(draw_holdings(table(peers, classes), narrow))
    named = [text for text in texts if text.startswith("peer ")]
    assert 1 <= len(named) <= 16 and named[0] == "peer 0"
