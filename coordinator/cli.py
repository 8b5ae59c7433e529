"""The command line. It reads, delegates and prints; bad input is one line and exit code 2."""

import os
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from coordinator.commands.ahead import forking_ahead
from coordinator.commands.options import (
    AblationFile,
    Compare,
    EndedRun,
    ExperimentFile,
    ExportFile,
    ExportFormat,
    Json,
    Output,
    Overrides,
    Plot,
    Port,
    Quiet,
    ShippedFile,
    Store,
    Watch,
    Watchable,
    live_page,
)
from coordinator.commands.outcome import guarded, leave, show_warning
from coordinator.commands.streams import forgiving, why_lost
from coordinator.experiment.home import provide_home, remove_temporary
from coordinator.experiment.reading import ConfigError, path_reader
from coordinator.records.plain_text import console as _console
from coordinator.records.plain_text import visible

app = typer.Typer(  # commands import their own modules, so that --help and completion need not wait for torch
    pretty_exceptions_enable=False,
    help="Simulate networks that learn only from each other's outputs, and test whether the exchange taught them.",
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[
        bool, typer.Option("--version", help="print the versions of peer-consensus, Python, torch and Ray")
    ] = False,
) -> None:
    """Options that go before a command."""
    if version:
        from coordinator.commands.version import version_line

        print(version_line())
        raise typer.Exit


@app.command()
def run(
    config: ExperimentFile,
    overrides: Overrides = None,
    output: Output = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and start nothing")] = False,
    json: Json = False,
    quiet: Quiet = False,
    watch: Watch = False,
    port: Port = None,
    address: Annotated[str, typer.Option(help="hosting.address: auto, HOST:PORT or ray://HOST:PORT")] = "",
    seeds: Annotated[
        str | None, typer.Option(help="3: seeds 0, 1, 2 (from run.seed on); 1,2,5: these; then verdicts are over seeds")
    ] = None,
) -> None:
    """Run an experiment; with --seeds, once for each seed side by side, and conclude over the seeds."""
    began = time.monotonic()
    from coordinator.commands.run import Display, carry_out, exit_by, hint, with_address
    from coordinator.experiment.config import load_config
    from coordinator.planning.plan import prepare
    from coordinator.records.plain_text import say
    from coordinator.reports.plan import NOTHING_STARTED, print_plan
    from coordinator.run.simulate import simulate

    console = _console(stderr=json)
    loaded = load_config(config, with_address(overrides or [], address))
    with live_page(watch and not dry_run, port, console, json or quiet) as page:
        if seeds is not None:
            from coordinator.ablations.console import run_and_show  # a single run need not wait for it
            from coordinator.ablations.grids.seeds import over_seeds, read_seeds

            over = over_seeds(loaded, read_seeds(seeds, loaded.run.seed))
            exit_by(run_and_show(over, output, console, page.start_when_there, dry_run, quiet, json))
        elif dry_run:
            print_plan(prepare(loaded), console)
            say(console, NOTHING_STARTED)
        else:
            display, last_line = Display(console, json, quiet, began), hint(config, overrides or [])
            execute = partial(simulate, loaded, output)
            carry_out(lambda on, shown: execute([*shown, *page.observers], interrupts=on), display, last_line)


@app.command()
def resume(
    run: EndedRun,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="of hosting, tracking and checkpoint", show_default=False)
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="rounds in all; more than before continues a finished run")] = None,
    json: Json = False,
    quiet: Quiet = False,
    watch: Watch = False,
    port: Port = None,
) -> None:
    """Continue a run from its newest checkpoint."""
    began = time.monotonic()
    from coordinator import resume as go_on
    from coordinator.commands.run import Display, carry_out

    console, changes = _console(stderr=json), overrides or []
    display = Display(console, json, quiet, began)
    with live_page(watch, port, console, json or quiet) as page:
        execute = partial(go_on, run, rounds, changes)
        carry_out(lambda on, shown: execute([*shown, *page.observers], interrupts=on), display)


@app.command()
def submit(
    config: ShippedFile = None,
    overrides: Overrides = None,
    address: Annotated[str, typer.Option(help="the cluster's dashboard")] = "http://127.0.0.1:8265",
    output: Annotated[str, typer.Option(help="folder on the cluster for the run's folder")] = "~/peer-consensus-runs",
    follow: Annotated[bool, typer.Option(help="print the log, and exit with the run's code")] = True,
    stop: Annotated[str, typer.Option(help="a job's id: stop it", metavar="ID")] = "",
    status: Annotated[str, typer.Option(help="a job's id: print its status", metavar="ID")] = "",
) -> None:
    """Send the current folder to a Ray cluster and run an experiment there; or stop such a job or print its status."""
    from coordinator.commands import submit as jobs
    from coordinator.run.signals import Interrupts

    if stop or status:
        print(visible(jobs.stop(address, stop) if stop else jobs.status_of(address, status)))
        return
    if config is None:
        raise ConfigError("submit: name an experiment file, or a job by --stop or --status")
    client, job = jobs.submit(address, config, overrides or [], output)
    print(visible(f"{job}: submitted; its run will be in {output} there"))
    if not follow:
        return
    try:
        with Interrupts(handled=True):
            raise typer.Exit(jobs.follow(client, job, address, lambda line: print(line, flush=True)))
    except KeyboardInterrupt:
        print(f"{job} goes on; to end it: peer-consensus submit --address {address} --stop {job}")
        raise


@app.command()
def export(
    run: Annotated[
        Path,
        typer.Argument(help="the folder of a run that has a checkpoint", callback=path_reader("run")),
    ],
    peer: Annotated[int, typer.Option(help="which peer")],
    form: ExportFormat = "state_dict",
    to: ExportFile = None,
) -> None:
    """Write a peer's trained network, and print the lines of Python that load it."""
    from coordinator.commands.export import export as write

    for line in write(run, peer, to, form):
        print(visible(line))


@app.command()
def ablate(
    config: AblationFile,
    overrides: Overrides = None,
    output: Output = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the cells and start nothing")] = False,
    quiet: Quiet = False,
    watch: Watch = False,
    port: Port = None,
) -> None:
    """Run all cells of an ablation with all seeds, and compare them; the same command continues."""
    from coordinator.ablations.console import run_and_show
    from coordinator.ablations.grids.grid import load_ablation
    from coordinator.commands.run import exit_by

    console = _console()
    with live_page(watch and not dry_run, port, console, quiet) as page:
        ablation = load_ablation(config, overrides or [])
        exit_by(run_and_show(ablation, output, console, page.start_when_there, dry_run, quiet))


@app.command()
def topology(
    what: Annotated[
        str,
        typer.Argument(
            help="a kind (ring, complete, ...), a file of links (.csv, .graphml, ...), an experiment file, or 'list'"
        ),
    ] = "list",
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="num_peers=16, seed=0, and keys of the kind; after 'list' files, too", show_default=False),
    ] = None,
    plot: Plot = None,
    compare: Compare = None,
) -> None:
    """Degree, links, diameter, and the gap of the gossip and the pooling matrix of a topology, or of all."""
    from coordinator.commands import topology_compare

    topology_compare.show(what, settings or [], plot, compare, _console())


@app.command()
def network(
    config: ExperimentFile,
    overrides: Overrides = None,
    rounds: Annotated[int | None, typer.Option(help="instead of run.rounds", min=1)] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="draw what each peer does in the first rounds into this PNG, PDF or SVG",
            callback=path_reader("--plot"),
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(help="write every event into this Parquet file", callback=path_reader("--events")),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print all of it as JSON, and nothing else")] = False,
) -> None:
    """What the simulated network of an experiment comes to, without training: time, ages, losses, critical path."""
    from coordinator.commands.network import show

    show(config, overrides or [], rounds, plot, events, json, _console(stderr=json))


@app.command()
def config(
    key: Annotated[
        str,
        typer.Argument(help="a section, key or kind: exchange, peers.optimizer.lr, topology.ring", show_default=False),
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="print all of it as configs/REFERENCE.md")] = False,
) -> None:
    """The keys of an experiment file: what they mean, which values they take, what they are by default."""
    from coordinator.commands import config

    if markdown:
        print(config.markdown(), end="")
    else:
        config.show(key, _console())


@app.command()
def ui(
    output: Store = Path("runs"),
    port: Annotated[int, typer.Option(help="port on 127.0.0.1", min=1, max=65535)] = 5000,
) -> None:
    """Open the MLflow UI on the runs of a folder, on this machine only."""
    from coordinator.commands.ui import serve

    raise typer.Exit(serve(output, port))


@app.command("watch")
def watch_folder(
    folder: Watchable = Path("runs"),
    port: Annotated[int, typer.Option(help="port on 127.0.0.1; 0: any that is free", min=0, max=65535)] = 8800,
) -> None:
    """Show a run, or a list of runs, live in a browser, on this machine only, while they go on and after it."""
    from coordinator.commands.watch import watch

    raise typer.Exit(watch(folder, port))


def main() -> NoReturn:
    """Entry point: turns user errors into one line each."""
    warnings.showwarning = show_warning
    threads_before = set(threading.enumerate())
    with forgiving() as output, forking_ahead(sys.argv[1:]):
        missing = provide_home()
        if missing:
            warnings.warn(missing, stacklevel=1)
        arguments = sys.argv[1:] or ["--help"]
        code = guarded(lambda: app(arguments, prog_name="peer-consensus", standalone_mode=False))
        lost = why_lost(output)
        if lost:
            in_folder = {"run", "resume", "ablate"} & set(sys.argv[1:2]) and "--json" not in sys.argv
            severity = "note" if in_folder else "error"  # without results in a folder, the lost output was the result
            print(f"{severity}: standard output cannot be written ({lost}): send it elsewhere", file=sys.stderr)
            code = code if in_folder else code or 2
    unended = {thread.name for thread in set(threading.enumerate()) - threads_before} & {"loading", "mlflow", "reading"}
    if unended or sys.argv[1:2] == ["watch"]:
        remove_temporary()
        os._exit(code)  # exiting normally would wait for these threads, or abort, or take seconds to free what was read
    leave(code)
