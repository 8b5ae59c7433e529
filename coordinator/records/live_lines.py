"""The lines that are redrawn on a terminal while rounds go on: one for each training, and the latest measures."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.records.stage_clock import duration

LEAST_BAR = 8  # columns; a narrower bar is left out
REDRAWN = 8  # times a second
MEASURED = 70  # columns for the loss and the measures beside a bar


@dataclass
class Track:
    """The progress of a training. before: rounds done before this process. start, last, shown: times in seconds.

    They are the times of its start, of its last round, and of the last line that was printed where nothing is redrawn.
    first: when the first step was done, where that waits for processes to start, so that it does not tell the pace.
    """

    title: str
    total: int
    before: int
    start: float
    shown: float
    completed: int = 0
    last: float = 0.0
    first: float | None = None

    @property
    def rate(self) -> float:
        """Rounds a second in this process."""
        steps, since = self.completed - self.before, self.start
        if self.first is not None and steps > 1:
            steps, since = steps - 1, self.first
        return steps / max(self.last - since, 1e-9)

    @property
    def left(self) -> str:
        """The time that is left, in whole seconds."""
        if self.first is not None and self.completed - self.before < 2:
            return "time left not known yet"
        seconds = (self.total - self.completed) / self.rate
        return f"{duration(round(seconds)) if seconds >= 60 else f'{seconds:.0f} s'} left"

    @property
    def count(self) -> str:
        return f"{self.completed}/{self.total}"

    @property
    def pace(self) -> str:
        """Rounds a second and the time that is left, or that it took."""
        done = self.completed >= self.total
        return f"{self.rate:.1f}/s, {f'in {duration(self.last - self.start)}' if done else self.left}"


class LiveLines:
    """Redraws the tracks of a stage, the run's own first; beneath it, or beside it where there is room, `measured`."""

    def __init__(self, console: Console) -> None:
        self.own: Track | None = None
        self.controls: list[Track] = []
        self.measured = ""
        self._console = console
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=REDRAWN)
        self._live.start(refresh=False)

    def close(self) -> None:
        """Draw the lines for the last time; they stay."""
        self._live.stop()

    def render(self) -> RenderableType:
        return Group(*self._parts(self._console.width))

    def _parts(self, width: int) -> Iterator[RenderableType]:
        tracks = [*([self.own] if self.own else []), *self.controls]
        widths = tuple(
            max((cell_len(getattr(track, name)) for track in tracks), default=0) for name in ("title", "count", "pace")
        )
        longest = max(MEASURED, len(self.measured))  # of what grows while the rounds go on: the lines stay in place
        beside = bool(self.own) and sum(widths) + longest + 4 + LEAST_BAR <= width
        measured = [Text(self.measured, "dim")] if self.measured else []
        if sum(widths) + 2 > width:
            lines: list[RenderableType] = [Text(f"{each.title} {each.count}: {each.pace}") for each in tracks]
            yield from [*lines[: bool(self.own)], *measured, *lines[bool(self.own) :]]
            return
        if self.own:
            yield self._grid([self.own], widths, width, self.measured.ljust(longest) if beside else "")
        yield from [] if beside else measured
        yield self._grid(self.controls, widths, width, " " * longest if beside else "")

    def _grid(self, tracks: list[Track], widths: tuple[int, ...], width: int, measured: str) -> Table:
        title, count, pace = widths
        with_bar = sum(widths) + 4 + len(measured) + LEAST_BAR <= width
        table = Table.grid(padding=(0, 1), expand=with_bar)
        table.add_column(min_width=title, no_wrap=True)
        if with_bar:
            table.add_column(ratio=1)
        table.add_column(min_width=count, no_wrap=True, justify="right")
        table.add_column(min_width=pace, no_wrap=True)
        if measured:
            table.add_column(min_width=len(measured), no_wrap=True, style="dim")
        for track in tracks:
            bar = (
                [ProgressBar(track.total, track.completed, complete_style="cyan", finished_style="green")]
                if with_bar
                else []
            )
            table.add_row(track.title, *bar, track.count, track.pace, *([Text(measured)] if measured else []))
        return table
