"""The result of a run, as printed at its end: controls against trained peers, verdicts, and where to look next."""

import shlex
from typing import Any

from rich.console import Console
from rich.table import Table

from coordinator.measures.gains import FOR_COMPARISON, Condition
from coordinator.records.result import Result
from coordinator.reports.formatting import points, points_between, short
from coordinator.reports.sentences import in_words
from coordinator.reports.tables import compact_table
from coordinator.reports.wording import CONDITIONS, probe_name


def print_result(result: Result, console: Console) -> None:
    """Print controls against trained peers, gains with intervals, verdicts, flags, and where to look next."""
    summary = result.summary
    if result.message:
        console.print(f"{result.status}: {result.message}", highlight=False)
    if any("gain" in row for row in summary["probes"].values()):
        console.print(_probe_table(summary["probes"]))
        console.print(
            "gain: trained - calibrated (untrained weights, forward passes only), in points; the interval is over this "
            "run's peers and test images, not over seeds",
            highlight=False,
        )
        if any("over_alone" in row for row in summary["probes"].values()):
            console.print(_alone_table(summary["probes"]))
            console.print("gain: trained - alone (the same rounds, every peer its own teacher)", highlight=False)
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


def _alone_table(probes: dict[str, Any]) -> Table:
    """The comparison with the control alone: the same run with every peer as its own teacher."""
    names = [CONDITIONS[Condition.ALONE], CONDITIONS[Condition.TRAINED]]
    table = compact_table("probe", *names, "gain", "95% interval", "verdict", wrapped="verdict")
    for name, row in probes.items():
        if "over_alone" not in row:
            continue
        over = row["over_alone"]
        cells = [f"{row['alone']:.1%}", f"{row['trained']:.1%}", points(over["mean"])]
        cells += [points_between(over["low"], over["high"]), row.get("controls", {}).get("alone", "")]
        table.add_row(probe_name(name, marked=True), *cells)
    return table
