"""Shared by the commands run and resume: the --address option, and running with signal handlers."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from coordinator.commands.outcome import INTERRUPTED
from coordinator.experiment.reading import ConfigError
from coordinator.experiment.redaction import without_secrets
from coordinator.records.result import Status
from coordinator.records.run_folder import way_on
from coordinator.reports.result import print_result
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


def carry_out(execute: Callable[[Any], Any], console: Console, json: bool, last_line: str = "") -> None:
    """Execute a run with signal handlers and print its result; raises typer.Exit if it has not finished.

    last_line: printed at the end, if there are verdicts.
    """
    with Interrupts(handled=True) as interrupts:
        try:
            result = execute(interrupts)
        except KeyboardInterrupt as error:
            folder = getattr(error, "folder", None)  # set for a run that began, but could not write its summary
            print(f"interrupted{f'; {way_on(folder)}' if folder else ' before anything was run'}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        print_result(result, console)
        if last_line and any("verdict" in row for row in result.summary["probes"].values()):
            console.print(last_line, highlight=False, markup=False)
        if json:
            print((result.folder / "summary.json").read_text(), end="")
    exit_by(result.status)


def exit_by(status: Status) -> None:
    """Raises: typer.Exit with the exit code of a run or an ablation that has not finished."""
    if status is not Status.FINISHED:
        raise typer.Exit(INTERRUPTED if status is Status.INTERRUPTED else 2)
