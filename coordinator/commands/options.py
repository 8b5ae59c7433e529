"""Options that several commands have; imported with the command line, so it imports next to nothing itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from coordinator.experiment.reading import path_reader

if TYPE_CHECKING:
    from coordinator.commands.watch import Beside

ExperimentFile = Annotated[Path, typer.Argument(help="experiment file, TOML", callback=path_reader("config"))]
AblationFile = Annotated[Path, typer.Argument(help="ablation file, TOML", callback=path_reader("config"))]
EndedRun = Annotated[
    Path,
    typer.Argument(help="the folder of a run that was killed, interrupted or stopped", callback=path_reader("run")),
]
Watchable = Annotated[
    Path,
    typer.Argument(
        help="a run's folder, that of an ablation, or one of runs, as given to run as --output",
        callback=path_reader("folder"),
    ),
]
ExportFormat = Annotated[
    Literal["state_dict", "torchscript", "onnx"],
    typer.Option("--format", help="of the file; with normalisation in its metadata (state_dict) or inside"),
]
ExportFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "--to",
        help="file to write; by default peer-<i>.safetensors, .pt or .onnx here",
        callback=path_reader("--output"),
    ),
]
ShippedFile = Annotated[
    Path | None,
    typer.Argument(help="experiment file, in the current folder", callback=path_reader("config")),
]
Plot = Annotated[
    Path | None,
    typer.Option(help="draw the links into this PNG, PDF or SVG", callback=path_reader("--plot")),
]
Compare = Annotated[
    str | None,
    typer.Option(help="kinds and files of links, with commas between: side by side", show_default=False),
]
Store = Annotated[
    Path,
    typer.Argument(help="the folder given to run as --output", callback=path_reader("output")),
]
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value, values in TOML", show_default=False)]
Output = Annotated[
    Path,
    typer.Option(
        help="folder in which the run's folder and the MLflow store are made", callback=path_reader("--output")
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print summary.json as the last output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print warnings, and at the end verdicts and folder only")]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="show it live in a browser, at the address that is printed, on this machine only; on a terminal the page "
        "stays after the end until Ctrl-C, else, and with --json or --quiet, it ends with the command",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(help="of --watch, on 127.0.0.1; by default 8800, 0: any that is free", min=0, max=65535),
]


def live_page(wanted: bool, port: int | None, console: Console, ends: bool) -> "Beside":
    """The live page beside a command, if it is wanted. ends: it ends with the command, also on a terminal."""
    from coordinator.commands.watch import Beside
    from coordinator.records.plain_text import say

    stays = console.is_terminal and not ends
    return Beside(wanted, port, stays, lambda line: say(console, line, whole=True))
