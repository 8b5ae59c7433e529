"""Names are drawn as they are written, in the room that they have; colours are told apart."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from coordinator.figures import style
from coordinator.figures.style import plain
from coordinator.measures import declared
from coordinator.measures.gains import Condition

pytestmark = pytest.mark.figures


@pytest.mark.parametrize(("width", "lines"), [(0, 1), (23, 3), (26, 2)])
def test_plain__fits_and_has_neither_mathematics_nor_control_characters(
    width: int, lines: int, hostile: tuple[str, ...]
) -> None:
    for name in hostile:
        text = plain(name, width, lines)
        assert not is_math_text(text) and text.replace(r"\$", "").count("$") == 0
        assert all(unicodedata.category(each)[0] != "C" for each in text if each != "\n")
        if width:
            assert text.count("\n") < lines
            assert max(len(line.replace(r"\$", "$")) for line in text.split("\n")) <= width


def test_plain__short_names_are_unchanged_and_long_ones_keep_both_ends() -> None:
    assert plain("ring, count=4", 20) == "ring, count=4" and plain("a  b\nc") == "a b c"
    first, second = (plain(f"{'x' * 80}{end}", 20) for end in "12")
    assert first != second and "…" in first.replace("\n", "")


def test_plain__a_dollar_is_drawn_as_one(legible: Callable[[Figure], list[str]]) -> None:
    figure = style.figure_of(2.0, 1.0)
    figure.suptitle(plain("$x_1$"))
    assert legible(figure) == [r"\$x_1\$"]  # matplotlib's own way to write it


def test_write__a_character_that_the_font_has_not_is_no_warning(tmp_path: Path) -> None:
    figure = style.figure_of(2.0, 1.0)
    figure.suptitle("名前")
    style.write(figure, tmp_path / "f.png", 50)  # warnings are errors in tests
    assert (tmp_path / "f.png").is_file()


def test_colours__every_condition_has_its_own() -> None:
    assert set(style.COLOURS) == set(Condition)
    assert len(set(style.COLOURS.values())) == len(Condition)


def test_palette__is_told_apart_without_colour_vision() -> None:
    """By Viénot, Brettel and Mollon (1999) a dichromat sees two of the cone classes; no two colours become alike."""
    to_lms = ((17.8824, 43.5161, 4.11935), (3.45565, 27.1554, 3.86714), (0.0299566, 0.184309, 1.46709))
    seen = []
    for colour in style.PALETTE:
        linear = [each**2.2 for each in to_rgb(colour)]
        long, medium, short = (sum(a * b for a, b in zip(row, linear, strict=True)) for row in to_lms)
        seen.append({"protan": (medium, short), "deutan": (long, short)})
    for kind in ("protan", "deutan"):
        for index, first in enumerate(seen):
            for other in seen[:index]:
                apart = max(abs(a - b) / max(a, b, 1e-9) for a, b in zip(first[kind], other[kind], strict=True))
                assert apart > 0.15


def test_shown__unit_and_factor() -> None:
    found = {measure.name: style.shown(measure) for measure in declared.SCALARS}
    assert found["agreement"] == ("same largest output (%)", 100.0)
    assert found["relative_distance"] == ("relative distance (0 to 1)", 1.0)
    assert found["mean_entropy"] == ("mean entropy (nats)", 1.0)
