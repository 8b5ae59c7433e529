"""What the peers of a host have published and what has come from elsewhere, until the round that is for."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.assignment import Assignment
from peers.exchange.messages import Message, decode
from peers.exchange.sums import Sum


class Letters:
    """Messages by sender; `outputs` are those that somebody has decoded already."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.messages: dict[int, Message] = {}
        self.outputs: dict[int, Float[Tensor, "batch dim"]] = {}
        self.total: Sum | None = None

    def of(self, assignment: Assignment) -> tuple[Message | Sum, ...]:
        """What a student hears, in its teachers' order. Raises: ValueError when something has not come."""
        if assignment.shares is not None:
            if self.total is None:
                raise ValueError(f"the sum of round {assignment.round_index} has not come")
            return (self.total,)
        missing = [teacher for teacher in assignment.teachers if teacher not in self.messages]
        if missing:
            raise ValueError(f"no message of round {assignment.round_index} has come from peers {missing}")
        return tuple(self.messages[teacher] for teacher in assignment.teachers)

    def read(self, message: Message | Sum) -> Float[Tensor, "batch dim"]:
        """A message's outputs, decoded once for all of its readers, who must not write to them."""
        assert isinstance(message, Message)
        if message.sender not in self.outputs:
            self.outputs[message.sender] = decode(message, self.device)
        return self.outputs[message.sender]

    def joined(self, messages: Iterable[Message], total: Sum | None) -> "Letters":
        """These letters and others that came from other hosts."""
        both = Letters(self.device)
        both.messages = self.messages | {message.sender: message for message in messages}
        both.outputs = dict(self.outputs)
        both.total = total if total is not None else self.total
        return both
