"""Separate weights for teaching: a snapshot of the peer, or a moving average of its weights."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from peers.base.brought_errors import of_peer
from peers.base.precision import autocast
from peers.exchange.config import ExchangeConfig
from peers.learning.settings import PeerSettings, seed_noise
from peers.networks.network import Network


class Teacher:
    """A copy of a peer's network that is updated from it as `exchange.refresh_every` or `exchange.teacher_ema` says.

    It is part of the peer's state.
    """

    def __init__(self, network: Network, exchange: ExchangeConfig) -> None:
        self.network = copy.deepcopy(network)
        self.every = exchange.refresh_every
        self.momentum = exchange.teacher_ema
        self.epoch = 0  # index of the refresh period of the snapshot

    def renew(self, network: Network, round_index: int) -> None:
        """Take a new snapshot if this round is in a new refresh period; to be called before every round of the peer.

        A peer does not change between its rounds, so its current state is that at the start of the period.
        """
        if self.every > 1 and round_index // self.every != self.epoch:
            self.epoch = round_index // self.every
            self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def follow(self, network: Network) -> None:
        """Update the moving average after a step. Source: Tarvainen and Valpola, 2017."""
        if self.momentum:
            for slow, fast in zip(self.network.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1 - self.momentum)

    @torch.no_grad()
    def outputs(
        self, images: Float[Tensor, "batch *shape"], settings: PeerSettings, round_index: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features and outputs in a round, with the batch's own BatchNorm statistics; the state is not changed."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        seed_noise(settings, self.network, round_index)
        with autocast(images.device, settings.precision), of_peer(settings.index):
            features, outputs = functional_call(self.network, buffers, (images,))
        return features.float(), outputs.float()
