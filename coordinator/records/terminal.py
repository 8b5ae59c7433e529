"""What a run shows while it goes on: a live bar on a terminal, plain lines elsewhere."""

import time
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from coordinator.measures.declared import Shown, shown_in

IN_PROGRESS = shown_in(Shown.PROGRESS)
Row = dict[str, Any]


@runtime_checkable
class Monitor(Protocol):
    """Told of a run's phases and of every round, in order."""

    def phase(self, text: str) -> None: ...
    def begin(self, num_rounds: int, title: str) -> None: ...
    def round(self, row: Row) -> None: ...
    def end(self) -> None: ...


class Silent:
    """Shows nothing: for use as a library."""

    def phase(self, text: str) -> None: ...
    def begin(self, num_rounds: int, title: str) -> None: ...
    def round(self, row: Row) -> None: ...
    def end(self) -> None: ...


class Live:
    """Rounds/s, time left, loss, and the measures that are declared to be shown in progress, as last measured."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._measured = self._title = ""
        self._total, self._start, self._shown = 0, 0.0, 0.0
        self._before: int | None = None  # rounds that were done already, known with the first one that is told

    def phase(self, text: str) -> None:
        self.console.print(f"[dim]{text}[/dim]" if self.console.is_terminal else text, highlight=False)

    def begin(self, num_rounds: int, title: str) -> None:
        self._total, self._start = num_rounds, time.monotonic()
        self._title, self._measured, self._shown, self._before = title, "", self._start, None
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=None, table_column=Column(ratio=1)),  # what 80 columns leave, which is little
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[shown]}", table_column=Column(no_wrap=True)),
            )
            self._bar = Progress(*columns, console=self.console, expand=True)
            self._task = self._bar.add_task(title, total=num_rounds, shown="")
            self._bar.start()

    def round(self, row: Row) -> None:
        measured = [measure.written(row[measure.name]) for measure in IN_PROGRESS if measure.name in row]
        if measured:
            self._measured = ", ".join(measured)
        completed = row["round"]
        if completed == 0:
            self.phase(f"before the first round: {self._measured}")
            return
        if self._before is None:
            self._before = completed - 1
        rate = (completed - self._before) / max(time.monotonic() - self._start, 1e-9)
        loss = f"loss {row['loss']:.3g}" if row.get("loss") is not None else ""
        shown = ", ".join(filter(None, (loss, self._measured)))
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, shown=f"{rate:.1f}/s {shown}")
        elif completed == self._total or time.monotonic() - self._shown > (1 if measured else 10):
            self._shown = time.monotonic()
            pace = f"{rate:.1f} rounds/s, {(self._total - completed) / rate:.0f} s left"
            line = ", ".join(filter(None, (pace, shown)))
            self.console.print(f"{self._title} {completed}/{self._total}: {line}", highlight=False)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
