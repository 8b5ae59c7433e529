"""Tables for terminals of any width."""

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RichCast
from rich.segment import Segment
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from coordinator.records.plain_text import say, visible

FOLDED = 12  # minimum width of a column that may wrap; longer words in it are broken
NAMES = 0.5  # of the terminal's width: the most that the names of columns take where rows are stacked


class CompactTable(Table):
    """A table if the terminal is wide enough, else a list of its cells, so that nothing is cut off.

    Cells that are strings are plain text: no markup, and control characters as escapes.
    """

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        plain = (Text(visible(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[ConsoleRenderable | RichCast | str | Segment]:
        columns = [[str(cell) for cell in (column.header, *column.cells)] for column in self.columns]
        widths = [
            max(map(cell_len, cells)) if column.no_wrap else min(FOLDED, max(map(cell_len, " ".join(cells).split())))
            for column, cells in zip(self.columns, columns, strict=True)
        ]
        if sum(widths) + len(widths) - 1 <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._stacked(console, options.max_width)

    def _stacked(self, console: Console, width: int) -> Iterator[Text]:
        """A line for each cell that is not empty, after the name of its column; longer ones go on beneath.

        A row of which only the first cell is filled is a heading, and stands alone.
        """
        names = [str(column.header) for column in self.columns]
        longest = max(map(cell_len, names))
        beside = longest + 2 if longest <= NAMES * width else 2
        for row in zip(*(column.cells for column in self.columns), strict=True):
            texts = [cell if isinstance(cell, Text) else Text(str(cell)) for cell in row]
            if len(texts) > 1 and not any(text.plain for text in texts[1:]):
                yield from texts[0].wrap(console, width, overflow="fold")
                yield Text("")
                continue
            for name, text in zip(names, texts, strict=True):
                text = Text(text.plain.strip(), text.style)
                if not text.plain:
                    continue
                lines = text.wrap(console, max(1, width - beside), overflow="fold")
                if beside == 2:
                    yield Text(name)
                for number, line in enumerate(lines):
                    line.rstrip()
                    yield Text((name if beside > 2 and not number else "").ljust(beside)).append_text(line)
            yield Text("")


def compact_table(*columns: str, wrapped: str | tuple[str, ...]) -> Table:
    """An empty table in which only the columns `wrapped` may break their cells into several lines."""
    table = CompactTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    broken = (wrapped,) if isinstance(wrapped, str) else wrapped
    for name in columns:
        table.add_column(name, no_wrap=name not in broken, overflow="fold" if name in broken else "ellipsis")
    return table


def say_labelled(console: Console, label: str, text: str, indent: int = 10) -> None:
    """Print a text after its label; on a terminal broken between words, and further lines beneath the first."""
    if not console.is_terminal:
        say(console, f"{label:<{indent}}{text}")
        return
    for number, line in enumerate(Text(visible(text)).wrap(console, max(1, console.width - indent), overflow="fold")):
        line.rstrip()
        console.print(Text(("" if number else label).ljust(indent)).append_text(line))
