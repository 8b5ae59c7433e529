"""The host of one or more peers, used both in this process and in a Ray actor."""

import functools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from peers.base.precision import configure
from peers.base.storage import Folder
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Links, StaleRound, Stats
from peers.exchange.mailbox import Mailbox
from peers.exchange.messages import Message, check
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.learning.peer import Peer
from peers.learning.settings import Execution, PeerSettings
from peers.learning.vectorised.peer_stack import WIDTH, Answer, PeerStack
from peers.networks.brought import BroughtModel
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations, observe_all

TRIED, TRIAL_ROUNDS = 16, 3  # peers and rounds timed for execution "auto"; the first round is a warm-up

Bundle = tuple[Message | Sum, ...]
"""What one call sends to other hosts: the messages that their students need, or the sum of these messages."""


class PeerHost:
    """Holds peers and runs them through the rounds, in a loop or vectorised; calls arrive one at a time and in order.

    Messages between its own peers never leave the host; those to other hosts are sent together.
    """

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int, execution: Execution) -> None:
        """Build the peers."""
        first = settings[0]
        configure(torch.device(first.device), num_threads, first.deterministic)
        batches = first.batches(dataset)
        self.peers = {peer_settings.index: Peer(peer_settings, dataset, batches) for peer_settings in settings}
        self.device = torch.device(first.device)
        self.use(execution)

    def use(self, execution: Execution) -> None:
        """Use this execution for the next rounds; published messages are discarded."""
        self.execution: Execution = execution
        self.stacks = _stacks(list(self.peers.values())) if execution == "vectorised" else []
        self._stacked = {peer.index: number for number, stack in enumerate(self.stacks) for peer in stack.peers}
        self.mailbox = Mailbox(self.device)

    def trial(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int) -> tuple[float, float]:
        """Seconds per peer and round, in a loop and vectorised: the best of a few rounds of the first of these peers.

        The timed peers are their own teachers, in a temporary host.
        """
        trial_settings = settings[:TRIED]

        def best_of(execution: Execution) -> float:
            host = PeerHost()
            host.open(trial_settings, dataset, num_threads, execution)
            host.publish(_self_taught(trial_settings, 0))
            seconds = []
            for round_index in range(TRIAL_ROUNDS):
                start = time.perf_counter()
                host.advance(round_index, _self_taught(trial_settings, round_index + 1))
                seconds.append((time.perf_counter() - start) / len(trial_settings))
            return min(seconds)

        return best_of("loop"), best_of("vectorised")

    def ready(self) -> int:
        """The process id, once the process can be called."""
        return os.getpid()

    def touch(self, folder: str, name: str) -> None:
        """Write a small file, to check that this process can write to a folder. Raises: OSError."""
        Folder(folder).write(name, b"reached\n")

    # ---- rounds ----

    def publish(self, assignments: Mapping[int, Assignment]) -> tuple[Bundle, dict[int, Stats]]:
        """Run the forward passes of the peers' first rounds."""
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(assignments):
            if number is None:
                answers |= {peer: self.peers[peer].publish(assignment) for peer, assignment in of_stack.items()}
            else:
                answers |= self.stacks[number].publish(of_stack, self.mailbox)
        return self._deliver(answers, assignments)

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Bundle | Sum
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Learn one round, then publish for the next one.

        following: the next assignment of each peer that has a part in this round.

        Raises: StaleRound if a peer has not published for the round; ValueError if a message is missing or malformed.
        """
        dues = {peer: self._due(round_index, peer) for peer in following}
        self._receive(round_index, dues, arrived)
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(following):
            if number is None:
                messages = {peer: self.mailbox.collect(dues[peer]) for peer in of_stack}
                for peer, upcoming in of_stack.items():
                    answers[peer] = self.peers[peer].advance(dues[peer], upcoming, *messages[peer])
            else:
                answers |= self.stacks[number].advance(dues, of_stack, self.mailbox)
        self.mailbox.discard_through(round_index)
        return self._deliver(answers, {peer: upcoming for peer, upcoming in following.items() if upcoming is not None})

    def total(self, *bundles: Bundle) -> Sum:
        """The sum of a round's messages from the partial sums of the hosts, computed once for all hosts of a node."""
        return Sum.total(part for bundle in bundles for part in bundle if isinstance(part, Sum))

    # ---- anything else ----

    def observe(self, grams: bool, keep: bool = False) -> Observations:
        """Every peer's observation of the probe batch; see `observing.observe_all`.

        keep: whether it contains the peer's features and outputs.
        """
        return observe_all({index: functools.partial(peer.observe, keep) for index, peer in self.peers.items()}, grams)

    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> dict[int, ProbeOutcome]:
        """`Peer.probe` of some peers; rounds: by peer, the rounds whose batches the calibrated control is shown."""
        return {index: self.peers[index].probe(subject, of_peer) for index, of_peer in rounds.items()}

    def states(self) -> dict[int, State]:
        """Copies of every peer's parameters and buffers, for an evaluator."""
        return {
            index: {name: tensor.detach().cpu().numpy().copy() for name, tensor in peer.network.state_dict().items()}
            for index, peer in self.peers.items()
        }

    def digest(self) -> dict[int, bytes]:
        """SHA-256 of every peer's parameters and buffers."""
        return {index: peer.digest() for index, peer in self.peers.items()}

    def save(self, folder: str, completed: int) -> dict[int, str]:
        """Write every peer's state after `completed` rounds; returns the SHA-256 of each file. Raises: OSError."""
        return {index: peer.save(folder, completed) for index, peer in self.peers.items()}

    def restore(self, folder: str, checksums: Mapping[int, str]) -> dict[int, int]:
        """Load every peer from a checkpoint; returns their numbers of completed rounds. Raises: DamagedCheckpoint.

        checksums: by peer, the expected SHA-256 of its file; an empty string is not checked.
        """
        completed = {index: peer.restore(folder, checksums[index]) for index, peer in self.peers.items()}
        self.use(self.execution)  # published messages are void
        return completed

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        """Replace the peers by untrained ones with these settings: those of the run, or of one of its control runs."""
        any_peer = next(iter(self.peers.values()))
        dataset, batches = any_peer.dataset, any_peer.batches
        self.peers, self.stacks = {}, []  # first, so that memory never holds both
        self.peers = {peer_settings.index: Peer(peer_settings, dataset, batches) for peer_settings in settings}
        self.use(self.execution)  # published messages are void

    def _due(self, round_index: int, peer: int) -> Assignment:
        due = self.peers[peer].due
        if due is None or due.round_index != round_index:
            raise StaleRound(f"peer {peer} has not published for round {round_index}")
        return due

    def _receive(self, round_index: int, dues: Mapping[int, Assignment], arrived: Sequence[Bundle | Sum]) -> None:
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

    def _check(self, messages: Sequence[Message], total: Sum | None) -> None:
        """Check messages from other hosts, once for all students that use them. Raises: ValueError."""
        first = next(iter(self.peers.values()))
        exchange, batch, width = first.settings.exchange, first.settings.data.batch_size, len(first.centre)
        for message in messages:
            check(message, exchange.wire, width, batch, exchange.what == "probabilities")
        if total is not None:
            total.check(batch, width, first.settings.peers.count)

    def _split(self, parts: Mapping[int, Any]) -> list[tuple[int | None, dict[int, Any]]]:
        """The peers' parts grouped by the number of their stack; None: peers in no stack."""
        split: dict[int | None, dict[int, Any]] = {}
        for peer, part in parts.items():
            split.setdefault(self._stacked.get(peer), {})[peer] = part
        return list(split.items())

    def _deliver(
        self, answers: Mapping[int, Answer], published: Mapping[int, Assignment]
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Put published messages into the mailbox; returns those for other hosts, in peer order, and the stats."""
        stats = {peer: peer_stats for peer, (_, peer_stats) in answers.items()}
        messages = {peer: message for peer in published if (message := answers[peer][0]) is not None}
        for peer, message in messages.items():
            self.mailbox.put(message, published[peer].round_index + published[peer].kept_for)
        sums = self._sums([message for peer, message in messages.items() if published[peer].summed])
        remote = [message for peer, message in sorted(messages.items()) if published[peer].remote]
        return tuple(sums or remote), stats

    def _sums(self, messages: Sequence[Message]) -> list[Sum]:
        """Sum these messages per round, and put the sums into the mailbox."""
        by_round: dict[int, list[Message]] = {}
        for message in messages:
            by_round.setdefault(message.round_index, []).append(message)
        sums = [
            Sum.of(
                round_index, [self.mailbox.outputs(message) for message in of_round if not message.is_dropout_notice]
            )
            for round_index, of_round in by_round.items()
        ]
        for partial in sums:
            self.mailbox.put_sum(partial)
        return sums


def _stacks(peers: list[Peer]) -> list[PeerStack]:
    """Stacks of at most `WIDTH` peers of one kind; a peer that would be alone in its stack is run in the loop."""
    kinds: list[list[Peer]] = []
    for peer in peers:
        alike = next((members for members in kinds if _are_alike(members[0], peer)), None)
        if alike is None:
            kinds.append([peer])
        else:
            alike.append(peer)
    parts = [alike[first : first + WIDTH] for alike in kinds for first in range(0, len(alike), WIDTH)]
    return [PeerStack(part) for part in parts if len(part) > 1]


def _are_alike(peer: Peer, other: Peer) -> bool:
    """Whether one forward pass can run both: what one builds for each peer may differ where no tensor shows it."""
    model = peer.kind.model
    one_for_all = not isinstance(model, BroughtModel) or not model.by_peer
    return one_for_all and peer.kind == other.kind and peer.settings.layout == other.settings.layout


def _self_taught(settings: Sequence[PeerSettings], round_index: int) -> dict[int, Assignment]:
    peers = [peer_settings.index for peer_settings in settings]
    return {peer: Assignment(round_index, round_index, Links((peer,), (1.0,)), teaches=True) for peer in peers}
