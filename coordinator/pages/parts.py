"""What pages are made of: tables, pictures, and sentences with names in them. The templates say how they look."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Texts = Mapping[str, tuple[str, str]]  # by figure: (alt text, caption)


@dataclass(frozen=True)
class Table:
    """A table whose first column holds the rows' names. Line breaks in cells are kept.

    names: those of the columns. words: the columns whose cells are words, which wrap; numbers do not.
    """

    caption: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as data URIs; `narrow` is for narrow screens, empty if there is no such version."""

    name: str
    alt: str
    caption: str
    wide: str
    narrow: str


def pictures(folder: Path, texts: Texts) -> list[Picture]:
    """The figures of `texts` whose files exist in `folder`, in the order of `texts`."""
    return [
        Picture(name, alt, caption, _data(folder / f"{name}.png"), _data(folder / f"{name}-narrow.png"))
        for name, (alt, caption) in texts.items()
        if (folder / f"{name}.png").is_file()
    ]


def split_by_names(text: str, names: Iterable[str]) -> list[tuple[str, bool]]:
    """The text in parts: (part, whether it is one of the names), so that a page can isolate the names' direction.

    Names in ASCII are left where they are, since they cannot turn the direction of the text around them.
    """
    foreign = sorted({name for name in names if not name.isascii()}, key=len, reverse=True)
    if not foreign:
        return [(text, False)]
    parts = re.split(f"({'|'.join(map(re.escape, foreign))})", text)
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def _data(path: Path) -> str:
    """A PNG as a data URI; empty if there is no such file."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.is_file() else ""
