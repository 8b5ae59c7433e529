"""Messages that bring weights: the student's host runs the teacher's network on the student's own batch.

As in codistillation (arXiv 1804.03235). What a student gets is what the teacher would have sent of that batch.
"""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from peers.base.brought_errors import of_peer
from peers.base.precision import autocast
from peers.data.formats.shapes import Shape
from peers.exchange.messages import Message, pack_checked
from peers.exchange.wire import Payload
from peers.learning.control import Control
from peers.learning.replacement import permuted
from peers.learning.settings import PeerSettings, empty_network, seed_noise
from peers.learning.sight import EVERYBODY, Sight
from peers.networks.network import Network
from peers.networks.weights import named_state

MOST = 16  # outputs that are remembered beside two for each peer of the host


class CheckpointReader:
    """Runs the networks that messages bring, for all students of a host."""

    def __init__(self, settings: PeerSettings, shape: Shape, sight: Sight, num_peers: int) -> None:
        """settings: of any peer of the host, which has so many."""
        self._settings, self._shape, self._sight = settings, shape, sight
        self._device = torch.device(settings.device)
        self._most = 2 * num_peers + MOST
        self._networks: dict[int, Network] = {}
        self._outputs: OrderedDict[tuple[int, int, int, int], Float[Tensor, "batch dim"] | None] = OrderedDict()

    def outputs(self, message: Message, batch: int, student: int) -> Float[Tensor, "batch dim"] | None:
        """The sender's outputs on what a student sees of a batch, as read from its link; None if not finite."""
        key = (*message.key, batch, EVERYBODY if self._sight.common else student)
        if key in self._outputs:
            self._outputs.move_to_end(key)
            return self._outputs[key]
        if len(self._outputs) >= self._most:
            self._outputs.popitem(last=False)
        found = self._outputs[key] = self._run(message, batch, student)
        return found

    def check(self, message: Message) -> None:
        """Raises: ValueError if a message is not the weights of its sender's network."""
        description = f"the message of peer {message.sender} for round {message.round_index}"
        if message.payload is None:
            return
        if not message.checkpoint:
            raise ValueError(f"{description} has outputs, not weights")
        found = [(array.dtype, array.shape) for array in message.payload]
        if found != [(array.dtype, array.shape) for array in weights_of(self._network(message.sender))]:
            raise ValueError(f"{description} has weights of another network than its sender's")
        if not all(np.isfinite(array).all() for array in message.payload if array.dtype.kind == "f"):
            raise ValueError(f"{description} has values that are not finite")

    @torch.no_grad()
    def _run(self, message: Message, batch: int, student: int) -> Float[Tensor, "batch dim"] | None:
        assert message.payload is not None
        network, exchange = self._network(message.sender), self._settings.exchange
        settings = replace(self._settings, index=message.sender)
        seed_noise(settings, network, message.round_index)
        images, _ = self._sight(batch, student)
        with autocast(self._device, settings.precision), of_peer(message.sender):
            features, outputs = functional_call(network, _loaded(network, message.payload), (images,))
        exchanged = exchange.exchanged(features.float(), outputs.float())
        if settings.control is Control.SHUFFLED:
            exchanged = permuted(exchanged, settings, batch)
        packed = pack_checked(exchange.sent(exchanged), exchange.wire, self._device)
        return packed.received if bool(packed.finite) else None

    def _network(self, sender: int) -> Network:
        """A network like the sender's, shared by senders of one architecture; its weights do not matter."""
        if sender not in self._networks:
            kinds = self._settings.peers.kind_of
            kind = kinds(sender)
            alike = (own for other, own in self._networks.items() if kind.has_network_of(kinds(other)))
            known = next(alike, None) if kind.one_for_all else None
            self._networks[sender] = known or empty_network(self._settings, self._shape, sender)
        return self._networks[sender]


def weights_of(network: Network) -> Payload:
    """A network's parameters and buffers as arrays of their own; those of bfloat16 as int16, for NumPy has none."""
    found = []
    for tensor in named_state(network).values():
        plain = tensor.detach().cpu().contiguous()
        found.append((plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy().copy())
    return tuple(found)


def checkpoint_bytes(network: Network) -> int:
    """Size of a message with this network's weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in named_state(network).values())


def _loaded(network: Network, payload: Payload) -> dict[str, Tensor]:
    """The arrays as tensors like the network's own, in new memory."""
    found = {}
    for (name, like), array in zip(named_state(network).items(), payload, strict=True):
        given = torch.tensor(array)
        given = given.view(torch.bfloat16) if like.dtype == torch.bfloat16 else given
        found[name] = torch.empty_like(like, requires_grad=False).copy_(given)
    return found
