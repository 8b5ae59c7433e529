"""Messages, which are sent over links."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.base.finite import finite_rows
from peers.exchange.assignment import MessageKey
from peers.exchange.wire import Payload, Wire


@dataclass(frozen=True)
class Message:
    """A peer's outputs in one round, `width` per sample; without a payload, a dropout notice.

    checkpoint: whether it brings the weights and buffers of the network that teaches instead of outputs.

    Arrays received through Ray are read-only; above 100 KiB they are shared memory.
    """

    sender: int
    round_index: int
    wire: Wire
    width: int
    payload: Payload | None
    checkpoint: bool = False

    @cached_property
    def key(self) -> MessageKey:
        return self.sender, self.round_index

    @property
    def is_dropout_notice(self) -> bool:
        """Whether it has no outputs because its sender has dropped out."""
        return self.payload is None

    @property
    def num_bytes(self) -> int:
        """Bytes sent over each link."""
        return 0 if self.payload is None else sum(part.nbytes for part in self.payload)


def check(message: Message, wire: Wire, width: int, batch: int, distribution: bool, lie: bool = False) -> None:
    """Raises: ValueError if a message from another host does not have the format of this experiment.

    lie: whether its sender lies in it, so that its numbers may be anything.
    """
    description = f"the message of peer {message.sender} for round {message.round_index}"
    if message.wire != wire or message.width != width:
        raise ValueError(f"{description} has {message.width} outputs as {message.wire}, not {width} as {wire}")
    if message.checkpoint:
        raise ValueError(f"{description} has weights, not outputs")
    flaw = wire.flaw(message.payload, batch, width, distribution, lie) if message.payload is not None else ""
    if flaw:
        raise ValueError(f"{description} has {flaw}")


def decode(message: Message, device: torch.device) -> Float[Tensor, "batch dim"]:
    """The sender's outputs in float32, in new memory. Not for dropout notices."""
    assert message.payload is not None
    return message.wire.unpack(message.payload, message.width, device)


@dataclass(frozen=True)
class Packed:
    """Outputs of one peer, or of several along a leading axis: packed, unpacked, and whether each peer's are finite."""

    payload: Payload
    received: Float[Tensor, "*peers batch dim"]
    finite: Bool[Tensor, "*peers"]


def pack_checked(outputs: Float[Tensor, "*peers batch dim"], wire: Wire, device: torch.device) -> Packed:
    """Pack outputs for a link, unpack them on `device` as a reader would, and check whether these are finite."""
    payload = wire.pack(outputs)
    received = wire.unpack(payload, outputs.shape[-1], device)
    peers = received.shape[:-2]
    return Packed(payload, received, finite_rows(received.reshape(-1, *received.shape[-2:])).reshape(peers))
