"""The component as text: data that cannot end their element, a script that fetches and evaluates nothing."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.pages import component
from tests.coordinator.pages import documents

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
NASTY = st.sampled_from(
    ["</script>", "<!--", "<script>", "]]>", "\u2028", "\u2029", "&lt;", "\\u003c", "{{ 7*7 }}", "\x00"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | NASTY, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=6) | NASTY, VALUES, max_size=5)


class Elements(HTMLParser):
    """Elements of a page as a browser finds them: (tag, attributes, text) of scripts and styles, tags of the others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)


@given(DOCUMENTS)
def test_escaped_json__gives_the_document_back_and_ends_no_element(document: dict[str, object]) -> None:
    text = component.escaped_json(document)
    assert not set(text) & set("<>&\u2028\u2029")
    back = json.loads(text)
    assert json.dumps(back) == json.dumps(document)  # as text: -0.0 and 0 are told apart


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_escaped_json__numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        component.escaped_json({"value": value})


def test_inlined__holds_the_data_once_and_the_script_as_it_is() -> None:
    document = documents.hostile()
    found = Elements(str(component.inlined(document)))
    assert [attributes.get("type") for attributes, _ in found.scripts] == ["application/json", None]
    (data, text), (_, script) = found.scripts
    assert data["id"] == "view-data"
    assert json.loads(text) == document
    assert script.strip() == component.script().strip()
    assert [tag for tag, _ in found.tags] == ["style", "section", "noscript", "script", "script"]
    attributes = dict(found.tags)["section"]
    assert attributes == {"id": "view", "class": "peer-view", "data-source": "#view-data"}


def test_page__names_its_data_and_nothing_from_elsewhere() -> None:
    text = component.page(documents.HOSTILE, "/data/main", "/events/main")
    found = Elements(text)
    assert dict(found.tags)["main"] == {
        "id": "view",
        "class": "peer-view",
        "data-source": "/data/main",
        "data-events": "/events/main",
    }
    assert found.scripts == [({"src": "/static/view.js", "defer": None}, "")]
    assert "alert" not in {tag for tag, _ in found.tags}
    names = {name for _, attributes in found.tags for name in attributes}
    assert not [name for name in names if name == "style" or name.startswith("on")]  # its policy forbids them


def test_script__neither_makes_markup_nor_evaluates_nor_fetches_from_elsewhere() -> None:
    for text in (component.script(), component.style()):
        assert not re.search(r"https?://|//[a-z]+\.|</(script|style)|<!--|@import|url\(", text, re.IGNORECASE)
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|\bimport\b|\bexport\b"
    )
    assert re.findall(forbidden, component.script()) == []


def test_script__is_one_strict_function_of_all_files_in_order() -> None:
    script = component.script()
    assert script.startswith('(() => {\n"use strict";\n')
    assert script.endswith("})();\n")
    folder = files("coordinator.pages") / "static"
    assert {path.name for path in folder.iterdir() if path.name.endswith(".js")} == set(component.SCRIPTS)
    places = [script.index((folder / name).read_text(encoding="utf-8")) for name in component.SCRIPTS]
    assert places == sorted(places)


def test_script__files_and_functions_are_short() -> None:
    """As those in Python are: 300 lines a file, 40 a function (one that starts a line; methods are indented by two)."""
    folder = files("coordinator.pages") / "static"
    for name in component.SCRIPTS:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, name
        assert max(map(len, lines)) <= 120, name
        for start, line in enumerate(lines):
            if re.match(r"(  )?(async )?(function )?[a-zA-Z]+\(.*\) \{$", line):
                indent = len(line) - len(line.lstrip())
                end = next(at for at in range(start, len(lines)) if lines[at] == " " * indent + "}")
                assert end - start + 1 <= 40, f"{name}: {line}"


def test_style__is_all_under_the_component() -> None:
    """A report has a style of its own, which the component must not touch."""
    text = re.sub(r"/\*.*?\*/", "", component.style(), flags=re.DOTALL)
    selectors = [each.strip() for each in re.findall(r"([^{}]+)\{", text)]
    for selector in selectors:
        if not selector.startswith("@media"):
            assert all(".peer-view" in part for part in selector.split(",")), selector
