"""Names and messages on terminals: printed as they are, and unable to steer them."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from coordinator.records.plain_text import PlainConsole, console, say, visible
from coordinator.reports.tables import compact_table, say_labelled

HARMLESS = [
    "[bold]x[/bold]",
    "<script>alert('1')</script>",
    ":smile:",
    "שלום",
    "مرحبا",
    "naïve",
    "日本",
    "\\[red]",
    "a\\",
]
STEERING = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "bell\x07, back\x08, return\r": r"bell\x07, back\x08, return\r",
    "\x9b31m": r"\x9b31m",
    "\u202eevil.txt": r"\u202eevil.txt",
    "a\u2028b": r"a\u2028b",
    "caf\udce9": r"caf\udce9",
}


@pytest.mark.parametrize("name", [*HARMLESS, "two\nlines", "a\ttab"])
def test_visible__leaves_what_cannot_steer(name: str) -> None:
    assert visible(name) == name


@pytest.mark.parametrize(("name", "shown"), STEERING.items())
def test_visible__escapes_what_would_steer(name: str, shown: str) -> None:
    assert visible(name) == shown and visible(shown) == shown


def recording(kind: Any, width: int = 120, terminal: bool = True) -> tuple[Any, io.StringIO]:
    text = io.StringIO()
    return kind(file=text, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None), text


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", [*HARMLESS, *STEERING])
def test_plain_console__every_way_to_print_shows_the_name(name: str, terminal: bool) -> None:
    """As a line, as the cell of a table, in a frame, after a label: each time as it is, and nothing but it."""
    shown = STEERING.get(name, name)
    ways: dict[str, Any] = {
        "line": lambda plain: plain.print(name),
        "say": lambda plain: say(plain, name),
        "frame": lambda plain: plain.print(Panel(name, expand=False)),
        "label": lambda plain: say_labelled(plain, "name", name),
    }
    for way, write in ways.items():
        plain, text = recording(PlainConsole, terminal=terminal)
        write(plain)
        assert shown in text.getvalue() and "\x1b" not in text.getvalue(), way


@pytest.mark.parametrize("kind", [PlainConsole, Console])
@pytest.mark.parametrize("width", [20, 120])
@pytest.mark.parametrize("name", [*HARMLESS, *STEERING])
def test_compact_table__cells_are_plain_text(name: str, width: int, kind: Any) -> None:
    """Whichever console prints them, and also where the rows are stacked."""
    table = compact_table("name", "a column that", "is too wide", wrapped="name")
    table.add_row(name, "1", Text("2", "bold"))
    plain, text = recording(kind, width, terminal=False)
    plain.print(table)
    printed = text.getvalue().replace("\n", "").replace(" ", "")
    assert STEERING.get(name, name).replace(" ", "") in printed and "\x1b" not in printed


def test_say__breaks_between_words_on_a_terminal_only() -> None:
    words = "several words that do not fit a line of twenty"
    for terminal, lines in ((False, 1), (True, 3)):
        plain, text = recording(PlainConsole, 20, terminal)
        say(plain, words)
        found = text.getvalue().splitlines()
        assert len(found) == lines and " ".join(line.strip() for line in found) == words
    plain, text = recording(PlainConsole, 20)
    say(plain, words, whole=True)
    assert text.getvalue() == words + "\n"


def test_say_labelled__further_lines_stand_beneath_the_first() -> None:
    plain, text = recording(PlainConsole, 20)
    say_labelled(plain, "time", "several words that do not fit", 6)
    assert text.getvalue().splitlines() == ["time  several words", "      that do not", "      fit"]


def test_console__no_colours_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves bold and dim; a dumb terminal and a pipe get no codes at all."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def printed(**environment: str) -> str:
        text = io.StringIO()
        terminal = environment.pop("terminal", "yes") == "yes"
        plain = PlainConsole(file=text, force_terminal=terminal, _environ={"COLUMNS": "80", **environment})
        say(plain, "a verdict", "bold red")
        return text.getvalue()

    assert printed(TERM="xterm-256color") == "\x1b[1;31ma verdict\x1b[0m\n"
    assert printed(TERM="xterm-256color", NO_COLOR="1") == "\x1b[1ma verdict\x1b[0m\n"
    assert printed(TERM="dumb") == printed(TERM="xterm", terminal="no") == "a verdict\n"
    assert console().width == 160 and not console().is_terminal  # pytest captures what is printed
