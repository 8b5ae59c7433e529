"""The weights that a peer teaches with where they are not its own: a snapshot, or a moving average of its own."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from peers.exchange.config import ExchangeConfig
from peers.networks.models import Network


class Teacher:
    """Follows one network, as `exchange.refresh_every` or `exchange.teacher_ema` says; part of that peer's state."""

    def __init__(self, network: Network, exchange: ExchangeConfig) -> None:
        self.network = copy.deepcopy(network)
        self.every = exchange.refresh_every
        self.momentum = exchange.teacher_ema
        self.epoch = 0  # which renewal the snapshot is

    def renew(self, network: Network, round_index: int) -> None:
        """Take the snapshot that is due by a round in which the peer has a part; call it before every such round.

        Between two of its rounds a peer does not change, so its state now is that at the start of the epoch.
        """
        if self.every > 1 and round_index // self.every != self.epoch:
            self.epoch = round_index // self.every
            self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def follow(self, network: Network) -> None:
        """After a step, move the moving average. Source: Tarvainen and Valpola, 2017."""
        if self.momentum:
            for slow, fast in zip(self.network.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1 - self.momentum)

    @torch.no_grad()
    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features and outputs on the batch's own BatchNorm statistics; changes nothing."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        features, outputs = functional_call(self.network, buffers, (images,))
        return features, outputs
