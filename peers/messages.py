"""What crosses a link, and what the coordinator asks of a peer in a round."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

WireDtype = Literal["float32", "float16", "bfloat16"]
_TORCH: dict[WireDtype, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def bytes_per_value(dtype: WireDtype) -> int:
    """Size of one exchanged value on the wire, in bytes."""
    return _TORCH[dtype].itemsize


@dataclass(frozen=True)
class Assignment:
    """One peer's part in one round: from whom it learns, and whether anybody listens to it."""

    round_index: int
    teachers: tuple[int, ...]
    weights: tuple[float, ...]
    teaches: bool

    @property
    def studies(self) -> bool:
        return bool(self.teachers)


@dataclass(frozen=True)
class Message:
    """A peer's outputs on the batch of one round; `payload` is None once the sender has dropped out.

    The payload is a NumPy array, read-only where Ray hands it over: above 100 KiB it is shared memory, below it comes
    with the call. bfloat16, which NumPy lacks, travels as the same bits in int16.
    """

    sender: int
    round_index: int
    dtype: WireDtype
    payload: np.ndarray | None

    @property
    def num_bytes(self) -> int:
        return 0 if self.payload is None else self.payload.nbytes


def encode(sender: int, round_index: int, outputs: Float[Tensor, "batch dim"], dtype: WireDtype) -> Message:
    """Round outputs to the wire's dtype and detach them from the graph."""
    wire = outputs.detach().to(device="cpu", dtype=_TORCH[dtype])
    if wire.data_ptr() == outputs.data_ptr():
        wire = wire.clone()  # a message must not change when its sender does
    bits = wire.view(torch.int16) if dtype == "bfloat16" else wire
    return Message(sender, round_index, dtype, bits.numpy())


def decode(message: Message, device: torch.device) -> Float[Tensor, "batch dim"]:
    """The sender's outputs in float32, in memory of the receiver's own."""
    assert message.payload is not None
    bits = torch.tensor(message.payload, device=device)
    wire = bits.view(torch.bfloat16) if message.dtype == "bfloat16" else bits
    return wire.to(torch.float32)
