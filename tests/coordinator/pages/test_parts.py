"""Text of any direction on a page, tables, and the policy of a page."""

import ast
import base64
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from coordinator.pages.parts import Table, harmless, pictures, split_by_direction
from coordinator.pages.render import render

ROOMS = Path(__file__).parents[3] / "coordinator"
ANYTHING = st.text(st.sampled_from("ab \n\u202e\u202c\u2066\u2067\u2069\u05d0\u0627\u2029\x1b\x00<") | st.characters())


@given(ANYTHING)
def test_split_by_direction__loses_nothing_and_isolates_all_that_turns(text: str) -> None:
    parts = split_by_direction(text)
    assert "".join(part for part, _ in parts) == text and all(part for part, _ in parts)
    classes = {unicodedata.bidirectional(letter) for part, turns in parts for letter in part if not turns}
    assert not classes & {"R", "AL", "LRE", "LRO", "LRI", "RLE", "RLO", "RLI", "FSI", "PDF", "PDI"}
    assert not any(first[1] == second[1] for first, second in itertools.pairwise(parts))


def test_split_by_direction__words_from_right_to_left_stay_together() -> None:
    arabic = "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643"
    assert split_by_direction(f"by {arabic}: 3") == [("by ", False), (arabic, True), (": 3", False)]
    assert split_by_direction(f"('{arabic}', 3)") == [("('", False), (arabic, True), ("', 3)", False)]
    assert split_by_direction("linear: learned, +2.8") == [("linear: learned, +2.8", False)]
    assert split_by_direction("\u202eevil 5") == [("\u202eevil", True), (" 5", False)]
    assert split_by_direction("a=\u202ex.y, z") == [("a=\u202ex.y", True), (", z", False)]


@given(ANYTHING)
def test_harmless__nothing_ends_the_isolate_around_it(text: str) -> None:
    shown = harmless(text)
    for line in shown.split("\n"):
        depth = 0
        for letter in line:
            depth += (letter in "\u2066\u2067\u2068") - (letter == "\u2069")
            assert depth >= 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", shown)
    assert text.isprintable() is False or shown == text  # what is printable is left


def test_harmless__escapes_are_visible() -> None:
    assert harmless("a\x1b[31m\u2069\u202eb\u2067c\u2069\t\n") == "a\\x1b[31m\\u2069\u202eb\u2067c\u2069\t\n"


def test_pictures__those_that_there_are_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "a-narrow", "other"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    found = pictures(tmp_path, {"a": ("A", "of a"), "none": ("", ""), "b": ("B", "of b")})
    assert [(each.name, each.alt, each.caption) for each in found] == [("a", "A", "of a"), ("b", "B", "of b")]
    assert base64.b64decode(found[0].narrow.partition(",")[2]) == b"a-narrow" and found[1].narrow == ""


VALUES: dict[str, Any] = {
    **{name: () for name in ("verdicts", "headline", "failed", "forest", "pictures", "notes", "asked")},
    **{"attacks": [Table("", ("x",), ())], "attacked": ()},
    **{"title": "t", "reference": "", "command": "c", "config": ""},
    "estimates": Table("", ("x",), ()),
    "differences": [Table("", ("x",), ())],
}


def test_render__a_value_that_is_missing_is_an_error() -> None:
    assert "<h1>" in render("ablation.html", **VALUES)
    for name in VALUES:
        with pytest.raises(jinja2.UndefinedError, match=name):
            render("ablation.html", **{key: value for key, value in VALUES.items() if key != name})


def test_render__only_the_scripts_of_the_component_may_run(read_page: Callable[[str], Any]) -> None:
    """Their hashes are as the standard has them; a component that is no HTML of ours is shown as text."""
    values: dict[str, Any] = dict.fromkeys(
        (
            "verdicts",
            "held_classes",
            "flags",
            "first",
            "curves",
            "graph",
            "tables",
            "words",
            "asked",
            "network",
            "holders",
        ),
        (),
    )
    values |= {"title": "t", "ending": "", "config": ""}
    assert _policy(read_page(render("run.html", **values))).endswith("; script-src 'none'; base-uri 'none'")
    script, data = "let a = 1 < 2;\n", '{"a": "\\u003c"}'
    view = Markup(f'<div id="view"></div><script type="application/json">{data}</script><script>{script}</script>')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    reader = read_page(render("run.html", view, **values))
    assert f"; script-src 'sha256-{digest}';" in _policy(reader) and len(reader.of("script")) == 2
    assert "round by round" in reader.text
    told = read_page(render("run.html", str(view), **values))
    assert not told.of("script") and "<script>" in told.text


def _policy(reader: Any) -> str:
    (policy,) = (each["content"] for each in reader.of("meta") if "http-equiv" in each)
    assert isinstance(policy, str)
    return policy


def test_pages__no_html_is_written_in_python() -> None:
    """It would not be escaped. Templates write it."""
    tag = re.compile(r"</?(a|b|br|code|dd|div|dl|dt|h[1-6]|html|img|li|ol|p|pre|section|span|table|t[dhr]|ul)\b[^>]*>")
    found = [
        (path.name, node.value)
        for room in ("pages", "reports", "ablations", "run")
        for path in (ROOMS / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and tag.search(node.value)
    ]
    assert found == []
