"""What crosses a link."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.wire import Payload, Wire


@dataclass(frozen=True)
class Message:
    """A peer's outputs, `width` of them a sample, on the batch of one round; no payload: the sender has dropped out.

    The payload's arrays are read-only where Ray hands them over: above 100 KiB they are shared memory, below they come
    with the call.
    """

    sender: int
    round_index: int
    wire: Wire
    width: int
    payload: Payload | None

    @property
    def num_bytes(self) -> int:
        """Bytes that cross each link."""
        return 0 if self.payload is None else sum(part.nbytes for part in self.payload)


def check(message: Message, wire: Wire, width: int, batch: int, distribution: bool) -> None:
    """Raises: ValueError, if a message that came from elsewhere is not what this experiment's peers send."""
    about = f"the message of peer {message.sender} for round {message.round_index}"
    if message.wire != wire or message.width != width:
        raise ValueError(f"{about} has {message.width} outputs as {message.wire}, not {width} as {wire}")
    flaw = wire.flaw(message.payload, batch, width, distribution) if message.payload is not None else ""
    if flaw:
        raise ValueError(f"{about} has {flaw}")


def encode(sender: int, round_index: int, outputs: Float[Tensor, "batch dim"], wire: Wire) -> Message:
    """Outputs as they are sent, detached from the graph."""
    return Message(sender, round_index, wire, outputs.shape[-1], wire.pack(outputs))


def decode(message: Message, device: torch.device) -> Float[Tensor, "batch dim"]:
    """The sender's outputs in float32, in memory of the receiver's own."""
    assert message.payload is not None
    return message.wire.unpack(message.payload, message.width, device)
