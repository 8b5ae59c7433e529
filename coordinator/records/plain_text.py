"""Text on terminals: names and messages are printed as they are, and none of them can steer the terminal."""

import re
from typing import Any

from rich.console import Console
from rich.text import Text

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, such as those that begin colours and movements of the cursor
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"  # directions, further line ends, invisible
    "\ud800-\udfff]"  # bytes of a file's name that are not UTF-8
)


def visible(text: str) -> str:
    r"""A text in which control characters stand as escapes, such as `\x1b`; line ends and tabs are left.

    Letters of all scripts are left too; what would turn the direction of the text beside them is escaped.
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


class PlainConsole(Console):
    """A console on which every string is plain text: no markup, no codes of emojis, no control characters.

    This holds for what is printed and for the cells of tables. Styles are given by arguments, or by `rich.text.Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, "soft_wrap": True} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options | {"markup": False, "emoji": False})


def say(console: Console, text: str, style: str = "", whole: bool = False) -> None:
    """Print a text as it is, on a terminal broken between words; whole: never broken, as a command or path to copy."""
    console.print(Text(visible(text), style), soft_wrap=whole or not console.is_terminal)


def console(stderr: bool = False) -> PlainConsole:
    """A console; for a file or a pipe, which has no width, wide enough for all tables."""
    found = PlainConsole(stderr=stderr)
    return found if found.is_terminal else PlainConsole(stderr=stderr, width=160)
