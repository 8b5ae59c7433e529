"""Messages that the peers of a host have published or received, until no student of the host needs them any more."""

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

    Several rounds of one sender can be held at once. Each message is put in with the last round whose students may need
    it, and is discarded once that round is over.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._messages: dict[MessageKey, Message] = {}
        self._outputs: dict[MessageKey, Float[Tensor, "batch dim"]] = {}
        self._sums: dict[int, Sum] = {}
        self._expiry: list[tuple[int, MessageKey]] = []  # a heap: (last round that needs it, message)

    def __len__(self) -> int:
        """How many messages are held."""
        return len(self._messages)

    def put(self, message: Message, last_round: int) -> None:
        """Hold a message through `last_round`."""
        self._messages[message.key] = message
        heappush(self._expiry, (last_round, message.key))

    def remember(self, key: MessageKey, outputs: Float[Tensor, "batch dim"]) -> None:
        """Spare readers the decoding of a message that is about to be put in."""
        self._outputs[key] = outputs

    def put_sum(self, total: Sum) -> None:
        """Hold the sum of a round's messages through that round; it replaces one of some of them."""
        self._sums[total.round_index] = total

    def discard_through(self, round_index: int) -> None:
        """Drop what was held for rounds up to this one, which no student will ask for again."""
        while self._expiry and self._expiry[0][0] <= round_index:
            _, key = heappop(self._expiry)
            self._messages.pop(key, None)
            self._outputs.pop(key, None)
        for past in [held for held in self._sums if held <= round_index]:
            del self._sums[past]

    def collect(self, assignment: Assignment) -> tuple[Message | Sum, ...]:
        """What a student learns from, in its teachers' order. Raises: ValueError when something has not arrived."""
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
        """A held message's outputs, decoded once for all of its readers, who must not write to them."""
        outputs = self._outputs.get(message.key)
        if outputs is None:
            outputs = self._outputs[message.key] = decode(message, self.device)
        return outputs


def check_senders(peer: int, assignment: Assignment, messages: Sequence[Message | Sum]) -> None:
    """Raises: ValueError unless these are the messages, or the sum, that the assignment names, in its order."""
    expected: list[tuple[int | str, int]] = list(assignment.message_keys)
    if assignment.sum_weights is not None:
        expected = [("sum", assignment.round_index)]
    came = [message.key if isinstance(message, Message) else ("sum", message.round_index) for message in messages]
    if came != expected:
        raise ValueError(f"peer {peer} learns from (peer, round) {expected}, got messages of {came}")
