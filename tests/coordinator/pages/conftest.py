"""Reading pages, and checking what holds of every page."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest

VOID = {"meta", "img", "br", "source"}


class Reader(HTMLParser):
    """Text and attributes of a page whose tags all close in order; and which text stands in a bdi."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.pieces: list[tuple[str, bool]] = []  # text, whether its direction is isolated
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        self.pieces.append((data, bool({"bdi", "title", "code"} & {*self.open})))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _read(text: str) -> Reader:
    reader = Reader(text)
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert not {"link", "iframe", "object", "base"} & {name for name, _ in reader.tags}
    assert all("src" not in attributes for attributes in reader.of("script"))
    assert reader.of("html") == [{"lang": "en"}] and len(reader.of("h1")) == 1
    (policy,) = (each["content"] for each in reader.of("meta") if "http-equiv" in each)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; ")
    for _, attributes in reader.tags:
        assert "href" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "srcset"):
            assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png;base64,")
    assert all(image["alt"] for image in reader.of("img"))
    assert len(reader.of("caption")) == len(reader.of("table"))
    return reader


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Reader]:
    """Reads a page's HTML, and checks what holds of every page: it fetches nothing, and all of it closes."""
    return _read
