"""The command line. It reads, delegates and prints; bad input is one line and exit code 2."""

import os
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from coordinator.commands.outcome import guarded, show_warning
from coordinator.commands.streams import forgiving, why_lost
from coordinator.experiment.home import provide_home, remove_temporary
from coordinator.experiment.reading import ConfigError, path_reader

app = typer.Typer(  # commands import their own modules, so that --help and completion need not wait for torch
    pretty_exceptions_enable=False,
    help="Simulate networks that learn only from each other's outputs, and test whether the exchange taught them.",
)
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value, values in TOML", show_default=False)]
Output = Annotated[
    Path,
    typer.Option(
        help="folder in which the run's folder and the MLflow store are made", callback=path_reader("--output")
    ),
]


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
    config: Annotated[
        Path,
        typer.Argument(help="experiment file, TOML", callback=path_reader("config")),
    ],
    overrides: Overrides = None,
    output: Output = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and start nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print summary.json as the last output")] = False,
    address: Annotated[str, typer.Option(help="hosting.address: auto, HOST:PORT or ray://HOST:PORT")] = "",
    seeds: Annotated[
        str | None, typer.Option(help="3: seeds 0, 1, 2 (from run.seed on); 1,2,5: these; then verdicts are over seeds")
    ] = None,
) -> None:
    """Run an experiment; with --seeds, once for each seed side by side, and conclude over the seeds."""
    from coordinator.commands.run import carry_out, exit_by, hint, with_address
    from coordinator.experiment.config import load_config
    from coordinator.experiment.plan import prepare
    from coordinator.records.terminal import Live
    from coordinator.reports.plan import NOTHING_STARTED, print_plan
    from coordinator.run.simulate import simulate

    console = _console(stderr=json)
    loaded = load_config(config, with_address(overrides or [], address))
    if seeds is not None:
        from coordinator.ablations.console import run_and_print
        from coordinator.ablations.seeds import over_seeds, read_seeds  # a single run need not wait for it

        over = over_seeds(loaded, read_seeds(seeds, loaded.run.seed))
        exit_by(run_and_print(over, output, console, dry_run, json))
    elif dry_run:
        print_plan(prepare(loaded), console)
        console.print(NOTHING_STARTED, highlight=False)
    else:
        execute = partial(simulate, loaded, output, [Live(console)])
        carry_out(lambda interrupts: execute(interrupts=interrupts), console, json, hint(config, overrides or []))


@app.command()
def resume(
    run: Annotated[
        Path,
        typer.Argument(
            help="the folder of a run that was killed, interrupted or stopped",
            callback=path_reader("run"),
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="of hosting, tracking and checkpoint", show_default=False)
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="rounds in all; more than before continues a finished run")] = None,
    json: Annotated[bool, typer.Option("--json", help="print summary.json as the last output")] = False,
) -> None:
    """Continue a run from its newest checkpoint."""
    from coordinator import resume as go_on
    from coordinator.commands.run import carry_out
    from coordinator.records.terminal import Live

    console = _console(stderr=json)
    changes = overrides or []
    carry_out(lambda interrupts: go_on(run, rounds, changes, [Live(console)], interrupts=interrupts), console, json)


@app.command()
def submit(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="experiment file, in the current folder",
            callback=path_reader("config"),
        ),
    ] = None,
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
        print(jobs.stop(address, stop) if stop else jobs.status_of(address, status))
        return
    if config is None:
        raise ConfigError("submit: name an experiment file, or a job by --stop or --status")
    client, job = jobs.submit(address, config, overrides or [], output)
    print(f"{job}: submitted; its run will be in {output} there")
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
        typer.Argument(
            help="the folder of a run that has a checkpoint",
            callback=path_reader("run"),
        ),
    ],
    peer: Annotated[int, typer.Option(help="which peer")],
    form: Annotated[
        Literal["state_dict", "torchscript", "onnx"],
        typer.Option("--format", help="of the file; with normalisation in its metadata (state_dict) or inside"),
    ] = "state_dict",
    to: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--to",
            help="file to write; by default peer-<i>.safetensors, .pt or .onnx here",
            callback=path_reader("--output"),
        ),
    ] = None,
) -> None:
    """Write a peer's trained network, and print the lines of Python that load it."""
    from coordinator.commands.export import export as write

    for line in write(run, peer, to, form):
        print(line)


@app.command()
def ablate(
    config: Annotated[
        Path,
        typer.Argument(
            help="ablation file, TOML",
            callback=path_reader("config"),
        ),
    ],
    overrides: Overrides = None,
    output: Output = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the cells and start nothing")] = False,
) -> None:
    """Run all cells of an ablation with all seeds, and compare them; the same command continues."""
    from coordinator.ablations.console import run_and_print
    from coordinator.ablations.grid import load_ablation
    from coordinator.commands.run import exit_by

    exit_by(run_and_print(load_ablation(config, overrides or []), output, _console(), dry_run))


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
    plot: Annotated[
        Path | None,
        typer.Option(
            help="draw the links into this PNG, PDF or SVG",
            callback=path_reader("--plot"),
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="kinds and files of links, with commas between: side by side", show_default=False),
    ] = None,
) -> None:
    """Degree, links, diameter, and the gap of the gossip and the pooling matrix of a topology, or of all."""
    from coordinator.commands import topology_compare

    topology_compare.show(what, settings or [], plot, compare, _console())


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
    output: Annotated[
        Path,
        typer.Argument(
            help="the folder given to run as --output",
            callback=path_reader("output"),
        ),
    ] = Path("runs"),
    port: Annotated[int, typer.Option(help="port on 127.0.0.1", min=1, max=65535)] = 5000,
) -> None:
    """Open the MLflow UI on the runs of a folder, on this machine only."""
    from coordinator.commands.ui import serve

    raise typer.Exit(serve(output, port))


def main() -> NoReturn:
    """Entry point: turns user errors into one line each."""
    warnings.showwarning = show_warning
    threads_before = set(threading.enumerate())
    with forgiving() as output:
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
    if {thread.name for thread in set(threading.enumerate()) - threads_before} & {"loading", "mlflow"}:
        remove_temporary()
        os._exit(code)  # exiting normally would wait for these threads, or abort
    sys.exit(code)


def _console(stderr: bool = False) -> Console:
    """A console; for a file or a pipe, which has no width, wide enough for all tables."""
    console = Console(stderr=stderr, soft_wrap=True)
    return console if console.is_terminal else Console(stderr=stderr, soft_wrap=True, width=160)
