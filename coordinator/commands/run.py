"""Shared by the commands run and resume: what they show, the --address option, and running with signal handlers."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from coordinator.commands.outcome import INTERRUPTED, tell
from coordinator.experiment.reading import ConfigError
from coordinator.experiment.redaction import without_secrets
from coordinator.records.files.result import Result, Status
from coordinator.records.files.run_folder import way_on
from coordinator.records.plain_text import say, visible
from coordinator.records.terminal import Live, Warned
from coordinator.reports.formatting import short
from coordinator.reports.holdings import on_held_classes
from coordinator.reports.pooling import on_unusable
from coordinator.reports.result import print_result
from coordinator.reports.sentences import on_flags
from coordinator.reports.unequal import about
from coordinator.reports.verdicts import verdict_lines
from coordinator.run.signals import Interrupts


def with_address(overrides: list[str], address: str) -> list[str]:
    """The overrides, with --address added. Raises: ConfigError, if they set hosting.address as well."""
    if address and any(override.partition("=")[0].strip() == "hosting.address" for override in overrides):
        raise ConfigError("--address: hosting.address is given as well: leave one of them out")
    return [*overrides, f"hosting.address={address}"] if address else overrides


def hint(config: Path, overrides: Sequence[str]) -> str:
    """What to type for verdicts over seeds, after a single run of a file."""
    shown = [without_secrets(override) for override in overrides]
    command = shlex.join(["peer-consensus", "run", str(config), *shown, "--seeds", "5"])
    return f"verdicts are about this run; over seeds: {command}"


@dataclass(frozen=True)
class Display:
    """What a command shows of its run: by default all of it on a console.

    json: print the summary as the only standard output. quiet: show no progress, and at the end only the verdicts,
    whom and what they are about, and the folder. began: when the command began, by `time.monotonic`.
    """

    console: Console
    json: bool = False
    quiet: bool = False
    began: float | None = None

    def observer(self) -> Live | Warned:
        """The observer that shows the run while it goes on."""
        return Warned(tell) if self.quiet else Live(self.console, self.began)

    def end(self, result: Result, observer: Live | Warned, last_line: str = "") -> None:
        """Show the result. last_line: printed after it, if there are verdicts."""
        if isinstance(observer, Live):
            print_result(result, self.console, observer.seconds)
            if last_line and any("verdict" in row for row in result.summary["probes"].values()):
                say(self.console, last_line, whole=True)
        else:
            self._end_quietly(result)
        if self.json:
            print((result.folder / "summary.json").read_text(), end="")

    def _end_quietly(self, result: Result) -> None:
        for line in [*([f"{result.status}: {result.message}"] if result.message else []), *on_flags(result.summary)]:
            tell(line)
        if not self.json:
            for verdict in verdict_lines(result.summary):
                print(visible(verdict.text))
            for line in [*on_held_classes(result.summary), *about(result.summary), *on_unusable(result.summary)]:
                print(visible(line))
            print(visible(short(result.folder)))


def carry_out(
    execute: Callable[[Interrupts, list[Live | Warned]], Result], display: Display, last_line: str = ""
) -> None:
    """Execute a run with signal handlers and show its result; raises typer.Exit if it has not finished.

    execute: gets the signals and the observers. last_line: printed at the end, if there are verdicts.
    """
    with Interrupts(handled=True) as interrupts:
        observer = display.observer()
        try:
            result = execute(interrupts, [observer])
        except KeyboardInterrupt as error:
            folder = getattr(error, "folder", None)  # set for a run that began, but could not write its summary
            tell(f"interrupted{f'; {way_on(folder)}' if folder else ' before anything was run'}", "")
            raise typer.Exit(INTERRUPTED) from None
        display.end(result, observer, last_line)
    exit_by(result.status)


def exit_by(status: Status) -> None:
    """Raises: typer.Exit with the exit code of a run or an ablation that has not finished."""
    if status is not Status.FINISHED:
        raise typer.Exit(INTERRUPTED if status is Status.INTERRUPTED else 2)
