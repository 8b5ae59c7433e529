"""Export a peer's network from a checkpoint, for use in other programs."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch

from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, url_of
from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.records.run_folder import check_run
from coordinator.scheduling.scheduler import Phase
from peers.learning import snapshot


def export(run: Path, peer: int, to: Path | None = None) -> list[str]:
    """Write the peer's parameters and buffers from the newest intact checkpoint; returns lines to print.

    The file is a plain state_dict in safetensors; its metadata describe the peer. The last three lines are the PyTorch
    code that loads it. Raises: ConfigError.
    """
    check_run("export", run)
    config = load_config(run / "config.toml")
    if not 0 <= peer < config.peers.count:
        raise ConfigError(f"--peer must be 0 to {config.peers.count - 1}, got {peer}")
    to = to or Path(f"peer-{peer}.safetensors")
    found, tensors, notes = _newest(config, run, peer)
    spec = _spec_of(config, peer)
    metadata = {"peer": str(peer), "round": str(found.completed), "run": run.absolute().name, "peers": json.dumps(spec)}
    try:
        safetensors.torch.save_file(tensors, to, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"--to: cannot write '{to}': {error}") from None
    return [
        *notes,
        f"{to}: peer {peer} after round {found.completed}; to load it:",
        *_lines(spec, found.state["shape"], to),
    ]


def _newest(config: RunConfig, run: Path, peer: int) -> tuple[Checkpoint, dict[str, Any], list[str]]:
    """The newest checkpoint with an intact file of the peer, the network's tensors, and notes on damaged ones."""

    def take(found: Checkpoint) -> tuple[Checkpoint, dict[str, Any]]:
        checksum = found.checksums(config.peers.count)[peer]
        return found, snapshot.part(snapshot.read(found.folder, peer, checksum)[1], "network.")

    checkpoints = Checkpoints(url_of(config.checkpoint.path, run.absolute()), config.checkpoint.keep)
    taken, notes = checkpoints.newest_whole(Phase.ROUNDS, take)
    if taken is not None:
        return *taken, notes
    raise ConfigError(
        f"export: '{run}' has no whole checkpoint{': ' + '; '.join(notes) if notes else ''}: run it with "
        "checkpoint.every above 0"
    )


def _spec_of(config: RunConfig, peer: int) -> dict[str, Any]:
    kind = config.peers.kind_of(peer).model_dump(mode="json")
    return {name: kind[name] for name in ("model", "norm", "head")}


def _lines(spec: dict[str, Any], shape: list[int], to: Path) -> list[str]:
    """Three lines of PyTorch code that load the file."""
    return [
        "from safetensors.torch import load_file; from peers.networks.config import PeerKind"
        f"network = PeerKind.model_validate({spec!r}).build_network({tuple(shape)!r})",
        f"network.load_state_dict(load_file({str(to)!r})); network.eval()",
    ]
