"""`Network`: an encoder and a head, and what they return for images of a shape."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from peers.base.brought_errors import BroughtError, explained
from peers.data.formats.shapes import Shape
from peers.networks.drawing import OwnGenerator, noise

Dims = tuple[int, int]
"""How many features a network has, and how many outputs."""

LARGE = 2**28  # bytes of weights from which on a network is not tried out on the CPU, if it is elsewhere


class Network(nn.Module):
    """An encoder and a head: images in, features and outputs out."""

    def __init__(
        self, encoder: nn.Module, head: nn.Module, shape: Shape, origin: str = "", dims: Dims | None = None
    ) -> None:
        """Join `encoder` and `head` for images of `shape`, as a rule (channel, height, width).

        head: an `OwnHead`, if the encoder returns features and outputs. origin: how messages name an encoder that is
        not of this package. dims: if they are known; else two blank images are shown to it.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.origin = origin
        self.noise: int | None = None  # seed of the draws of a forward pass; None: it draws nothing
        features, outputs = dims or (found.shape[1] for found in blank_pass(self, shape))
        self.feature_dim, self.output_dim = int(features), int(outputs)
        self.adapts = False  # whether a forward pass in train mode changes buffers, as BatchNorm's does
        self.fixed: frozenset[str] = frozenset()  # names of parameters that all peers share and nobody trains
        if origin:
            self.noise = 0 if draws(self, shape) else None
            self.adapts = changes_buffers(self, shape)

    def forward(
        self, images: Float[Tensor, "batch *shape"]
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features of the encoder and outputs of the head; with head "none" they are the same tensor."""
        if not self.origin:
            features = self.encoder(images)
            return features, self.head(features)
        with self._own_code(images):
            found = self.encoder(images)
            if isinstance(self.head, OwnHead):
                features, outputs = found
                return features, outputs
            return found, self.head(found)

    def copied_buffers(self) -> dict[str, Tensor]:
        """Copies of its buffers, such as BatchNorm's statistics, by name."""
        return {name: buffer.clone() for name, buffer in self._buffers_now()}

    @torch.no_grad()
    def set_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        """Give its buffers these values. Raises: BroughtError, if the user's code has made another one meanwhile."""
        for name, buffer in self._buffers_now():
            if name not in buffers:
                raise BroughtError(
                    f"peers.model: {self.origin} has made the buffer '{name}' in a forward pass, which is not saved: "
                    "make it in __init__"
                )
            buffer.copy_(buffers[name])

    def with_buffers(
        self, buffers: dict[str, Tensor], images: Float[Tensor, "batch *shape"]
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """A forward pass in which these buffers, which may change, stand in for its own, which do not.

        The same as `functional_call`, which walks through all modules each time: most of a small network's time.
        """
        if self.origin:  # the user's code may do anything with its buffers
            found: tuple[Tensor, Tensor] = functional_call(self, buffers, (images,))
            return found
        own = [held[key] for _, held, key in self._places]
        try:
            for name, held, key in self._places:
                held[key] = buffers[name]
            return self(images)  # type: ignore[no-any-return]
        finally:
            for (_, held, key), buffer in zip(self._places, own, strict=True):
                held[key] = buffer

    @cached_property
    def _places(self) -> list[tuple[str, dict[str, Tensor | None], str]]:
        """The name of each buffer, and where its module holds it. Networks of this package keep their modules."""
        modules = [(f"{path}." if path else "", module._buffers) for path, module in self.named_modules()]
        return [(prefix + key, held, key) for prefix, held in modules for key, at in held.items() if at is not None]

    def _buffers_now(self) -> Iterable[tuple[str, Tensor]]:
        if self.origin:
            return self.named_buffers()
        return ((name, buffer) for name, held, key in self._places if (buffer := held[key]) is not None)

    def features(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """Features alone, without the head's work where it is separate."""
        found: Tensor
        if not self.origin:
            found = self.encoder(images)
            return found
        with self._own_code(images):
            found = self.encoder(images)[0] if isinstance(self.head, OwnHead) else self.encoder(images)
        return found

    @contextmanager
    def _own_code(self, images: Tensor) -> Iterator[None]:
        """What the user's code raises is explained, and what it draws depends on `noise` alone."""
        with explained(self.origin), nullcontext() if self.noise is None else noise(self.noise, images.device):
            yield

    def own_parameters(self) -> list[nn.Parameter]:
        """The parameters but for those that all peers share: what is optimised, and measured as change of weights."""
        return [parameter for name, parameter in self.named_parameters() if name not in self.fixed]

    def draw_from(self, seed: int) -> None:
        """Let the next forward passes draw from this seed, if they draw at all, as Dropout does."""
        if self.noise is not None:
            self.noise = seed


_WIDTHS: dict[Hashable, int] = {}
_DIMS: dict[Hashable, Dims] = {}


def join_ours(encoder: nn.Module, head_of: Callable[[int], nn.Module], shape: Shape) -> Network:
    """A network of this package's modules, whose blank passes draw nothing. head_of: a head for so many features.

    Of those that are built alike only the first is shown blank images: thousands may follow. Alike are modules, not
    their settings, since their code may change between two runs of a process.
    """
    of_encoder = (shape, *_made_of(encoder))
    width = _WIDTHS.get(of_encoder) or _WIDTHS.setdefault(of_encoder, feature_dim(encoder, shape))
    head = head_of(width)
    of_both = (*of_encoder, *_made_of(head))
    network = Network(encoder, head, shape, dims=_DIMS.get(of_both))
    _DIMS[of_both] = network.feature_dim, network.output_dim
    return network


def _made_of(module: nn.Module) -> tuple[Hashable, ...]:
    return type(module), repr(module), *(parameter.shape for parameter in module.parameters())


class OwnHead(nn.Module):
    """Stands for the head of a network that returns features and outputs itself."""


@torch.no_grad()
def blank_pass(encoder: nn.Module, shape: Shape) -> Any:
    """What `encoder` returns for two blank images of `shape`; its buffers are not changed.

    It does not use the meta device (unless the encoder is there, and large), because meta operations import torch's
    compiler: a hundred MiB and a second for each process.
    """
    state = off_meta(encoder) or {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    device = next((tensor.device for tensor in (*state.values(), *encoder.parameters())), torch.device("cpu"))
    with device:
        return functional_call(encoder, state, (torch.zeros(2, *shape),))


def off_meta(module: nn.Module) -> dict[str, Tensor]:
    """Zeros for the parameters and buffers of a module on the meta device, by name; none if elsewhere, or large."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if not all(tensor.is_meta for tensor in named.values()) or sum(each.nbytes for each in named.values()) > LARGE:
        return {}
    return {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu", requires_grad=tensor.requires_grad)
        for name, tensor in named.items()
    }


def feature_dim(encoder: nn.Module, shape: Shape) -> int:
    """Number of features of `encoder` for an image of `shape`."""
    features = blank_pass(encoder, shape)
    assert features.ndim == 2, "an encoder gives vectors"
    return int(features.shape[1])


@torch.no_grad()
def changes_buffers(network: Network, shape: Shape) -> bool:
    """Whether a forward pass in train mode changes what a network keeps besides its weights."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    if not buffers or next(iter(buffers.values())).is_meta:  # as the plan builds ours, which only BatchNorm changes
        return False
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).to(next(iter(buffers.values())).device)
    functional_call(network, buffers, (images,))
    return any(not torch.equal(buffers[name], before) for name, before in network.named_buffers())


def draws(network: Network, shape: Shape) -> bool:
    """Whether a forward pass in train mode draws random numbers from torch's generator."""
    generator = OwnGenerator(0)
    before = generator.state
    with generator:
        blank_pass(network, shape)
    return not torch.equal(generator.state, before)
