"""What pages are made of: tables, pictures, and text of any direction. The templates say how they look."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Texts = Mapping[str, tuple[str, str]]  # by figure: (alt text, caption)

_ISOLATES = "\u2066\u2067\u2068"
# the blocks of letters from right to left, and the marks that change the direction of what follows
_TURNING = "\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff"
_TURNING += "\U00010800-\U00010fff\U0001e800-\U0001efff"
_INSIDE = r"[^\s'\",;:.()]"  # what a name may begin and end with
_WORD = rf"(?:{_INSIDE}\S*?)?[{_TURNING}](?:\S*{_INSIDE})?"
_TURNED = re.compile(rf"{_WORD}(?:\s+{_WORD})*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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


def split_by_direction(text: str) -> list[tuple[str, bool]]:
    """The text in parts: (part, whether its direction is to be isolated from that of the text around it).

    Words from right to left, and such as would change the direction, are a part of their own, with the spaces between
    but without the quotes and the punctuation around them.
    """
    parts, end = [], 0
    for found in _TURNED.finditer(text):
        parts += [(text[end : found.start()], False), (found[0], True)]
        end = found.end()
    return [(part, turns) for part, turns in [*parts, (text[end:], False)] if part]


def harmless(text: str) -> str:
    r"""The text with escapes, such as `\x1b`, for what no element can isolate: control characters and some others.

    These are separators of paragraphs, and ends of isolates (U+2069) that the text itself has not begun: a browser
    takes them for the end of the element around the text. Line ends and tabs are left, and so are letters of all
    scripts and overrides of their direction. Source: Unicode Standard Annex 9, rules X5a to X6a and P1.
    """
    text, depth, end = _CONTROL.sub(lambda found: _escape(found[0]), text), 0, "\u2069"
    if end not in text:
        return text
    shown = []
    for letter in text:
        depth += letter in _ISOLATES
        shown.append(_escape(letter) if letter == end and not depth else letter)
        depth -= letter == end and depth > 0
        depth *= letter != "\n"
    return "".join(shown)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()


def _data(path: Path) -> str:
    """A PNG as a data URI; empty if there is no such file."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.is_file() else ""
