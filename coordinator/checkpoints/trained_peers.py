"""Brings back a trained peer from the newest intact checkpoint of a run; it needs neither Ray nor the data set."""

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from torch import Tensor

from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, url_of
from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.scheduling.scheduler import Phase
from peers.base.brought_errors import BroughtError, of_peer
from peers.learning import snapshot
from peers.networks import drawing
from peers.networks.network import Network
from peers.networks.trained import InputFormat, TrainedPeer


def trained_peer(config: RunConfig, run: Path, peer: int) -> TrainedPeer:
    """A peer of the run in a folder, as in its newest intact checkpoint: never one of a control run.

    What is damaged is told in the notes.

    Raises: ConfigError, if there is no such peer or checkpoint, or if the network is another than the run's.
    """
    if isinstance(peer, bool) or not isinstance(peer, Integral) or not 0 <= peer < config.peers.count:
        raise ConfigError(f"peer: must be 0 to {config.peers.count - 1}, got {peer!r}")
    found, about, tensors, notes = _newest(config, run, peer)
    inputs = _inputs_of(found, int(peer))
    kind = config.peers.kind_of(peer)
    try:
        with of_peer(peer):
            network = drawing.seeded(lambda: kind.build_network(inputs.shape, peer, "any"), 0)
    except BroughtError as error:
        raise ConfigError(str(error)) from None
    _load(network, tensors, peer)
    if about["failure"]:
        notes.append(f"peer {peer} has dropped out: {about['failure']}")
    return TrainedPeer(network.cpu().eval(), inputs, found.completed, tuple(notes), int(peer))


def _newest(config: RunConfig, run: Path, peer: int) -> tuple[Checkpoint, dict[str, Any], dict[str, Tensor], list[str]]:
    """The newest checkpoint with an intact file of the peer, that file's content, and a note on each damaged one."""

    def take(found: Checkpoint) -> tuple[Checkpoint, dict[str, Any], dict[str, Tensor]]:
        about, tensors = snapshot.read(found.folder, peer, found.checksums(config.peers.count)[peer])
        return found, about, snapshot.part(tensors, "network.")

    url = url_of(config.checkpoint.path, run.absolute())
    try:
        taken, notes = Checkpoints(url, config.checkpoint.keep).newest_whole(Phase.ROUNDS, take)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"checkpoint.path: '{without_secrets(url)}' cannot be read ({without_secrets(str(error))}): bring it back"
        ) from None
    if taken is not None:
        return *taken, notes
    raise ConfigError(
        f"'{run}' has no whole checkpoint{': ' + '; '.join(notes) if notes else ''}: run it with checkpoint.every "
        "above 0, on its own if it is of an ablation or of several seeds, which keep none"
    )


def _inputs_of(found: Checkpoint, peer: int) -> InputFormat:
    try:
        return InputFormat.of_peer(found.state["data"], peer)
    except KeyError:
        raise ConfigError(
            f"'{found.folder}' was written by an older version of peer-consensus, which kept no normalisation: resume "
            "the run with --rounds for one round more, or use that version"
        ) from None


def _load(network: Network, tensors: Mapping[str, Tensor], peer: int) -> None:
    """Load the weights of a checkpoint. Raises: ConfigError, if they are those of another network."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    differing = sorted(name for name in {*shapes, *own} if shapes.get(name) != own.get(name))
    if differing:
        name = differing[0]
        saved, built = (_shown(each.get(name)) for each in (shapes, own))
        raise ConfigError(
            f"network: peer {peer} has '{name}' of {saved} in its checkpoint, but the network built for it of {built}: "
            "build the network that the run was started with"
        )
    network.load_state_dict(dict(tensors))


def _shown(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else f"shape {shape}"
