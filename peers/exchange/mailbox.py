"""The mailbox of a host: messages that its peers have published or received, as long as its students need them."""

import sys
from collections.abc import Sequence
from heapq import heappop, heappush

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.assignment import Assignment, MessageKey
from peers.exchange.messages import Message, decode
from peers.exchange.sums import Sum

RELEASE = sys.maxsize  # the last round of a message that is held until it is released


class Mailbox:
    """A host's messages by (sender, round), and sums of messages by round.

    Messages of several rounds of one sender can be held at once. Each is stored with the last round whose students may
    need it, and discarded after that round; or until it is released.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._messages: dict[int, dict[int, Message]] = {}  # by round, then sender: one lookup for all teachers
        self._outputs: dict[MessageKey, Float[Tensor, "batch dim"]] = {}
        self._sums: dict[int, Sum] = {}
        self._last_rounds: dict[MessageKey, int] = {}  # the last round that needs the message, or its outputs
        self._expiry: list[tuple[int, MessageKey]] = []  # a heap of these; outdated entries stay until their round

    def __len__(self) -> int:
        """The number of messages held."""
        return sum(map(len, self._messages.values()))

    def put(self, message: Message, last_round: int) -> None:
        """Hold a message through `last_round`, or through a later round for which it was put in before."""
        self._messages.setdefault(message.round_index, {})[message.sender] = message
        self._hold(message.key, last_round)

    def keep(self, message: Message) -> None:
        """Hold a message until it is released."""
        self._messages.setdefault(message.round_index, {})[message.sender] = message
        self._last_rounds[message.key] = RELEASE

    def release(self, key: MessageKey) -> None:
        """Discard a message if it is held."""
        if key in self._last_rounds:
            self._discard(key)

    def find(self, key: MessageKey) -> Message | None:
        """The message, if it is held."""
        sender, round_index = key
        return self._messages.get(round_index, {}).get(sender)

    def remember(self, key: MessageKey, outputs: Float[Tensor, "batch dim"], kept: bool = False) -> None:
        """Memoise the decoded outputs of a message that will be put in; without it, they are held for its round.

        kept: whether it will be held until it is released.
        """
        self._outputs[key] = outputs
        if kept:
            self._last_rounds[key] = RELEASE
        else:
            self._hold(key, key[1])

    def put_sum(self, total: Sum) -> None:
        """Hold the sum of a round's messages through that round; it replaces a partial sum of the same round."""
        self._sums[total.round_index] = total

    def discard_through(self, round_index: int) -> None:
        """Discard the messages and sums held for rounds up to this one."""
        while self._expiry and self._expiry[0][0] <= round_index:
            last_round, key = heappop(self._expiry)
            if self._last_rounds.get(key) == last_round:
                self._discard(key)
        for past in [held for held in self._sums if held <= round_index]:
            del self._sums[past]

    def collect(self, assignment: Assignment) -> tuple[Message | Sum, ...]:
        """The messages of a student's teachers, in order, or the round's sum. Raises: ValueError if one is missing."""
        if assignment.sum_weights is not None:
            if assignment.round_index not in self._sums:
                raise ValueError(f"the sum of round {assignment.round_index} has not arrived")
            return (self._sums[assignment.round_index],)
        links, now = assignment.links, assignment.round_index
        try:
            if links.ages is None:
                of_round = self._messages.get(now, {})
                return tuple([of_round[teacher] for teacher in links.teachers])
            return tuple([self._messages[sent_in][sender] for sender, sent_in in assignment.message_keys])
        except KeyError:
            keys = assignment.message_keys
        missing = [(sender, sent_in) for sender, sent_in in keys if sender not in self._messages.get(sent_in, {})]
        raise ValueError(f"round {now}: no message has arrived of (peer, round) {missing}")

    def outputs(self, message: Message) -> Float[Tensor, "batch dim"]:
        """The outputs of a held message, decoded once for all readers, which must not modify them."""
        outputs = self._outputs.get(message.key)
        if outputs is None:
            outputs = self._outputs[message.key] = decode(message, self.device)
        return outputs

    def _hold(self, key: MessageKey, last_round: int) -> None:
        if last_round > self._last_rounds.get(key, last_round - 1):
            self._last_rounds[key] = last_round
            heappush(self._expiry, (last_round, key))

    def _discard(self, key: MessageKey) -> None:
        sender, round_index = key
        del self._last_rounds[key]
        self._outputs.pop(key, None)
        of_round = self._messages.get(round_index, {})
        of_round.pop(sender, None)
        if not of_round:
            self._messages.pop(round_index, None)


def check_senders(peer: int, assignment: Assignment, messages: Sequence[Message | Sum]) -> None:
    """Raises: ValueError unless these are the messages, or the sum, of the assignment, in its order."""
    expected: list[tuple[int | str, int]] = list(assignment.message_keys)
    if assignment.sum_weights is not None:
        expected = [("sum", assignment.round_index)]
    received = [message.key if isinstance(message, Message) else ("sum", message.round_index) for message in messages]
    if received != expected:
        raise ValueError(f"peer {peer} learns from (peer, round) {expected}, got messages of {received}")
