"""The messages of a host: in its mailbox, on their way to other hosts, and kept for students that are late."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from peers.exchange.assignment import Assignment, MessageKey, Stats
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message, check
from peers.exchange.sums import Sum
from peers.learning.checkpoint_messages import CheckpointReader
from peers.learning.lies import sends_lie
from peers.learning.peer import Peer
from peers.learning.snapshot import Kept
from peers.learning.vectorised.peer_stack import Answer

Bundle = tuple[Message | Sum, ...]
"""What one call sends to other hosts: the messages that their students need, or the sum of these messages."""


class Postbox:
    """Receives, holds and hands out the messages of a host's peers.

    kept: the messages of its own peers that are held until they are released, and whether other hosts may ask for them.
    """

    def __init__(self, peers: Mapping[int, Peer], device: torch.device) -> None:
        self.peers = peers
        first = next(iter(peers.values()))
        self.mailbox = Mailbox(device)
        self._reader = (
            CheckpointReader(first.settings, first.dataset.shape, first.batches, len(peers))
            if first.brings_weights
            else None
        )
        self.kept: dict[MessageKey, bool] = {}
        self._again: list[Message] = []  # those that the next publication hands out once more

    # ---- arriving ----

    def receive(self, round_index: int, dues: Mapping[int, Assignment], arrived: Sequence[Bundle | Sum]) -> None:
        """Put the messages from other hosts that are needed in this round into the mailbox. Raises: ValueError."""
        if not arrived:
            return
        needed: dict[int, set[int]] = {}
        for due in dues.values():
            for sent_in, senders in due.senders_by_round():
                needed.setdefault(sent_in, set()).update(senders)
        bundles = (bundle for bundle in arrived if not isinstance(bundle, Sum))
        parts = (part for bundle in bundles for part in bundle)  # some are for other hosts or rounds
        messages = [
            part for part in parts if isinstance(part, Message) and part.sender in needed.get(part.round_index, ())
        ]
        total = next((part for part in arrived if isinstance(part, Sum)), None)
        self._check(messages, total)
        for message in messages:
            self.mailbox.put(message, round_index)
        if total is not None:
            self.mailbox.put_sum(total)

    def receive_for(self, steps: Mapping[int, Assignment], arrived: Sequence[Bundle]) -> list[MessageKey]:
        """Put the messages from other hosts that these steps use into the mailbox; returns their keys.

        Raises: ValueError if any message is missing.
        """
        needed = {key for peer, step in steps.items() for key in step.message_keys if key[0] != peer}
        foreign = {key for key in needed if key[0] not in self.peers}
        parts = (part for bundle in arrived for part in bundle)  # some are for other hosts or steps
        messages = {part.key: part for part in parts if isinstance(part, Message) and part.key in foreign}
        self._check(list(messages.values()), None)
        for message in messages.values():
            self.mailbox.keep(message)
        if missing := sorted(key for key in needed if self.mailbox.find(key) is None):
            raise ValueError(f"steps of peers {sorted(steps)}: no message has arrived of (peer, round) {missing}")
        return list(messages)

    def _check(self, messages: Sequence[Message], total: Sum | None) -> None:
        """Check messages from other hosts, once for all students that use them. Raises: ValueError."""
        first = next(iter(self.peers.values()))
        exchange, width = first.settings.exchange, first.width
        samples = first.settings.data.batch_size * exchange.num_views
        for message in messages:
            if self._reader is not None:
                self._reader.check(message)
                continue
            lie = sends_lie(first.settings, *message.key)
            check(message, exchange.wire, width, samples, exchange.what == "probabilities", lie)
        if total is not None:
            total.check(samples, width, first.settings.peers.count)

    def read(self, key: MessageKey, batch: int, student: int) -> Float[Tensor, "batch dim"] | None:
        """See `lessons.Read`. Raises: ValueError if the message has not arrived."""
        message = self.mailbox.find(key)
        if message is None:
            raise ValueError(f"a step on batch {batch}: no message has arrived of (peer, round) {key}")
        if message.is_dropout_notice:
            return None
        return self.mailbox.outputs(message) if self._reader is None else self._reader.outputs(message, batch, student)

    # ---- leaving ----

    def deliver(
        self, answers: Mapping[int, Answer], published: Mapping[int, Assignment]
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Put published messages into the mailbox; returns those for other hosts, in peer order, and the stats."""
        stats = {peer: peer_stats for peer, (_, peer_stats) in answers.items()}
        messages = {peer: message for peer in published if (message := answers[peer][0]) is not None}
        for peer, message in messages.items():
            assignment = published[peer]
            if assignment.held:
                self._keep(message, assignment.remote)
            else:
                self.mailbox.put(message, assignment.round_index + assignment.kept_for)
        sums = self._sums([message for peer, message in messages.items() if published[peer].summed])
        remote = [message for peer, message in sorted(messages.items()) if published[peer].remote]
        if self._again:
            known = {message.key for message in remote}
            remote += [message for message in self._again if message.key in self.kept and message.key not in known]
            self._again = []
        return tuple(sums or remote), stats

    def _sums(self, messages: Sequence[Message]) -> list[Sum]:
        """Sum these messages per round, and put the sums into the mailbox."""
        by_round: dict[int, list[Message]] = {}
        for message in messages:
            by_round.setdefault(message.round_index, []).append(message)
        sums = []
        for round_index, of_round in by_round.items():
            sent = [message for message in of_round if not message.is_dropout_notice]
            usable = [self.mailbox.outputs(message) for message in sent if self._is_usable(message)]
            sums.append(Sum.of(round_index, usable, len(sent) - len(usable)))
        for partial in sums:
            self.mailbox.put_sum(partial)
        return sums

    def _is_usable(self, message: Message) -> bool:
        """Whether a message can be added to others: all but lies that are not finite."""
        settings = self.peers[message.sender].settings
        return not sends_lie(settings, *message.key) or bool(torch.isfinite(self.mailbox.outputs(message)).all())

    # ---- kept ----

    def restore(self, kept: Sequence[Kept]) -> None:
        """Keep what a checkpoint has kept, and hand out what is for other hosts with the next publication."""
        for message, remote in kept:
            self._keep(message, remote)
            self._again += [message] if remote else []

    def of(self, peer: int) -> list[Kept]:
        """The kept messages of a peer, in order."""
        found = [(self.mailbox.find(key), remote) for key, remote in sorted(self.kept.items()) if key[0] == peer]
        return [Kept(message, remote) for message, remote in found if message is not None]

    def keep_only(self, live: Mapping[int, Sequence[int]], published: Mapping[int, Assignment]) -> None:
        """Release kept messages other than `live` ones (numbers by sender) and those that are published again."""
        for sender, number in list(self.kept):
            again = sender in published and published[sender].round_index == number
            if number not in live.get(sender, ()) and not again:
                self.release(sender, [number])

    def release(self, peer: int, numbers: Sequence[int]) -> None:
        """Discard messages of a peer of this host."""
        for number in numbers:
            self.mailbox.release((peer, number))
            self.kept.pop((peer, number), None)

    def _keep(self, message: Message, remote: bool) -> None:
        self.mailbox.keep(message)
        self.kept[message.key] = remote
