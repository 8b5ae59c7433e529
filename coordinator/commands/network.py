"""`peer-consensus network`: what a simulated network comes to, without any training."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from coordinator.commands.topology import check_picture, drawing
from coordinator.experiment.config import ConfigError, load_config
from coordinator.planning.plan import Plan, prepare
from coordinator.records.files.network_files import (
    EVENTS,
    FIRST_ROUNDS,
    SCHEMAS,
    Told,
    account_of,
    first_rounds,
    row_file,
    summary_of,
)
from coordinator.records.files.run_folder import to_json
from coordinator.records.plain_text import say
from coordinator.records.stage_clock import virtual_time
from coordinator.reports.formatting import size
from coordinator.reports.network import facts, share
from coordinator.reports.tables import compact_table, say_labelled
from topologies.accounts.account import GOSSIP, Account
from topologies.accounts.intervals import Doing, Interval, IntervalLog, strip

MARKS: dict[Doing | None, str] = {Doing.COMPUTING: "█", Doing.WAITING: "·", Doing.OFFLINE: "x"}
MOST_STRIPS, MOST_ROWS = 16, 16  # peers of the strip, and rows of a table
NEXT_STEP = "|"  # in a strip: here a step begins as soon as the one before has ended
COLUMNS = ("peer", "steps", "computing", "waiting", "offline")
WAITED_FOR = ("others waited", "critical path")  # the same columns of all clocks under which peers wait for others
LABEL = 10  # columns before a strip, and before a subject
SUBJECTS = 16


def show(
    config: Path,
    overrides: Sequence[str],
    rounds: int | None,
    plot: Path | None,
    events: Path | None,
    as_json: bool,
    console: Console,
) -> None:
    """Print what the network of an experiment comes to in its rounds, or in so many; draw and write what is asked for.

    Raises: ConfigError.
    """
    check_picture(plot)
    if events is not None and events.suffix != ".parquet":
        raise ConfigError(f"--events: '{events}' must end in .parquet: rename it")
    loaded = load_config(config, list(overrides))
    if loaded.network is None:
        raise ConfigError(
            f"network: '{config}' has no section [network]: add one, or give a setting such as network.preset=home"
        )
    if rounds is not None:
        loaded = loaded.model_copy(update={"run": loaded.run.model_copy(update={"rounds": rounds})})
    plan = prepare(loaded)
    account, intervals = _run_through(plan, events)
    network = _summary(plan, account)
    if plot is not None:
        _draw(intervals, account.rounds, plot)
    if as_json:
        print(to_json(network), end="")
        return
    _print(plan, network, account, intervals, console)
    for name, path in (("drawn in", plot), ("events in", events)):
        if path is not None:
            say(console, f"{name:<{SUBJECTS}}{path}", whole=True)


def _run_through(plan: Plan, events: Path | None) -> tuple[Account, list[list[Interval]]]:
    """The account of the run's rounds, and what its peers do in the first ones; writes the events into a file."""
    trace, world = plan.trace, plan.world
    assert trace is not None and world is not None and plan.config.network is not None
    log, tell = IntervalLog(trace.cut_at(0)), None
    try:
        with ExitStack() as stack:
            if events is not None:
                file = stack.enter_context(row_file(events, SCHEMAS[EVENTS]))
                tell = _teller(file)
            clock, rounds = plan.config.network.clock, plan.config.run.rounds
            account = account_of(trace, plan.schedule, clock, world, rounds, tell, first_rounds(log))
    except OSError as error:
        raise ConfigError(f"--events: cannot write '{events}': {error.strerror}: choose another file") from None
    except ValueError as error:  # such as from a file of the network that changes its mind
        raise ConfigError(str(error)) from None
    return account, log.intervals()


def _teller(file: Any) -> Told:
    return lambda number, events: file.add((number, *event) for event in events)


def _summary(plan: Plan, account: Account) -> dict[str, Any]:
    """As the part `network` of a run's summary, with the bytes that were sent."""
    world, network, trace = plan.world, plan.config.network, plan.trace
    assert world is not None and network is not None and trace is not None
    sent = sum(count * each for count, each in zip(account.settled(), plan.sizes, strict=True))
    return {"rounds": account.rounds, "bytes": sent, **summary_of(account, network, world, trace.plain)}


def _print(
    plan: Plan, network: dict[str, Any], account: Account, intervals: list[list[Interval]], console: Console
) -> None:
    count = plan.config.peers.count
    say(console, f"{plan.config.topology.kind}, {count} peers, {account.rounds:,} rounds, nothing is trained")
    for name, text in facts(network).items():
        say_labelled(console, name, text, SUBJECTS)
    each = f"{size(min(plan.sizes))}" + (f" to {size(max(plan.sizes))}" if len(set(plan.sizes)) > 1 else "")
    say_labelled(console, "bytes", f"{size(network['bytes'])} sent, {each} a message", SUBJECTS)
    _print_peers(account, console)
    _print_strip(intervals, account.rounds, console)


def _print_peers(account: Account, console: Console) -> None:
    """A row for each peer; of many, for those for which the others wait longest."""
    rows = account.peers()
    whole = len(rows) <= MOST_ROWS
    shown = rows if whole else sorted(rows, key=lambda row: -row["waited_for_seconds"])[:MOST_ROWS]
    steps = "steps_with_messages" if account.clock == GOSSIP else "steps"  # a push is no step
    waits = any(row["waited_for_seconds"] for row in rows)
    table = compact_table(*COLUMNS, *(WAITED_FOR if waits else ()), wrapped=())
    for row in shown:
        seconds = [row[f"{name}_seconds"] for name in ("compute", "wait", "offline")]
        total = sum(seconds) or 1.0
        path = row["critical_path_share"]
        waited = (virtual_time(row["waited_for_seconds"]), "" if path is None else share(path)) if waits else ()
        table.add_row(str(row["peer"]), f"{row[steps]:,}", *(share(each / total) for each in seconds), *waited)
    if not whole:
        say(console, f"the {MOST_ROWS} peers for which others wait longest")
    console.print(table)
    if waits:
        say(
            console,
            "others waited: for this peer, summed over them; critical path: its share, by itself and its messages",
        )


def _print_strip(intervals: list[list[Interval]], rounds: int, console: Console) -> None:
    """A line for each peer: what it does most in each part of the first rounds."""
    shown = intervals[:MOST_STRIPS]
    end = max((each.end for row in intervals for each in row), default=0.0)
    width = min(console.width, 100) - LABEL
    if not end or width < 8:
        return
    count = min(rounds, FIRST_ROUNDS)
    of_all = f", peers 0 to {len(shown) - 1}" if len(shown) < len(intervals) else ""
    lines = [_strip(row, end, width) for row in shown]
    marks = ", ".join(f"{mark} {doing}" for doing, mark in MARKS.items())
    marks += f", {NEXT_STEP} the next step at once" if any(NEXT_STEP in line for line in lines) else ""
    say(console, f"the first {count} rounds, {virtual_time(end)}{of_all}: {marks}")
    for peer, line in enumerate(lines):
        say(console, f"{f'peer {peer}':<{LABEL}}{line}".rstrip(), whole=True)


def _strip(row: list[Interval], end: float, width: int) -> str:
    """What a peer does in each of `width` equal parts of the time until `end`."""
    next_steps = {
        int(each.start / end * width) for before, each in pairwise(row) if before.doing is each.doing is Doing.COMPUTING
    }
    return "".join(
        NEXT_STEP if doing is Doing.COMPUTING and place in next_steps else MARKS.get(doing, " ")
        for place, doing in enumerate(strip(row, 0.0, end, width))
    )


def _draw(intervals: list[list[Interval]], rounds: int, plot: Path) -> None:
    from coordinator.figures.network import save_gantt  # imported here because it imports matplotlib

    with drawing(plot):
        if not save_gantt(intervals, min(rounds, FIRST_ROUNDS), plot):
            raise ConfigError(
                "--plot: no time passes in this network, so there is nothing to draw: set network.compute"
            )
