"""Initial weights from a file: read once by the coordinator, and loaded into every peer's encoder."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HeldWeights:
    """The weights of a file, compared by their digest."""

    digest: str
    tensors: Mapping[str, Tensor] = field(compare=False, repr=False)


def load_weights(key: str, module: nn.Module, weights: Mapping[str, Tensor], left_out: Sequence[str]) -> None:
    """Load an encoder's weights, in place.

    left_out: patterns of names that may be missing in `weights`, or left over. Raises: ValueError.
    """
    own = module.state_dict()

    def unlisted(names: set[str]) -> list[str]:
        return sorted(name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in left_out))

    missing, over = unlisted(own.keys() - weights.keys()), unlisted(weights.keys() - own.keys())
    for names, what in ((missing, "has no"), (over, "has weights that the network lacks:")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"{key}: the file {what} '{names[0]}'{more}: name them in {key}_except, where * stands for any "
                "characters, or take the file of this network"
            )
    fitting = {name: tensor for name, tensor in weights.items() if name in own}
    for name, tensor in fitting.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{key}: '{name}' must be of shape {tuple(own[name].shape)}, got {tuple(tensor.shape)}: take the "
                f"file of this network, or rename what is not to be loaded and name it in {key}_except"
            )
    module.load_state_dict(fitting, strict=False)


def read_weights(key: str, path: str) -> dict[str, Tensor]:
    """The weights in a safetensors file, or in one that torch.save has written. Raises: ValueError."""
    import safetensors
    import safetensors.torch

    try:
        if path.endswith(".safetensors"):
            return dict(safetensors.torch.load_file(path))
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{key}: '{path}' does not exist: name a file of weights") from None
    except Exception as error:  # both readers raise many types
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(
            f"{key}: '{path}' has no weights that can be read ({reason}): save a state_dict, with safetensors or "
            "torch.save"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{key}: '{path}' must hold a state_dict, names with tensors: save module.state_dict()")
    return found


def named_state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and then buffers by name, with those that are not saved; tied ones once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
