"""Export a peer's network from a checkpoint, for use in other programs."""

import json
from pathlib import Path
from typing import Any

from coordinator.checkpoints.trained_peers import trained_peer
from coordinator.commands.export_formats import FORMATS, SUFFIXES, Format
from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.records.run_folder import check_run

MOST_SHOWN = 4  # channels whose normalisation is printed


def export(run: Path, peer: int, to: Path | None = None, form: Format = "state_dict") -> list[str]:
    """Write a peer's network, as in the newest intact checkpoint, with its normalisation; returns lines to print.

    The lines are Python code: comments on the file, then what loads it and defines `peer(images)`, from raw images to
    (features, outputs). Raises: ConfigError.
    """
    check_run("export", run)
    config = load_config(run / "config.toml")
    trained = trained_peer(config, run, peer)
    to = to or Path(f"peer-{peer}{SUFFIXES[form]}")
    inputs = trained.inputs.to_json()
    about = {"peer": str(peer), "round": str(trained.completed), "run": run.absolute().name}
    exported = FORMATS[form](trained, _spec_of(config, peer), about | {"inputs": json.dumps(inputs)}, to)
    try:
        to.write_bytes(exported.content)
    except OSError as error:
        raise ConfigError(f"--output: cannot write '{to}': {error.strerror or error}") from None
    return [
        *(f"# {note}" for note in trained.notes),
        f"# {to}: peer {peer} after round {trained.completed}; {_normalisation(inputs, form)}",
        f"# to load it (needs {exported.needs}):",
        *exported.code.splitlines(),
    ]


def _spec_of(config: RunConfig, peer: int) -> dict[str, Any]:
    kind = config.peers.kind_of(peer).model_dump(mode="json")
    return {name: kind[name] for name in ("model", "norm", "head")}


def _normalisation(inputs: dict[str, Any], form: Format) -> str:
    mean, std = (inputs["normalisation"][name] for name in ("mean", "std"))
    values = f" (mean {mean}, std {std})" if len(mean) <= MOST_SHOWN else ""
    where = "in its metadata" if form == "state_dict" else "inside"
    of = "pixels / 255 are normalised" if inputs["dtype"] == "uint8" else "inputs are normalised"
    return f"{of}{values}, {where}"
