"""The result of a run, as printed at its end: verdicts, controls against trained peers, and where to look next."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from coordinator.measures.gains import FOR_COMPARISON, Condition
from coordinator.records.files.result import Result
from coordinator.records.plain_text import say
from coordinator.records.stage_clock import duration
from coordinator.reports import control_runs, unequal
from coordinator.reports.durations import durations_in_words
from coordinator.reports.formatting import points, points_between, short
from coordinator.reports.holdings import accuracy_table, on_held_classes, scopes_meant
from coordinator.reports.network import facts
from coordinator.reports.pooling import on_pooling
from coordinator.reports.sentences import on_consensus, on_flags, on_probed, on_speed
from coordinator.reports.tables import compact_table, say_labelled
from coordinator.reports.verdicts import Tone, VerdictLine, verdict_lines
from coordinator.reports.wording import CONDITIONS, buffers, examples, probe_name, untrained

STYLES = {Tone.GOOD: "bold green", Tone.BAD: "bold red", Tone.NEUTRAL: "", Tone.VOID: "dim"}
LEAST_WORDS = 24  # columns for the words of a verdict beside its number; narrower, they are one text
FRAME = 8  # columns for the frame, and between subject, words and number
BEFORE = 1.0  # seconds of earlier processes from which on they are mentioned


def print_result(result: Result, console: Console, seconds: Mapping[str, float | int] | None = None) -> None:
    """Print the verdicts, the tables that they are from, flags, consensus, speed and times, and where to look next.

    seconds: of this command by stage; by default those of the summary.
    """
    summary = result.summary
    if result.message:
        say(console, f"{result.status}: {result.message}")
    lines = verdict_lines(summary)
    if lines:
        _print_verdicts(lines, f"{result.folder.name}: {result.status}", console)
        for line in on_held_classes(summary):
            say(console, line)
    _print_tables(summary, console)
    _print_groups(summary, console)
    _print_liars(summary, console)
    _print_gap(console)
    for line in [*unequal.about(summary), *on_probed(summary)]:
        say(console, line)
    for line in on_flags(summary):
        say(console, line, "yellow")
    for line in [*on_consensus(summary), *on_pooling(summary), *control_runs.upper_marks(summary), *on_speed(summary)]:
        say(console, line)
    if summary.get("network"):
        _print_network(summary["network"], console)
    times = _times(summary, seconds)
    if times:
        say_labelled(console, "time", times, 9)
    folder = short(result.folder)
    say(console, f"results  {folder}", whole=True)
    if (result.folder / "report.html").is_file():
        say(console, f"report   {folder}/report.html", whole=True)
    say(console, f"watch    peer-consensus watch {shlex.quote(folder)}", whole=True)
    tracking, output = summary["config"]["tracking"], result.folder.parent
    if tracking["enabled"] and not tracking["uri"] and (output / "mlflow.db").is_file():
        say(console, f"browse   peer-consensus ui {shlex.quote(short(output))}", whole=True)


def _print_verdicts(lines: Sequence[VerdictLine], title: str, console: Console) -> None:
    """Print a line for each verdict; on a terminal in a frame, and in columns where they fit."""
    if not console.is_terminal:
        for line in lines:
            say(console, line.text)
        return
    say(console, title, "bold")
    gains = [line.gain_text.replace(" ", " points ", 1) for line in lines]
    taken = max(cell_len(line.subject) for line in lines) + max(map(cell_len, gains))
    grid = Table.grid(padding=(0, 2))
    if taken + LEAST_WORDS + FRAME <= console.width:
        for wrapped in (False, True, False):
            grid.add_column(no_wrap=not wrapped)
        for line, gain in zip(lines, gains, strict=True):
            grid.add_row(line.subject, Text(line.words, STYLES[line.tone]), gain)
    else:
        for line, gain in zip(lines, gains, strict=True):
            fits = cell_len(line.text) + 4 <= console.width or not line.gain_text
            grid.add_row(Text(line.text if fits else f"{line.subject}: {line.words}", STYLES[line.tone]))
            if not fits:
                grid.add_row(Text(f"  {gain}", STYLES[line.tone]))
    console.print(Panel(grid, expand=False), soft_wrap=False)


def _print_tables(summary: Mapping[str, Any], console: Console) -> None:
    """Print the accuracies of the probes under all conditions, and those of the trained peers against control runs."""
    if not any("gain" in row for row in summary["probes"].values()):
        return
    _print_gap(console)
    console.print(_probe_table(summary["probes"]))
    say(
        console,
        f"gain: trained - calibrated ({untrained(summary['config'])}, forward passes only), in points; intervals "
        f"are over this run's peers and test {examples(summary)}, not over seeds",
    )
    if buffers(summary["config"]):
        say(console, f"probed with {buffers(summary['config'])}")
    compared = control_runs.compared_rows(summary)
    if compared:
        _print_gap(console)
        table = compact_table(*control_runs.COMPARED, wrapped="verdict")
        for row in compared:
            table.add_row(*row)
        console.print(table)
        for line in ("gain: trained - control run", *control_runs.meanings(summary)):
            say(console, line)
    names, rows = accuracy_table(summary)
    if rows:
        _print_gap(console)
        table = compact_table(*names, wrapped=names[0])
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
        say(console, scopes_meant(summary))
    if any(name in FOR_COMPARISON for name in summary["probes"]):
        say(console, "* the paper's probe, on features as they are: for comparison, no verdict")


def _print_groups(summary: Mapping[str, Any], console: Console) -> None:
    """Print the gains of each group, where there are a few groups; the page has them all, also by distance."""
    rows = unequal.group_rows(summary)
    if not rows or len(summary["groups"]) > unequal.MOST_GROUPS:
        return
    _print_gap(console)
    table = compact_table(*unequal.BY_GROUP, wrapped="verdict")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_liars(summary: Mapping[str, Any], console: Console) -> None:
    """Print who lies, and what became of their lies, where that is known; who they are is said below in any case."""
    names, rows = unequal.liars_of(summary)
    if len(names) < len(unequal.LIARS):
        return
    _print_gap(console)
    table = compact_table(*names, wrapped="what they send")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_network(network: Mapping[str, Any], console: Console) -> None:
    """Print what the simulated network came to, a subject a line."""
    _print_gap(console)
    say(console, "the simulated network", "bold")
    for name, text in facts(network).items():
        say_labelled(console, name, text, 16)
    _print_gap(console)


def _print_gap(console: Console) -> None:
    """An empty line between parts, on a terminal."""
    if console.is_terminal:
        console.print()


def _probe_table(probes: Mapping[str, Any]) -> Table:
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


def _times(summary: Mapping[str, Any], seconds: Mapping[str, float | int] | None) -> str:
    """The times of the stages of this command, or those of the summary; and those of earlier processes of the run."""
    recorded = summary.get("seconds", {})
    words = durations_in_words(recorded if seconds is None else seconds, summary.get("beside_rounds", ()))
    earlier = sum(recorded.values()) - sum(seconds.get(stage, 0.0) for stage in recorded) if seconds else 0.0
    return words + (f"; {duration(earlier)} before it was resumed" if earlier > BEFORE else "")
