"""The host of one or more peers: the same in this process and in a Ray actor."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from peers.base.precision import configure
from peers.base.storage import Folder
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, StaleRound, Stats
from peers.exchange.mailbox import Letters
from peers.exchange.messages import Message, check
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.learning.peer import Peer
from peers.learning.settings import Execution, PeerSettings
from peers.learning.vectorised.peer_stack import WIDTH, Answer, PeerStack
from peers.probing.measuring import Observations, ProbeOutcome, ProbeSubject, observe_all

TRIED, TRIAL_ROUNDS = 16, 3  # peers and rounds that "auto" times; the first round warms up

Bundle = tuple[Message | Sum, ...]
"""What one call of a host sends to the others: messages that somebody there hears, or their sum."""


class PeerHost:
    """Holds peers and takes them through the rounds, in a loop or vectorised; calls come one at a time and in order.

    Messages between its own peers never leave it, those to other hosts travel together.
    """

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int, execution: Execution) -> None:
        """Make the peers."""
        first = settings[0]
        configure(torch.device(first.device), num_threads, first.precision, first.deterministic)
        batches = first.batches(dataset)
        self.peers = {each.index: Peer(each, dataset, batches) for each in settings}
        self.device = torch.device(first.device)
        self.use(execution)

    def use(self, execution: Execution) -> None:
        """Run the coming rounds in this way; whatever was published is forgotten."""
        self.execution: Execution = execution
        self.stacks = _stacks(list(self.peers.values())) if execution == "vectorised" else []
        self._stacked = {peer.index: number for number, stack in enumerate(self.stacks) for peer in stack.peers}
        self.letters = Letters(self.device)

    def trial(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int) -> tuple[float, float]:
        """Seconds of a peer and round in a loop and vectorised: the best of a few rounds of the first of these peers.

        Each is its own teacher, in a host of their own, which is then forgotten.
        """
        some = settings[:TRIED]

        def best_of(execution: Execution) -> float:
            host = PeerHost()
            host.open(some, dataset, num_threads, execution)
            host.publish(_self_taught(some, 0))
            seconds = []
            for round_index in range(TRIAL_ROUNDS):
                start = time.perf_counter()
                host.advance(round_index, _self_taught(some, round_index + 1))
                seconds.append((time.perf_counter() - start) / len(some))
            return min(seconds)

        return best_of("loop"), best_of("vectorised")

    def ready(self) -> int:
        """The process id, once the process can be called."""
        return os.getpid()

    def touch(self, folder: str, name: str) -> None:
        """Write a small file, to see whether this process reaches a folder. Raises: OSError."""
        Folder(folder).write(name, b"reached\n")

    # ---- rounds ----

    def publish(self, assignments: Mapping[int, Assignment]) -> tuple[Bundle, dict[int, Stats]]:
        """Run the forward passes of the peers' first rounds."""
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(assignments):
            if number is None:
                answers |= {peer: self.peers[peer].publish(each) for peer, each in of_stack.items()}
            else:
                answers |= self.stacks[number].publish(of_stack, self.letters)
        return self._post(answers, assignments)

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Bundle | Sum
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Learn one round, then publish: `following` has the next assignment of each peer with a part in this round.

        Raises: StaleRound when a peer has not published for the round; ValueError when a message is not on its list.
        """
        dues = {peer: self._due(round_index, peer) for peer in following}
        letters = self._letters_of(round_index, arrived)
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(following):
            if number is None:
                heard = {peer: letters.of(dues[peer]) for peer in of_stack}
                for peer, each in of_stack.items():
                    answers[peer] = self.peers[peer].advance(dues[peer], each, *heard[peer])
            else:
                answers |= self.stacks[number].advance(dues, of_stack, letters, self.letters)
        return self._post(answers, {peer: each for peer, each in following.items() if each is not None})

    def total(self, *bundles: Bundle) -> Sum:
        """The sum of a round's messages, of the sums that the hosts have sent; once for all hosts of a node."""
        return Sum.total(each for bundle in bundles for each in bundle if isinstance(each, Sum))

    # ---- anything else ----

    def observe(self, grams: bool) -> Observations:
        """What every peer sees of the probe batch; see `measuring.observe_all`."""
        return observe_all({index: peer.observe for index, peer in self.peers.items()}, grams)

    def probe(self, subject: ProbeSubject, rounds: Mapping[int, Sequence[int]]) -> dict[int, ProbeOutcome]:
        """`Peer.probe` of some peers; rounds: by peer, those of the calibrated control."""
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
        """Write every peer's state after `completed` rounds; gives the SHA-256 of their files. Raises: OSError."""
        return {index: peer.save(folder, completed) for index, peer in self.peers.items()}

    def restore(self, folder: str, checksums: Mapping[int, str]) -> dict[int, int]:
        """Load every peer from a checkpoint; gives the rounds they had completed. Raises: DamagedCheckpoint.

        checksums: by peer, the SHA-256 that its file must have; empty: not checked.
        """
        completed = {index: peer.restore(folder, checksums[index]) for index, peer in self.peers.items()}
        self.use(self.execution)  # what was published is void
        return completed

    def restart(self) -> None:
        """Make every peer untrained again."""
        for peer in self.peers.values():
            peer.restart()
        self.use(self.execution)  # what was published is void

    def _due(self, round_index: int, peer: int) -> Assignment:
        due = self.peers[peer].due
        if due is None or due.round_index != round_index:
            raise StaleRound(f"peer {peer} has not published for round {round_index}")
        return due

    def _letters_of(self, round_index: int, arrived: Sequence[Bundle | Sum]) -> Letters:
        total = next((each for each in arrived if isinstance(each, Sum)), None)
        parts = (each for bundle in arrived if not isinstance(bundle, Sum) for each in bundle)
        # a bundle may hold an older message of somebody whose latest is in another one
        messages = [each for each in parts if isinstance(each, Message) and each.round_index == round_index]
        self._check(round_index, messages, total)
        letters = self.letters.joined(messages, total)
        if letters.total is not None and letters.total.round_index != round_index:
            letters.total = None
        return letters

    def _check(self, round_index: int, messages: Sequence[Message], total: Sum | None) -> None:
        """What comes from elsewhere is looked at once for all who hear it. Raises: ValueError."""
        first = next(iter(self.peers.values()))
        exchange, batch, width = first.settings.exchange, first.settings.data.batch_size, len(first.centre)
        for message in messages:
            check(message, exchange.wire, width, batch, exchange.what == "probabilities")
        if total is not None:
            total.check(batch, width, first.settings.peers.count)

    def _split(self, parts: Mapping[int, Any]) -> list[tuple[int | None, dict[int, Any]]]:
        """The peers' parts by the stack that they are in; None: in none."""
        split: dict[int | None, dict[int, Any]] = {}
        for peer, part in parts.items():
            split.setdefault(self._stacked.get(peer), {})[peer] = part
        return list(split.items())

    def _post(
        self, answers: Mapping[int, Answer], published: Mapping[int, Assignment]
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Keep what the host's own peers hear; give what goes abroad, in peer order, and the stats."""
        sums: dict[int, list[int]] = {}
        for peer, assignment in published.items():
            message = answers[peer][0]
            if message is None:
                continue
            if peer not in self._stacked:
                self.letters.outputs.pop(peer, None)
            self.letters.messages[peer] = message
            if assignment.summed:
                sums.setdefault(assignment.round_index, [])
                if message.payload is not None:
                    sums[assignment.round_index].append(peer)
        bundle: list[Message | Sum] = []
        for round_index, senders in sums.items():
            own = [self.letters.read(self.letters.messages[peer]) for peer in senders]
            self.letters.total = Sum.of(round_index, own)
            bundle.append(self.letters.total)
        if not sums:
            bundle = [self.letters.messages[peer] for peer in sorted(published) if published[peer].abroad]
        return tuple(bundle), {peer: stats for peer, (_, stats) in answers.items()}


def _stacks(peers: list[Peer]) -> list[PeerStack]:
    """Peers of one kind together, at most `WIDTH`; one that is alone of its kind stays in the loop."""
    kinds: list[list[Peer]] = []
    for peer in peers:
        alike = next((each for each in kinds if each[0].kind == peer.kind), None)
        if alike is None:
            kinds.append([peer])
        else:
            alike.append(peer)
    parts = [alike[first : first + WIDTH] for alike in kinds for first in range(0, len(alike), WIDTH)]
    return [PeerStack(part) for part in parts if len(part) > 1]


def _self_taught(settings: Sequence[PeerSettings], round_index: int) -> dict[int, Assignment]:
    return {each.index: Assignment(round_index, (each.index,), (1.0,), True) for each in settings}
