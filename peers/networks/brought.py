"""Networks and heads that users bring: from Python, or imported; and weights from a file."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from peers.base.brought import Brought, Given, Imported, taken
from peers.base.brought_errors import BroughtError, explained
from peers.base.section import Variant
from peers.data.formats.shapes import Shape
from peers.networks import models
from peers.networks.network import Network, OwnHead, blank_pass

INDEX = ("peer", "peer_index", "index", "i")  # names of the argument that gets a peer's index


class BroughtModel(Brought):
    """A network of the user's own.

    It maps a batch of normalised images to features [batch, features], which get a head of ours, or to a pair of
    features and outputs [batch, outputs]. It is built once for each peer, by a class or function that is called with
    the shape of an image and the peer's index, as far as it has arguments without defaults (or named shape and peer);
    its random draws come from the peer's own seed. A module that was built before is copied; see `peers.initial`.
    """

    field: ClassVar[str] = "peers.model"

    @property
    def by_peer(self) -> bool:
        """Whether peers may get networks of different architecture."""
        value = self.bring()
        return not isinstance(value, nn.Module) and (isinstance(value, list | tuple) or len(_arguments(value)) == 2)

    def build(self, shape: Shape, norm: str) -> nn.Module:
        """The network of peer 0, with its own normalisation layers."""
        return self.build_for(shape, 0)

    def build_for(self, shape: Shape, peer: int) -> nn.Module:
        """The peer's network. Raises: BroughtError."""
        value = self.bring()
        if isinstance(value, list | tuple):
            value = value[peer]
        return _made(self.origin, value, ("", " of the shape of an image"), lambda: _arguments(value, shape, peer))

    def check_count(self, count: int) -> None:
        """Raises: BroughtError, if a list has not one network for each peer."""
        value = self.bring()
        if isinstance(value, list | tuple) and len(value) != count:
            raise BroughtError(
                f"{self.origin}: must have a network for each of the {count} peers, got {len(value)}: change either"
            )

    def is_built(self, peer: int) -> bool:
        """Whether the peer's network was built, and has its weights, before it was brought."""
        value = self.bring()
        return isinstance(value[peer] if isinstance(value, list | tuple) else value, nn.Module)


class ImportedModel(Imported, BroughtModel):
    """A network of your own: a class or function, called with the shape of an image (and the peer's index)."""

    @classmethod
    def example(cls) -> "ImportedModel":
        return cls(target="peers.networks.models:mlp", args={"hidden": [8], "norm": "batch"})


class GivenModel(Given, BroughtModel):
    """A network that was given from Python, as a run's own config says; no file can ask for it."""

    argument = "network"

    @classmethod
    def example(cls) -> "GivenModel":
        return cls.of(functools.partial(models.mlp, hidden=(8,), norm="batch"))


class BroughtHead(Brought):
    """A head of the user's own: a class or function of the number of features that makes a torch.nn.Module."""

    field: ClassVar[str] = "peers.head"

    @property
    def is_built(self) -> bool:
        """Whether it was built, and has its weights, before it was brought."""
        return isinstance(self.bring(), nn.Module)

    def build(self, in_features: int) -> nn.Module:
        return _made(self.origin, self.bring(), (" for a number of features", ""), lambda: (in_features,))


class ImportedHead(Imported, BroughtHead):
    """A head of your own: a class or function, called with the number of features."""

    @classmethod
    def example(cls) -> "ImportedHead":
        return cls(target="torch.nn:Linear", args={"out_features": 6})


class GivenHead(Given, BroughtHead):
    """A head that was given from Python, as a run's own config says; no file can ask for it."""

    argument = "head"

    @classmethod
    def example(cls) -> "GivenHead":
        return cls.of(functools.partial(nn.Linear, out_features=6))


def _arguments(value: Any, shape: Shape = (), peer: int = 0) -> tuple[Any, ...]:
    """What a class or function that makes a network is called with. Raises: BroughtError."""
    found = taken(value, {"shape": shape, "peer": peer}, untold=1) if callable(value) else ()
    if len(found) == 2:
        name = list(inspect.signature(value).parameters)[1]
        if name not in INDEX:
            raise BroughtError(
                f"peers.model: its function needs '{name}', and gets the shape of an image and, under the name peer, "
                f"the index of the peer: give '{name}' a default, or call it peer"
            )
    return found


def _made(origin: str, value: Any, words: tuple[str, str], arguments: Callable[[], tuple[Any, ...]]) -> nn.Module:
    """A copy of a module that was brought, or of what a class or function makes of `arguments`.

    words: what it must be for, and the function of what to wrap it in. Raises: BroughtError.
    """
    if isinstance(value, nn.Module):
        return usable(origin, copied(origin, value))
    if not callable(value):
        raise BroughtError(
            f"{origin}: must be a torch.nn.Module, or a class or function that makes one{words[0]}, got a "
            f"{type(value).__name__}: wrap it in a function{words[1]}"
        )
    with explained(origin):
        module = value(*arguments())
    if not isinstance(module, nn.Module):
        raise BroughtError(f"{origin}: must make a torch.nn.Module, got a {type(module).__name__}: return the module")
    return copied(origin, usable(origin, module))  # it may give the same module to all peers


def copied(origin: str, module: nn.Module) -> nn.Module:
    """A copy of a module, on the CPU. Raises: BroughtError."""
    try:
        copy_of: nn.Module = copy.deepcopy(module)
        return copy_of.cpu()
    except Exception as error:  # an attribute may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise BroughtError(
            f"{origin}: cannot be copied ({reason}): keep no outputs of a pass as attributes, and no tensors on the "
            "meta device"
        ) from None


def usable(origin: str, module: nn.Module) -> nn.Module:
    """The module, whose state can be trained, sent and saved. Raises: BroughtError."""
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise BroughtError(f"{origin}: keeps '{name}', which is no tensor, in its state: leave it out")
        if tensor.device.type != "cpu":
            raise BroughtError(
                f"{origin}: '{name}' is on the device {tensor.device}: build it on the CPU; the run moves it"
            )
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise BroughtError(
                f"{origin}: weights must be float32, got {_dtype(parameter)} for '{name}': call .float(); "
                "hosting.precision is for faster arithmetic"
            )
    return module.train()


def join(model: Variant, encoder: nn.Module, head: Variant, shape: Shape, head_anew: bool = False) -> Network:
    """The network of an encoder and a head of which at least one was brought.

    head_anew: whether the weights of the user's head are drawn anew. Raises: BroughtError.
    """
    origin = (model if isinstance(model, Brought) else head).origin  # type: ignore[attr-defined]
    with explained(origin):
        found = blank_pass(encoder, shape)
    is_pair = isinstance(found, list | tuple) and len(found) == 2
    parts = list(found) if is_pair else [found]
    if not all(map(_is_batch, parts)):
        raise BroughtError(
            f"{origin}: must return features of shape [batch, features], or a pair of features and outputs [batch, "
            f"outputs], all float32, got {_described(found)} for a batch of 2: flatten what has more axes"
        )
    joined = OwnHead() if is_pair else head.build(parts[0].shape[1])  # type: ignore[attr-defined]
    if isinstance(head, Brought) and not is_pair:
        _check_head(head.origin, joined, parts[0].detach())
        joined = draw_anew(head.origin, joined) if head_anew else joined
    return Network(encoder, joined, shape, origin)


def _check_head(origin: str, head: nn.Module, features: Tensor) -> None:
    with explained(origin), torch.no_grad():
        buffers = {name: buffer.clone() for name, buffer in head.named_buffers()}
        found = functional_call(head, buffers, (features.clone(),))
    if not _is_batch(found):
        raise BroughtError(
            f"{origin}: must return float32 outputs of shape [batch, outputs], got {_described(found)} for a batch of 2"
        )


def _is_batch(found: object) -> bool:
    shaped = isinstance(found, Tensor) and found.ndim == 2 and len(found) == 2 and found.shape[1] > 0
    return shaped and found.dtype == torch.float32  # type: ignore[attr-defined]


def _described(found: object) -> str:
    if isinstance(found, Tensor):
        return f"shape {tuple(found.shape)}" + ("" if found.dtype == torch.float32 else f" of {_dtype(found)}")
    if isinstance(found, list | tuple):
        return f"{len(found)} values ({', '.join(map(_described, found))})"
    return f"a {type(found).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def draw_anew(origin: str, module: nn.Module) -> nn.Module:
    """Draw the weights of a module anew, in place, as each of its layers resets its own. Raises: BroughtError."""
    for name, layer in module.named_modules():
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if callable(reset):
            reset()
        elif any(True for _ in layer.parameters(recurse=False)):
            parameter = next(iter(layer._parameters))
            raise BroughtError(
                f"{origin}: nothing draws the weights '{f'{name}.' if name else ''}{parameter}' anew, since "
                f"{type(layer).__name__} has no reset_parameters(): bring a function that builds the network, or keep "
                "the weights with peers.initial = 'given'"
            )
    return module
