"""The result of a run, as printed at its end: controls against trained peers, verdicts, and where to look next."""

import shlex
from typing import Any

from rich.console import Console
from rich.table import Table

from coordinator.measures.gains import FOR_COMPARISON, Condition
from coordinator.records.result import Result
from coordinator.reports import control_runs
from coordinator.reports.formatting import points, points_between, short
from coordinator.reports.sentences import in_words
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import CONDITIONS, examples, probe_name, untrained


def print_result(result: Result, console: Console) -> None:
    """Print controls against trained peers, gains with intervals, verdicts, flags, and where to look next."""
    summary = result.summary
    if result.message:
        console.print(f"{result.status}: {result.message}", highlight=False)
    if any("gain" in row for row in summary["probes"].values()):
        console.print(_probe_table(summary["probes"]))
        console.print(
            f"gain: trained - calibrated ({untrained(summary['config'])}, forward passes only), in points; intervals "
            f"are over this run's peers and test {examples(summary)}, not over seeds",
            highlight=False,
        )
        compared = control_runs.compared_rows(summary)
        if compared:
            table = compact_table(*control_runs.COMPARED, wrapped="verdict")
            for row in compared:
                table.add_row(*row)
            console.print(table)
            console.print(f"gain: trained - control run. {control_runs.meanings(summary)}", highlight=False)
        if any(name in FOR_COMPARISON for name in summary["probes"]):
            console.print("* the paper's probe, on features as they are: for comparison, no verdict", highlight=False)
    for line in in_words(summary):
        console.print(line, highlight=False)
    console.print(f"results  {short(result.folder)}", highlight=False, markup=False)
    tracking, output = summary["config"]["tracking"], result.folder.parent
    if tracking["enabled"] and not tracking["uri"] and (output / "mlflow.db").is_file():
        console.print(f"browse   peer-consensus ui {shlex.quote(short(output))}", highlight=False, markup=False)


def _probe_table(probes: dict[str, Any]) -> Table:
    conditions = [
        condition
        for condition in Condition
        if condition.control_run is None and any(condition in row for row in probes.values())
    ]
    names = [CONDITIONS[condition] for condition in conditions]
    table = compact_table("probe", *names, "gain", "95% interval", "verdict", wrapped="verdict")
    for name, row in probes.items():
        if "gain" not in row:  # top-1 of a control run only
            continue
        cells = [f"{row[condition]:.1%}" if condition in row else "" for condition in conditions]
        cells += [points(row["gain"]), points_between(*row["interval"])]
        table.add_row(probe_name(name, marked=True), *cells, row.get("verdict", ""))
        if "ensemble" in row:
            together = [f"{row['ensemble'][each]:.1%}" if each in row["ensemble"] else "" for each in conditions]
            table.add_row(f"{probe_name(name)}, ensemble", *together, "", "", "")
    return table
