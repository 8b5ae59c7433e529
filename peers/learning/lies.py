"""Lies: whether a message is one, and what a liar sends, or is made to have sent, in place of its outputs."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peers.attacks.config import Adversaries, Attack, Scene
from peers.base.seeds import stream
from peers.exchange.wire import Payload
from peers.learning.control import Control
from peers.learning.settings import PeerSettings

Outputs = Float[Tensor, "samples dim"]


def attack_in(settings: PeerSettings, peer: int, number: int) -> Attack | None:
    """The attack by which a peer lies in its message of this number (its round); None if it sends what it knows.

    A function of settings and seed alone, so that the sender and all its readers agree. settings: of any peer.
    """
    some = _adversaries_of(settings, peer)
    return some.attack if some is not None and lies_in(some, settings.seed, peer, number) else None


def lies_in(some: Adversaries, seed: int, peer: int, number: int) -> bool:
    """Whether one of these peers lies in its message of this number. seed: of the run."""
    return number >= some.from_round and (some.share == 1 or _lies_at_random(seed, peer, number, some.share))


def sends_lie(settings: PeerSettings, peer: int, number: int) -> bool:
    """Whether a peer's message of this number is a lie as it is sent, before any student makes one of it."""
    attack = attack_in(settings, peer, number)
    return attack is not None and not attack.omniscient


def lie_of(
    settings: PeerSettings, attack: Attack, liar: int, number: int, scene: Scene
) -> Float[Tensor, "samples dim"]:
    """The lie in the liar's message of this number."""
    return attack.lie(scene, np.random.default_rng(stream(settings.seed, "lies", liar, number)))


def local_scene(settings: PeerSettings, own: Outputs, first: Outputs | None = None) -> Scene:
    """What an attack knows that is not omniscient: the liar's own outputs, and its first message if it keeps that."""
    exchange = settings.exchange
    return Scene(
        own=own,
        honest=own.new_zeros(0, *own.shape),
        weights=own.new_zeros(0),
        student=own,
        distribution=exchange.what == "probabilities",
        views=exchange.num_views,
        first=first,
    )


@dataclass
class Liar:
    """A peer that lies where it publishes. first: its first message, before it was packed, for attacks that need it.

    first_weights: the same where messages bring weights.
    """

    settings: PeerSettings
    first: Outputs | None = None
    first_weights: Payload | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: PeerSettings) -> "Liar | None":
        """The liar that a peer with these settings is; None if it says what it knows, or others lie in its name."""
        some = _adversaries_of(settings, settings.index)
        return None if some is None or some.attack.omniscient else cls(settings)

    def outputs(self, own: Outputs, number: int) -> Outputs:
        """What it sends in its message of this number, where its own outputs, as they would be sent, are `own`."""
        attack = attack_in(self.settings, self.settings.index, number)
        some = _adversaries_of(self.settings, self.settings.index)
        if some is not None and some.attack.keeps_first and self.first is None:
            self.first = own.detach().clone()
        if attack is None:
            return own
        scene = local_scene(self.settings, own.detach(), self.first)
        return lie_of(self.settings, attack, self.settings.index, number, scene)

    def weights(self, own: Payload, number: int) -> Payload:
        """What it sends where messages bring weights: its own, or its first ones; other lies are made by the reader."""
        some = _adversaries_of(self.settings, self.settings.index)
        if some is None or not some.attack.keeps_first:
            return own
        if self.first_weights is None:
            self.first_weights = own
        return own if attack_in(self.settings, self.settings.index, number) is None else self.first_weights

    def tensors(self) -> dict[str, Tensor]:
        """Its state, for a checkpoint."""
        found = {} if self.first is None else {"first": self.first}
        weights = self.first_weights or ()
        return found | {f"weights.{place}": torch.tensor(array) for place, array in enumerate(weights)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        self.first = tensors.get("first")
        if self.first is not None:
            self.first = self.first.to(self.settings.device)
        count = sum(name.startswith("weights.") for name in tensors)
        self.first_weights = tuple(tensors[f"weights.{place}"].numpy() for place in range(count)) or None


def _adversaries_of(settings: PeerSettings, peer: int) -> Adversaries | None:
    control = settings.control
    if control is not None and (control is Control.TRUTHFUL or not control.exchanges):
        return None
    return next((some for some in settings.peers.adversaries if peer in some.peers), None)


@lru_cache(maxsize=4096)
def _lies_at_random(seed: int, peer: int, number: int, share: float) -> bool:
    """Whether a liar that lies in this share of rounds does so in this one."""
    return bool(np.random.default_rng(stream(seed, "liars", peer, number)).random() < share)
