"""A peer's state as a flat table of tensors: what a checkpoint holds, without pickle."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:
    from peers.peer import Peer


def file_of(folder: str | Path, peer: int) -> Path:
    return Path(folder) / f"peer-{peer:04d}.safetensors"


def save(peer: "Peer", folder: str | Path, completed: int) -> str:
    """Write the settled state after `completed` rounds; returns the file's SHA-256."""
    tensors = {f"network.{name}": tensor for name, tensor in peer.network.state_dict().items()}
    tensors["centre"] = peer.centre
    if peer.teacher is not None:
        tensors |= {f"teacher.{name}": tensor for name, tensor in peer.teacher.network.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in peer.optimizer.tensors().items()}
    about = {
        "peer": peer.index,
        "completed": completed,
        "epoch": peer.teacher.epoch if peer.teacher is not None else 0,
        "failure": peer.failure,
        "failure_round": peer.failure_round,
    }
    path = file_of(folder, peer.index)
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, {"about": json.dumps(about)})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def restore(peer: "Peer", folder: str | Path) -> int:
    """Put a peer into the saved state; returns the number of rounds completed. It has to publish anew."""
    with safe_open(file_of(folder, peer.index), framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    peer.network.load_state_dict(_part(tensors, "network."))
    if peer.teacher is not None:
        peer.teacher.network.load_state_dict(_part(tensors, "teacher."))
        peer.teacher.epoch = about["epoch"]
    peer.centre = tensors["centre"].to(peer.device)
    peer.optimizer.load(_part(tensors, "optimizer."))
    peer.failure, peer.failure_round = about["failure"], about["failure_round"]
    peer.due = peer.pending = peer.sent = None
    return int(about["completed"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
