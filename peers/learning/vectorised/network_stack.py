"""Stacks networks of one architecture along a first axis, so that one forward pass runs all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call, vmap

from peers.networks.network import Network

Rows = Int64[Tensor, " rows"] | None  # None: all rows, without a copy


@dataclass
class Forward:
    """One forward pass of some networks; `parameters` are the leaf tensors for gradients."""

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    features: Float[Tensor, "rows batch features"]
    outputs: Float[Tensor, "rows batch outputs"]


class Stack:
    """Keeps the state of `networks` in stacked tensors; the networks' own tensors become views of them.

    Code that reads or writes one network in place (measures, checkpoints) therefore works without changes.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._template = networks[0]
        fixed = self._template.fixed
        self.parameters = _join([_named(network, lambda name: name not in fixed) for network in networks])
        self.fixed = _join([_named(network, fixed.__contains__) for network in networks])
        self.buffers = _join([dict(network.named_buffers()) for network in networks])
        for parameter in self.parameters.values():
            parameter.requires_grad_()

    def forward(self, rows: Rows, images: Float[Tensor, "*images"], common: bool = True) -> Forward:
        """Features and outputs of the networks in `rows` on one batch, in train mode, on copies of their buffers.

        common: whether `images` are the same for all rows; else each row has its own, along a first axis. The graph is
        kept if gradients are enabled.
        """
        # convolutions of many networks at once are slower in another layout; images of one channel count as contiguous
        # in both, but torch chooses its kernel by their strides
        images = images.reshape(-1).view(images.shape)
        parameters, buffers = self.parameters, {name: buffer.clone() for name, buffer in self.buffers.items()}
        fixed = self.fixed
        if rows is not None:
            parameters = {name: stacked.detach()[rows].requires_grad_() for name, stacked in parameters.items()}
            buffers = {name: buffer[rows] for name, buffer in buffers.items()}
            fixed = {name: tensor[rows] for name, tensor in fixed.items()}

        def call(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], fixed: dict[str, Tensor], images: Tensor
        ) -> tuple[Tensor, Tensor]:
            features, outputs = functional_call(self._template, (parameters, buffers, fixed), (images,))
            return features, outputs

        in_dims = (0, 0, 0, None if common else 0)
        features, outputs = vmap(call, in_dims=in_dims)(parameters, buffers, fixed, images)
        return Forward(parameters, buffers, features, outputs)

    @torch.no_grad()
    def settle(self, rows: Rows, buffers: dict[str, Tensor]) -> None:
        """Copy the buffers of a forward pass into the networks."""
        for name, buffer in self.buffers.items():
            put(buffer, rows, buffers[name])


def put(stacked: Tensor, rows: Rows, values: Tensor) -> None:
    """Write `values` to some rows, in place."""
    if rows is None:
        stacked.copy_(values)
    else:
        stacked.index_copy_(0, rows, values)


def _named(network: Network, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in network.named_parameters() if wanted(name)}


@torch.no_grad()
def _join(named: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    stacked = {name: torch.stack([tensors[name].detach().contiguous() for tensors in named]) for name in named[0]}
    for row, tensors in enumerate(named):
        for name, tensor in tensors.items():
            tensor.data = stacked[name][row]
    return stacked
