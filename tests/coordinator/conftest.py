"""Names that figures, tables and pages must show as they are, and figures in which all can be read."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from coordinator.figures.style import write

HOSTILE = (
    "<script>alert(1)</script>",
    "$x_1$ and $\\frac{1}{2}$ and one $",
    "two\nlines\tand\x07bells",
    "\u202eright to left\u202c שלום مرحبا",
    "quo\"te's & ampersand, \\back",
    "x" * 100,
    "a name of a hundred characters with many words in it that go on and on until there is no end to be seen",
    "名前",
)


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Names that a figure must draw as they are, or shortened."""
    return HOSTILE


@pytest.fixture
def legible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Figure], list[str]]:
    """Draw a figure and check that no text or legend leaves the canvas, or lies on another text; gives the texts."""
    drawn: dict[Any, tuple[str, Bbox, Bbox]] = {}  # by artist: where it was last drawn

    def recorded(artist: type[Any], name_of: Callable[[Any], str]) -> None:
        draw = artist.draw

        def recording(self: Any, renderer: Any) -> None:
            draw(self, renderer)
            if self.get_visible() and name_of(self).strip():
                whole = self.get_figure(root=True).bbox.frozen()
                drawn[self] = (name_of(self), self.get_window_extent(renderer).frozen(), whole)

        monkeypatch.setattr(artist, "draw", recording)

    recorded(Text, lambda text: text.get_text())
    recorded(Legend, lambda legend: "legend")

    def check(figure: Figure) -> list[str]:
        drawn.clear()
        write(figure, tmp_path / "drawn.png", 80)
        outside = [
            (text, box.extents.round(), whole.extents)
            for text, box, whole in drawn.values()
            if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.x1 + 1 or box.y1 > whole.y1 + 1
        ]
        assert outside == []
        texts = [(text, box) for text, box, _ in drawn.values() if text != "legend"]
        covered = []
        for (text, box), (other, another) in itertools.combinations(texts, 2):
            both = Bbox.intersection(box, another)
            smaller = min(box.width * box.height, another.width * another.height)
            if both is not None and both.width * both.height > 0.15 * smaller:
                covered.append((text, other))
        assert covered == []
        assert not [text for text, _ in texts if is_math_text(text)]
        return [text for text, _ in texts]

    return check
