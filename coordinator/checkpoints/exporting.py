"""Writes a trained peer as a file for use in other programs, and the lines of Python that load it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coordinator.checkpoints.export_formats import FORMATS
from coordinator.checkpoints.trained_peers import trained_peer
from coordinator.experiment.config import ConfigError, RunConfig

MOST_SHOWN = 4  # channels whose normalisation is printed


def export_peer(config: RunConfig, run: Path, peer: int, to: Path, form: str) -> list[str]:
    """Write a peer's network, as in the newest intact checkpoint, with its normalisation; returns lines to print.

    config: of the run, with the objects that it was given from Python. The lines are Python code: comments on the file,
    then what loads it and defines `peer(images)`, from raw images to (features, outputs). Raises: ConfigError.
    """
    if form not in FORMATS:
        raise ConfigError(f"form: must be one of {', '.join(FORMATS)}, got {form!r}")
    trained = trained_peer(config, run, peer)
    inputs, sensors = trained.inputs.to_json(), [step.name for step in trained.inputs.sensors]
    about = {"peer": str(peer), "round": str(trained.completed), "run": run.absolute().name}
    exported = FORMATS[form](trained, _spec_of(config, peer), about | {"inputs": json.dumps(inputs)}, to)
    try:
        to.write_bytes(exported.content)
    except OSError as error:
        raise ConfigError(f"output: cannot write '{to}': {error.strerror or error}") from None
    return [
        *(f"# {note}" for note in trained.notes),
        f"# {to}: peer {peer} after round {trained.completed}; {_normalisation(inputs, form, sensors)}",
        f"# to load it (needs {exported.needs}):",
        *exported.code.splitlines(),
    ]


def _spec_of(config: RunConfig, peer: int) -> dict[str, Any]:
    """What the network is built of; the files of initial weights are not needed, since it gets the trained ones."""
    kind = config.peers.kind_of(peer).model_dump(mode="json")
    return {name: kind[name] for name in ("model", "norm", "head", "initial")}


def _normalisation(inputs: dict[str, Any], form: str, sensors: Sequence[str]) -> str:
    mean, std = (inputs["normalisation"][name] for name in ("mean", "std"))
    values = f" (mean {mean}, std {std})" if len(mean) <= MOST_SHOWN else ""
    where = "in its metadata" if form == "state_dict" else "inside"
    of = "pixels / 255" if inputs["dtype"] == "uint8" else "inputs"
    seen = f"go through the peer's sensors ({', '.join(sensors)}) and " if sensors else ""
    return f"{of} {seen}are normalised{values}, {where}"
