"""What a run prints: the plan before it, the table of controls against trained after it."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RichCast
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from coordinator.config import ConfigError
from coordinator.learned import CONDITIONS
from coordinator.placement import check_here
from coordinator.plan import Plan
from coordinator.pool import check_precision, gpus_in_process
from coordinator.summary import hardware
from coordinator.wording import FLAGS, points, points_between, probe_name
from peers import memory

if TYPE_CHECKING:
    from coordinator.ending import Result


def print_result(result: "Result", console: Console) -> None:
    """Controls against trained, gain with interval, verdict, flags, and where to look next."""
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
        if "sgd" in summary["probes"]:
            console.print("* the paper's probe, on features as they are: for comparison, no verdict", highlight=False)
    for line in in_words(summary):
        console.print(line, highlight=False)
    console.print(f"results  {short(result.folder)}", highlight=False, markup=False)
    tracking, output = summary["config"]["tracking"], result.folder.parent
    if tracking["enabled"] and not tracking["uri"] and (output / "mlflow.db").is_file():
        console.print(f"browse   peer-consensus ui {shlex.quote(short(output))}", highlight=False, markup=False)


def print_plan(plan: Plan, console: Console) -> None:
    """What a run would be, from `plan` alone."""
    config, facts = plan.config, plan.facts
    columns = ("peers", "model", "norm", "head", "optimiser", "parameters", "features", "outputs", "memory")
    table = compact_table(*columns, wrapped="optimiser")
    for group in plan.groups:
        table.add_row(
            str(group.count),
            group.model,
            group.norm,
            group.head,
            group.optimizer,
            f"{group.num_parameters:,}",
            f"{group.feature_dim:,}",
            f"{group.output_dim:,}",
            size(group.peer_bytes),
        )
    console.print(table)
    lines = {
        "data": f"{plan.dataset.name}: {len(plan.dataset.train_labels):,} training and "
        f"{len(plan.dataset.test_labels):,} test images of {'x'.join(map(str, plan.dataset.shape))}",
        "topology": f"{config.topology.kind}: {facts.messages_per_round:g} messages a round, spectral gap "
        f"{facts.spectral_gap:.4g}",
        "message": f"{size(plan.message_bytes)} ({config.exchange.what}, {config.exchange.dtype})",
        "a round": f"{size(plan.round_bytes)} over all links",
        "the run": f"{config.run.rounds:,} rounds, {size(plan.round_bytes * config.run.rounds)}",
        "in all": f"{size(plan.memory_bytes)} of memory, estimated for peers, processes and data",
        "asked": _asked(plan),
        "there": _there(plan),
    }
    for name, text in lines.items():
        console.print(f"{name:<10}{text}", highlight=False)
    console.print("nothing was started (--dry-run)", highlight=False)


def size(num_bytes: float | int) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024 or unit == "GiB":
            break
        num_bytes /= 1024
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"


FOLDED = 12  # columns that a cell which may take several lines needs, where a word in it is folded as well


class CompactTable(Table):
    """A table on a terminal that is wide enough, else a list of what is in it, so that nothing is cut."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[ConsoleRenderable | RichCast | str | Segment]:
        columns = [[str(cell) for cell in (each.header, *each.cells)] for each in self.columns]
        widths = [
            max(map(cell_len, cells)) if column.no_wrap else min(FOLDED, max(map(cell_len, " ".join(cells).split())))
            for column, cells in zip(self.columns, columns, strict=True)
        ]
        if sum(widths) + len(widths) - 1 <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        names = [str(each.header) for each in self.columns]
        for row in zip(*(each.cells for each in self.columns), strict=True):
            for name, cell in zip(names, row, strict=True):
                if cell:
                    yield Text.from_markup(f"{name:<{max(map(cell_len, names))}}  {cell}")
            yield Text("")


def compact_table(*columns: str, wrapped: str) -> Table:
    """A table of at most 80 columns on a narrow terminal: only the cells of one column may take two lines."""
    table = CompactTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name != wrapped, overflow="fold" if name == wrapped else "ellipsis")
    return table


def _probe_table(probes: dict[str, Any]) -> Table:
    shown = [name for name in CONDITIONS if name != "alone" and all(name in row for row in probes.values())]
    names = [CONDITIONS[name] for name in shown]
    table = compact_table("probe", *names, "gain", "95% interval", "verdict", wrapped="verdict")
    for name, row in probes.items():
        cells = [*(f"{row[each]:.1%}" for each in shown), points(row["gain"]), points_between(*row["interval"])]
        table.add_row(probe_name(name, marked=True), *cells, row.get("verdict", ""))
    return table


def _alone_table(probes: dict[str, Any]) -> Table:
    """The fourth control: the same run with every peer its own teacher."""
    names = [CONDITIONS["alone"], CONDITIONS["trained"]]
    table = compact_table("probe", *names, "gain", "95% interval", "verdict", wrapped="verdict")
    for name, row in probes.items():
        over = row["over_alone"]
        cells = [f"{row['alone']:.1%}", f"{row['trained']:.1%}", points(over["mean"])]
        cells += [points_between(over["low"], over["high"]), row.get("exchange", "")]
        table.add_row(probe_name(name, marked=True), *cells)
    return table


def in_words(summary: dict[str, Any]) -> list[str]:
    """Consensus, flags and pace of a run in a sentence each."""
    lines = []
    measures, moved, rate = summary["consensus"], summary["relative_weight_change"], summary["rounds_per_second"]
    measured = summary.get("measured_at", summary["rounds"])
    if measured == 0 < summary["rounds"]:
        lines.append("consensus: not measured since the first round")
    elif "relative_distance" in measures:
        distance, agreement = measures["relative_distance"], measures["agreement"]
        lines.append(
            f"consensus: disagreement {distance['first']:.3f} -> {distance['last']:.3f}, "
            f"agreement {agreement['first']:.1%} -> {agreement['last']:.1%}; "
            f"effective rank {measures['rankme']['first']:.1f} -> {measures['rankme']['last']:.1f}"
            + (f"; weights moved {moved:.2%}" if moved is not None else "")
            + (f" (as of round {measured})" if measured < summary["rounds"] else "")
        )
    artefacts = ", ".join(probe_name(name, marked=True) for name in summary["artefacts"])
    explained = FLAGS | {
        "artefact": f"a gain over untrained networks ({artefacts}) vanishes beside calibrated BatchNorm; "
        "it is no evidence of learning",
        "dropped-peers": f"values that are not finite in peer {', '.join(summary['not_finite'])}",
    }
    lines += [f"flag {flag}: {explained[flag]}" for flag in summary["flags"]]
    faults = summary.get("faults", [])
    if faults:
        lost = sum(each["seconds"] or 0.0 for each in faults)
        more = f", and {len(faults) - 1} more in summary.json" if len(faults) > 1 else ""
        lines.append(f"survived: {faults[0]['what']}{more}; {lost:.0f} s lost, no number changed")
    if rate:
        lines.append(
            f"{summary['rounds']} rounds at {rate:.1f} rounds/s, {size(summary['bytes_exchanged'])} exchanged, "
            f"{summary['evaluation_share']:.0%} of the peers' time spent measuring"
        )
    return lines


def _asked(plan: Plan) -> str:
    hosting, count = plan.config.hosting, plan.config.peers.count
    gpus, ray = hosting.gpus_per_peer, hosting.pool == "ray"
    if hosting.device == "cpu" or (hosting.device == "auto" and gpus == "auto" and not ray):
        asked = "no GPU"
    elif gpus == "auto":
        shared = "shared where they are fewer" if hosting.device == "cuda" else "else none"
        asked = f"1 GPU each where there are so many, {shared}" if ray else "1 GPU"
    else:
        asked = f"{gpus * count:g} GPUs"
    how = {"loop": "", "vectorised": ", vectorised", "auto": ", in a loop or vectorised"}[hosting.execution]
    if not ray:
        return f"this process{how}; {asked}"
    return f"{plan.num_hosts} Ray actors of {hosting.threads} thread each{how}; {asked}"


def _there(plan: Plan) -> str:
    if plan.config.hosting.address:
        return f"the Ray cluster at {plan.config.hosting.address}, which was not asked"
    here = hardware()
    total, free, gpus = int(here["memory_bytes"]), memory.available(), len(here["gpus"])
    lower = "lower peers.count or data.batch_size"
    enough = ""
    if plan.memory_bytes >= total:
        enough = f"; too little memory: {lower}"
    elif plan.memory_bytes >= free:
        enough = f"; too little of it is free, {size(free)}: end what else runs, or {lower}"
    refusal = _refusal(plan, gpus)
    return f"{os.cpu_count()} cores, {size(total)} memory, {gpus} GPUs{enough}" + (
        f"; the run would be refused: {refusal}" if refusal else ""
    )


def _refusal(plan: Plan, gpus: int) -> str:
    """What the run would say of this machine's CPUs and GPUs; empty if they are enough."""
    hosting = plan.config.hosting
    try:
        if hosting.pool == "ray":
            shares = check_here(hosting, plan.config.peers.count, os.cpu_count() or 1, gpus)
            check_precision(hosting, any(share["GPU"] for share in shares))
        else:
            gpus_in_process(hosting)
    except ConfigError as error:
        return str(error)
    return ""


def short(path: Path) -> str:
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
