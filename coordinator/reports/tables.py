"""Tables for terminals of any width."""

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RichCast
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

FOLDED = 12  # minimum width of a column that may wrap; longer words in it are broken


class CompactTable(Table):
    """A table if the terminal is wide enough, else a list of its cells, so that nothing is cut off."""

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
            return
        names = [str(column.header) for column in self.columns]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            for name, cell in zip(names, row, strict=True):
                if cell:
                    yield Text.from_markup(f"{name:<{max(map(cell_len, names))}}  {cell}")
            yield Text("")


def compact_table(*columns: str, wrapped: str | tuple[str, ...]) -> Table:
    """An empty table in which only the columns `wrapped` may break their cells into several lines."""
    table = CompactTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    broken = (wrapped,) if isinstance(wrapped, str) else wrapped
    for name in columns:
        table.add_column(name, no_wrap=name not in broken, overflow="fold" if name in broken else "ellipsis")
    return table
