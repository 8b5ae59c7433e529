"""A peer's state as a flat table of tensors, the content of a checkpoint, without pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, device

from peers.exchange.messages import Message
from peers.exchange.wire import Wire
from peers.learning.lies import Liar
from peers.learning.listening import Ear
from peers.learning.peer_files import DamagedCheckpoint, PeerFiles, file_of
from peers.learning.teacher import Teacher
from peers.learning.twin import Twin
from peers.networks.network import Network
from peers.networks.optimizers import OptimizerState


@runtime_checkable
class Learned(Protocol):
    """What learning changes."""

    device: device
    network: Network
    centre: Tensor
    teacher: Teacher | None
    optimizer: OptimizerState
    failure: str
    failure_round: int
    liar: Liar | None
    ear: Ear | None


@runtime_checkable
class Saved(Learned, Protocol):
    """The state of a peer in a checkpoint. A pending forward pass is not saved: the peer publishes again."""

    index: int
    twin: Twin | None


class Kept(NamedTuple):
    """An older message of a peer that somebody may still use; remote: whether on another host, too."""

    message: Message
    remote: bool


def content(peer: Saved, completed: int, kept: Sequence[Kept] = ()) -> bytes:
    """The state after `completed` rounds, as a checkpoint has it. kept: its messages that are still to be used."""
    tensors = _tensors(peer)
    about = {"peer": peer.index, "completed": completed, **_about(peer)}
    if peer.twin is not None:
        tensors |= {f"twin.{name}": tensor for name, tensor in _tensors(peer.twin.peer).items()}
        about["twin"] = _about(peer.twin.peer)
    if kept:
        about["messages"] = [described(each) for each in kept]
        tensors |= {
            f"message.{each.message.round_index}.{place}": torch.tensor(plain(array))
            for each in kept
            for place, array in enumerate(each.message.payload or ())
        }
    saved: bytes = safetensors.torch.save(unshared(tensors), {"about": json.dumps(about)})
    return saved


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each contiguous and in memory of its own, since safetensors refuses tied weights."""
    found, seen = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    return found


def restore(peer: Saved, saved: bytes) -> tuple[int, list[Kept]]:
    """Load a peer's saved state; returns the number of rounds completed, and its messages that are still to be used.

    Raises: DamagedCheckpoint.
    """
    about, tensors = _parsed(saved, peer.index)
    _load(peer, about, tensors)
    if peer.twin is not None:
        _load(peer.twin.peer, about["twin"], part(tensors, "twin."))
    messages = [message_of(peer.index, each, tensors) for each in about.get("messages", ())]
    return int(about["completed"]), messages


def _tensors(peer: Learned) -> dict[str, Tensor]:
    tensors = {f"network.{name}": tensor for name, tensor in peer.network.state_dict().items()}
    tensors["centre"] = peer.centre
    if peer.teacher is not None:
        tensors |= {f"teacher.{name}": tensor for name, tensor in peer.teacher.network.state_dict().items()}
        tensors |= {f"anchored.{name}": tensor for name, tensor in peer.teacher.tensors().items()}
    if peer.liar is not None:
        tensors |= {f"liar.{name}": tensor for name, tensor in peer.liar.tensors().items()}
    return tensors | {f"optimizer.{name}": tensor for name, tensor in peer.optimizer.tensors().items()}


def _about(peer: Learned) -> dict[str, Any]:
    epoch = peer.teacher.epoch if peer.teacher is not None else 0
    found: dict[str, Any] = {"epoch": epoch, "failure": peer.failure, "failure_round": peer.failure_round}
    return found if peer.ear is None or not peer.ear.memory else {**found, "memory": peer.ear.memory}


def _load(peer: Learned, about: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    peer.network.load_state_dict(part(tensors, "network."))
    if peer.teacher is not None:
        peer.teacher.network.load_state_dict(part(tensors, "teacher."))
        peer.teacher.load(part(tensors, "anchored."))
        peer.teacher.epoch = about["epoch"]
    peer.centre = tensors["centre"].to(peer.device)
    peer.optimizer.load(part(tensors, "optimizer."))
    peer.failure, peer.failure_round = about["failure"], about["failure_round"]
    if peer.ear is not None:
        peer.ear.memory = {int(teacher): weight for teacher, weight in about.get("memory", {}).items()}
    if peer.liar is not None:
        peer.liar.load(part(tensors, "liar."))


def described(kept: Kept) -> dict[str, Any]:
    """A message as JSON, all but its arrays."""
    message = kept.message
    dtypes = None if message.payload is None else [str(array.dtype) for array in message.payload]
    wire = {"dtype": message.wire.dtype, "top_k": message.wire.top_k}
    return {
        "round": message.round_index,
        "wire": wire,
        "width": message.width,
        "checkpoint": message.checkpoint,
        "dtypes": dtypes,
        "remote": kept.remote,
    }


def message_of(sender: int, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Kept:
    """The message that `described` has described."""
    number, dtypes = int(about["round"]), about["dtypes"]
    payload = None
    if dtypes is not None:
        arrays = [tensors[f"message.{number}.{place}"].numpy() for place in range(len(dtypes))]
        payload = tuple(array.view(np.dtype(dtype)) for array, dtype in zip(arrays, dtypes, strict=True))
    message = Message(sender, number, Wire(**about["wire"]), about["width"], payload, about["checkpoint"])
    return Kept(message, about["remote"])


def plain(array: np.ndarray) -> np.ndarray:
    """The array, with unsigned integers, which not every version of the format knows, seen as signed ones."""
    return array.view(np.dtype(f"i{array.itemsize}")) if array.dtype.kind == "u" else array


def read(folder: str, peer: int, sha256: str = "") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata of a peer in a checkpoint, and its tensors. Raises: DamagedCheckpoint.

    sha256: the expected checksum of the peer's content, not compared if empty.
    """
    return _parsed(PeerFiles(folder).content(peer, sha256), peer)


def _parsed(saved: bytes, peer: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        header = json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])
        return json.loads(header["__metadata__"]["about"]), safetensors.torch.load(saved)
    except (ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise DamagedCheckpoint(f"{file_of(peer)} is no checkpoint of a peer: {error}") from None


def digest(network: Network) -> bytes:
    """SHA-256 over a network's parameters and buffers, including names and shapes."""
    sha = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.digest()


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
