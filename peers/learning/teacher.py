"""Separate weights for teaching: a snapshot of the peer, a moving average of its weights, or near its first ones."""

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.base.precision import autocast
from peers.exchange.config import ExchangeConfig
from peers.learning.settings import PeerSettings, seed_noise
from peers.networks.network import Network


class Teacher:
    """A copy of a peer's network that is updated from it as `refresh_every`, `teacher_ema` or `teacher_anchor` say.

    It is part of the peer's state. first, average: with an anchor, the weights that it started from, and their moving
    average, or without one the peer's own; else empty.
    """

    def __init__(self, network: Network, exchange: ExchangeConfig) -> None:
        self.network = copy.deepcopy(network)
        self.every = exchange.refresh_every
        self.momentum = exchange.teacher_ema
        self.anchor = exchange.teacher_anchor
        self.begin(network)

    @torch.no_grad()
    def begin(self, network: Network) -> None:
        """Start anew from these weights."""
        self.network.load_state_dict(network.state_dict())
        self.epoch = 0  # index of the refresh period of the snapshot
        anchored = self.anchor < 1
        self.first = [each.detach().clone() for each in network.parameters()] if anchored else []
        self.average = [each.clone() for each in self.first] if self.momentum else []

    def renew(self, network: Network, round_index: int) -> None:
        """Take a new snapshot if this round is in a new refresh period; to be called before every round of the peer.

        A peer does not change between its rounds, so its current state is that at the start of the period.
        """
        if self.every > 1 and round_index // self.every != self.epoch:
            self.epoch = round_index // self.every
            self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def follow(self, network: Network) -> None:
        """Update the moving average after a step. Source: Tarvainen and Valpola, 2017; the anchor is this project's."""
        own = list(self.network.parameters())
        if self.momentum:
            for slow, fast in zip(self.average or own, network.parameters(), strict=True):
                slow.lerp_(fast, 1 - self.momentum)
        if self.anchor < 1:
            moved = self.average or list(network.parameters())
            for teaching, first, now in zip(own, self.first, moved, strict=True):
                teaching.copy_(first.lerp(now, self.anchor))  # exactly the first weights, where the anchor is 0

    def tensors(self) -> dict[str, Tensor]:
        """What an anchored teacher keeps beside its network, by name; {} without an anchor."""
        kept = {"first": self.first, "average": self.average}
        return {f"{name}.{i}": tensor for name, tensors in kept.items() for i, tensor in enumerate(tensors)}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` has returned, in place."""
        for name, own in self.tensors().items():
            own.copy_(tensors[name])

    @torch.no_grad()
    def outputs(
        self, images: Float[Tensor, "batch *shape"], settings: PeerSettings, round_index: int
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch outputs"]]:
        """Features and outputs in a round, with the batch's own BatchNorm statistics; the state is not changed."""
        seed_noise(settings, self.network, round_index)
        with autocast(images.device, settings.precision), of_peer(settings.index):
            features, outputs = self.network.with_buffers(self.network.copied_buffers(), images)
        return features.float(), outputs.float()
