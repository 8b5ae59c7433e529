"""Text on terminals: names and messages are printed as they are, and none of them can steer the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from coordinator.experiment.redaction import visible as visible


class PlainConsole(Console):
    """A console on which every string is plain text: no markup, no codes of emojis, no control characters.

    This holds for what is printed and for the cells of tables. Styles are given by arguments, or by `rich.text.Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options | {"markup": False, "emoji": False})


def say(console: Console, text: str, style: str = "", whole: bool = False) -> None:
    """Print a text as it is, on a terminal broken between words; whole: never broken, as a command or path to copy."""
    console.print(Text(visible(text), style), soft_wrap=whole or not console.is_terminal)


def console(stderr: bool = False) -> PlainConsole:
    """A console; for a file or a pipe, which has no width, wide enough for all tables, and no text is broken."""
    found = PlainConsole(stderr=stderr)
    return found if found.is_terminal else PlainConsole(stderr=stderr, width=160, soft_wrap=True)
