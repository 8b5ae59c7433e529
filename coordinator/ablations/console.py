"""Terminal output of an ablation: its cells before it runs, the comparison afterwards."""

import shlex
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from coordinator.ablations.ablate import AblationResult, ablate
from coordinator.ablations.grids.factors import as_text
from coordinator.ablations.grids.grid import Ablation, check_cells
from coordinator.ablations.quiet import run_quietly
from coordinator.ablations.runs.parallel_runs import RunStatus
from coordinator.ablations.tables import print_comparison
from coordinator.planning.plan import prepare
from coordinator.records.files.result import Status
from coordinator.records.plain_text import say
from coordinator.records.terminal import Live
from coordinator.reports.formatting import short
from coordinator.reports.plan import NOTHING_STARTED, print_plan
from coordinator.reports.tables import compact_table
from coordinator.run.signals import Interrupts


def print_cells(ablation: Ablation, console: Console) -> None:
    """Print each cell with its settings, or the plan of a single cell; the number of runs, and the measures."""
    runs = f"{len(ablation.cells) * len(ablation.seeds)} runs"
    seeds = f"seeds {', '.join(map(str, ablation.seeds))}"
    if len(ablation.cells) > 1:
        console.print(_cell_table(ablation))
        runs += f": {len(ablation.cells)} cells, {seeds}; * is the reference"
    else:
        print_plan(prepare(ablation.cells[0].config), console)
        runs += f": {seeds}"
    for line in (runs, f"compared by {', '.join(ablation.measures)}", NOTHING_STARTED):
        say(console, line)


def _cell_table(ablation: Ablation) -> Table:
    factors = list(ablation.cells[0].settings)
    table = compact_table("cell", *factors, "key", wrapped="cell")
    for cell in ablation.cells:
        name = f"{cell.label} *" if cell is ablation.reference else cell.label
        table.add_row(name, *(as_text(cell.settings[factor]) for factor in factors), cell.key)
    return table


def print_ablation(result: AblationResult, console: Console) -> None:
    """Print the comparison, the failed runs, and where to look next."""
    if result.status is Status.INTERRUPTED:
        count = len(result.rows)
        say(console, f"interrupted: {result.num_finished} of {count} runs done; the same command continues")
        return
    if result.comparison is not None:
        print_comparison(result.comparison, console, result.attacks)
    failed = [row for row in result.rows if row["status"] == RunStatus.FAILED]
    for row in failed:
        say(console, f"failed: {row['cell']}, seed {row['seed']}: {row['error']}", "bold")
    if failed:
        say(console, f"{len(failed)} of {len(result.rows)} runs failed; the same command tries them again")
    say(console, f"results  {short(result.folder)}", whole=True)
    say(console, f"watch    peer-consensus watch {shlex.quote(short(result.folder))}", whole=True)
    if result.comparison is not None:
        say(console, f"report   {short(result.folder / 'report.html')}", whole=True)


def run_and_print(
    ablation: Ablation, output: Path, console: Console, dry_run: bool = False, json: bool = False
) -> Status:
    """Run an ablation and print its comparison, or only its cells; returns how it ended."""
    if dry_run:
        check_cells(ablation.cells, ablation.seeds)
        print_cells(ablation, console)
        return Status.FINISHED
    with Interrupts(handled=True):
        result = ablate(ablation, output, [Live(console)])
    print_ablation(result, console)
    if json and result.comparison is not None:
        print((result.folder / "summary.json").read_text(), end="")
    return result.status


def run_and_show(
    ablation: Ablation,
    output: Path,
    console: Console,
    watch: Callable[[Path], object],
    dry_run: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> Status:
    """As `run_and_print`, or with `quiet` its verdicts only. watch: is told of the folder that the runs will be in."""
    watch(output / ablation.name)
    if quiet and not dry_run:
        return run_quietly(ablation, output, json)
    return run_and_print(ablation, output, console, dry_run, json)
