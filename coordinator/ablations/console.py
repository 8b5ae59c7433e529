"""Terminal output of an ablation: its cells before it runs, the comparison afterwards."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coordinator.ablations.ablate import AblationResult
from coordinator.ablations.factors import as_text
from coordinator.ablations.grid import Ablation
from coordinator.ablations.parallel_runs import RunStatus
from coordinator.ablations.tables import print_comparison
from coordinator.experiment.plan import prepare
from coordinator.records.result import Status
from coordinator.reports.formatting import short
from coordinator.reports.plan import NOTHING_STARTED, print_plan
from coordinator.reports.tables import compact_table


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
    console.print(runs, highlight=False)
    console.print(f"compared by {', '.join(ablation.measures)}", highlight=False)
    console.print(NOTHING_STARTED, highlight=False)


def _cell_table(ablation: Ablation) -> Table:
    factors = list(ablation.cells[0].settings)
    table = compact_table("cell", *factors, "key", wrapped="cell")
    for cell in ablation.cells:
        name = f"{cell.label} *" if cell is ablation.reference else cell.label
        table.add_row(*map(escape, (name, *(as_text(cell.settings[factor]) for factor in factors), cell.key)))
    return table


def print_ablation(result: AblationResult, console: Console) -> None:
    """Print the comparison, the failed runs, and where to look next."""
    if result.status is Status.INTERRUPTED:
        count = len(result.rows)
        line = f"interrupted: {result.num_finished} of {count} runs done; the same command continues"
        console.print(line, highlight=False)
        return
    if result.comparison is not None:
        print_comparison(result.comparison, console)
    failed = [row for row in result.rows if row["status"] == RunStatus.FAILED]
    for row in failed:
        console.print(f"failed: {row['cell']}, seed {row['seed']}: {row['error']}", highlight=False, markup=False)
    if failed:
        console.print(f"{len(failed)} of {len(result.rows)} runs failed; the same command tries them again")
    console.print(f"results  {short(result.folder)}", highlight=False)
    if result.comparison is not None:
        console.print(f"report   {short(result.folder / 'report.html')}", highlight=False)
