"""The plan of a run, as `run --dry-run` prints it."""

import os
from dataclasses import asdict

from rich.console import Console

from coordinator.experiment.config import ConfigError
from coordinator.measures.stop_rule import check_stop
from coordinator.planning.plan import Plan
from coordinator.planning.workers import forks
from coordinator.pools.base import check_precision
from coordinator.pools.in_process import gpus_in_process
from coordinator.pools.resources import reservations_on_machine
from coordinator.pools.side_pools import check_on_machine
from coordinator.records.files.holdings_files import class_table, facts_of
from coordinator.records.files.summary import hardware
from coordinator.reports.formatting import size
from coordinator.reports.holdings import holdings_rows, on_holdings
from coordinator.reports.matrices import spectra
from coordinator.reports.phases import estimated
from coordinator.reports.settings import rule, variant
from coordinator.reports.tables import compact_table, say_labelled
from coordinator.reports.unequal import lies_in_words
from coordinator.reports.views import views_in_words
from peers.base import memory
from peers.base.brought import called
from peers.data.formats.shapes import described, noun

NOTHING_STARTED = "nothing was started (--dry-run)"


def print_plan(plan: Plan, console: Console, trial: bool = True) -> None:
    """Print the peers, data, topology, traffic, time and memory of a run, without starting it.

    trial: whether the times are estimated, by a trial of a few peers.
    """
    config = plan.config
    check_stop(config)
    _print_groups(plan, console)
    lines = {
        "data": f"{plan.dataset.name}: {len(plan.dataset.train_labels):,} training and "
        f"{len(plan.dataset.test_labels):,} test {described(plan.dataset.shape)}",
        **_unequal(plan),
        "topology": f"{called(config.topology)}: {plan.facts.messages_per_round:g} messages a round",
        **spectra(asdict(plan.facts)),
        "message": _message(plan),
        "a round": f"{size(plan.round_bytes)} over all links",
        "the run": f"{config.run.rounds:,} rounds, {size(plan.round_bytes * config.run.rounds)}",
        "network": _network(plan),
        "stop": _stop(plan),
        "controls": _controls(plan),
        **(estimated(plan) if trial else {}),
        "in all": f"{size(plan.memory_bytes)} of memory, estimated for peers, processes and data",
        "asked": _requested_hardware(plan),
        "there": _available_hardware(plan),
    }
    _print_holdings(plan, console)
    for name, text in lines.items():
        if text:
            say_labelled(console, name, text)


def _print_groups(plan: Plan, console: Console) -> None:
    """Print what the peers are made of, a row for each make."""
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


def _print_holdings(plan: Plan, console: Console) -> None:
    """Print how many examples of each class few peers hold; nothing if all hold all."""
    held = class_table(plan)
    names, rows = holdings_rows(held) if held is not None else ([], [])
    if rows:
        counts = compact_table(*names, wrapped="effective classes")
        for row in rows:
            counts.add_row(*row)
        console.print(counts)


def _unequal(plan: Plan) -> dict[str, str]:
    """Who holds, sees and says what, and how students pool it, by subject; empty texts where all peers are alike."""
    peers, exchange = (section.model_dump(mode="json") for section in (plan.config.peers, plan.config.exchange))
    liars = lies_in_words(peers)
    return {
        "private": _private(plan),
        "views": "; ".join(views_in_words(peers)),
        "liars": liars,
        "rule": f"students pool messages by {rule(exchange) or variant(exchange['aggregation'])}"
        if liars or rule(exchange)
        else "",
    }


def _private(plan: Plan) -> str:
    """Who holds what; empty if all peers hold all."""
    table = class_table(plan)
    if table is None:
        return ""
    return on_holdings(facts_of(table, plan), plan.config.peers.count, noun(plan.dataset.shape))


def _message(plan: Plan) -> str:
    """What a message has in it, and its size."""
    network = plan.config.network
    if network is not None and network.message == "checkpoint":
        least, most = min(plan.sizes), max(plan.sizes)
        return f"{size(least)}{f' to {size(most)}' if most > least else ''} (a checkpoint: weights and buffers)"
    return f"{size(plan.message_bytes)} ({plan.config.exchange.what}, {plan.config.exchange.dtype})"


def _network(plan: Plan) -> str:
    """What the simulated network changes; empty without one."""
    network = plan.config.network
    if network is None or plan.trace is None:
        return ""
    changes = "changes times only" if plan.trace.plain else "changes who learns from whom, and when"
    return f"clock {network.clock}, which {changes}; peer-consensus network shows its times without training"


def _stop(plan: Plan) -> str:
    """The rule by which the run may end early; empty if there is none."""
    rule = plan.config.run.stop
    if rule is None:
        return ""
    limits = {"below": rule.below, "above": rule.above, "not improved in": rule.patience}
    said = [f"{name} {limit:g}" for name, limit in limits.items() if limit is not None]
    return f"early, once {rule.measure} is {' or '.join(said)}" + (" measurements" if rule.patience else "")


def _controls(plan: Plan) -> str:
    """The control runs and their cost; empty if there are none."""
    controls, rounds = plan.config.evaluation.controls, plan.config.run.rounds
    if not controls:
        return ""
    return (
        f"{', '.join(controls)}: {len(controls)} x {rounds:,} rounds more, so about {len(controls) + 1} times the "
        "computing of the run; side by side where the run leaves CPUs idle, else one after the other"
    )


def _requested_hardware(plan: Plan) -> str:
    hosting, count = plan.config.hosting, plan.config.peers.count
    gpus, ray = hosting.gpus_per_peer, hosting.pool == "ray"
    if hosting.device == "cpu" or (hosting.device == "auto" and gpus == "auto" and not ray):
        gpus_requested = "no GPU"
    elif gpus == "auto":
        shared = "shared where they are fewer" if hosting.device == "cuda" else "else none"
        gpus_requested = f"1 GPU each where there are so many, {shared}" if ray else "1 GPU"
    else:
        gpus_requested = f"{gpus * count:g} GPUs"
    execution = {"loop": "", "vectorised": ", vectorised", "auto": ", in a loop or vectorised"}[hosting.execution]
    if not ray:
        return f"this process{execution}; {gpus_requested}"
    forked = ", forked from one process" if forks(hosting) else ""
    return f"{plan.num_hosts} Ray actors of {hosting.threads} thread each{execution}{forked}; {gpus_requested}"


def _available_hardware(plan: Plan) -> str:
    if plan.config.hosting.address:
        return f"the Ray cluster at {plan.config.hosting.address}, which was not asked"
    machine = hardware()
    total, free, gpus = int(machine["memory_bytes"]), memory.available(), len(machine["gpus"])
    advice = "lower peers.count or data.batch_size"
    shortage = ""
    if plan.memory_bytes >= total:
        shortage = f"; too little memory: {advice}"
    elif plan.memory_bytes >= free:
        shortage = f"; too little of it is free, {size(free)}: end what else runs, or {advice}"
    refusal = _refusal(plan, gpus)
    return f"{os.cpu_count()} cores, {size(total)} memory, {gpus} GPUs{shortage}" + (
        f"; the run would be refused: {refusal}" if refusal else ""
    )


def _refusal(plan: Plan, gpus: int) -> str:
    """The error that the run would raise for this machine's CPUs and GPUs; empty if they suffice."""
    hosting = plan.config.hosting
    try:
        if hosting.pool == "ray":
            cpus = os.cpu_count() or 1
            shares = reservations_on_machine(hosting, plan.config.peers.count, cpus, gpus)
            check_on_machine(hosting, shares, len(plan.config.evaluation.controls), cpus, gpus)
            check_precision(hosting, any(share["GPU"] for share in shares))
        else:
            gpus_in_process(hosting)
    except ConfigError as error:
        return str(error)
    return ""
