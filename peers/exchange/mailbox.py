"""The mailbox of a host: messages that its peers have published or received, as long as its students need them."""

from collections.abc import Sequence
from heapq import heappop, heappush

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.assignment import Assignment, MessageKey
from peers.exchange.messages import Message, decode
from peers.exchange.sums import Sum


class Mailbox:
    """A host's messages by (sender, round), and sums of messages by round.

    Messages of several rounds of one sender can be held at once. Each is stored with the last round whose students may
    need it, and discarded after that round.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._messages: dict[MessageKey, Message] = {}
        self._outputs: dict[MessageKey, Float[Tensor, "batch dim"]] = {}
        self._sums: dict[int, Sum] = {}
        self._expiry: list[tuple[int, MessageKey]] = []  # a heap of (last round that needs it, message key)

    def __len__(self) -> int:
        """The number of messages held."""
        return len(self._messages)

    def put(self, message: Message, last_round: int) -> None:
        """Hold a message through `last_round`."""
        self._messages[message.key] = message
        heappush(self._expiry, (last_round, message.key))

    def remember(self, key: MessageKey, outputs: Float[Tensor, "batch dim"]) -> None:
        """Memoise the decoded outputs of a message that will be put in."""
        self._outputs[key] = outputs

    def put_sum(self, total: Sum) -> None:
        """Hold the sum of a round's messages through that round; it replaces a partial sum of the same round."""
        self._sums[total.round_index] = total

    def discard_through(self, round_index: int) -> None:
        """Discard the messages and sums held for rounds up to this one."""
        while self._expiry and self._expiry[0][0] <= round_index:
            _, key = heappop(self._expiry)
            self._messages.pop(key, None)
            self._outputs.pop(key, None)
        for past in [held for held in self._sums if held <= round_index]:
            del self._sums[past]

    def collect(self, assignment: Assignment) -> tuple[Message | Sum, ...]:
        """The messages of a student's teachers, in order, or the round's sum. Raises: ValueError if one is missing."""
        if assignment.sum_weights is not None:
            if assignment.round_index not in self._sums:
                raise ValueError(f"the sum of round {assignment.round_index} has not arrived")
            return (self._sums[assignment.round_index],)
        try:
            return tuple([self._messages[key] for key in assignment.message_keys])
        except KeyError:
            missing = [key for key in assignment.message_keys if key not in self._messages]
        raise ValueError(f"round {assignment.round_index}: no message has arrived of (peer, round) {missing}")

    def outputs(self, message: Message) -> Float[Tensor, "batch dim"]:
        """The outputs of a held message, decoded once for all readers, which must not modify them."""
        outputs = self._outputs.get(message.key)
        if outputs is None:
            outputs = self._outputs[message.key] = decode(message, self.device)
        return outputs


def check_senders(peer: int, assignment: Assignment, messages: Sequence[Message | Sum]) -> None:
    """Raises: ValueError unless these are the messages, or the sum, of the assignment, in its order."""
    expected: list[tuple[int | str, int]] = list(assignment.message_keys)
    if assignment.sum_weights is not None:
        expected = [("sum", assignment.round_index)]
    received = [message.key if isinstance(message, Message) else ("sum", message.round_index) for message in messages]
    if received != expected:
        raise ValueError(f"peer {peer} learns from (peer, round) {expected}, got messages of {received}")
