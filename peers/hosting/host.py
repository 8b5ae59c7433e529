"""The host of one or more peers, used both in this process and in a Ray actor."""

import functools
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from peers.base.precision import configure
from peers.base.storage import Folder
from peers.data.datasets import Dataset
from peers.exchange.assignment import Assignment, Links, Rejoin, StaleRound, Stats, Study
from peers.exchange.sums import Sum
from peers.hosting.evaluator import State
from peers.hosting.postbox import Bundle, Postbox
from peers.hosting.stacking import stacks_of
from peers.hosting.ways import Way, fastest
from peers.learning import peer_files
from peers.learning.peer import Peer
from peers.learning.settings import Execution, PeerSettings
from peers.learning.sight import Sight
from peers.learning.vectorised.peer_stack import Answer
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observations, observe_all

MOST_BATCHES = 8  # memoised where messages are late


class PeerHost:
    """Holds peers and runs them through the rounds, in a loop or vectorised; calls arrive one at a time and in order.

    Messages between its own peers never leave the host; those to other hosts are sent together.
    """

    def open(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int, execution: Execution) -> None:
        """Build the peers."""
        first = settings[0]
        configure(torch.device(first.device), num_threads, first.deterministic)
        sight = Sight(settings, dataset)
        self.peers = {peer_settings.index: Peer(peer_settings, dataset, sight) for peer_settings in settings}
        self.device = torch.device(first.device)
        self.use(execution)

    def use(self, execution: Execution) -> None:
        """Use this execution for the next rounds; published messages are discarded."""
        self.execution: Execution = execution
        self.stacks = stacks_of(list(self.peers.values())) if execution == "vectorised" else []
        self._stacked = {peer.index: number for number, stack in enumerate(self.stacks) for peer in stack.peers}
        self.post = Postbox(self.peers, self.device)
        self.mailbox = self.post.mailbox

    def trial(self, settings: Sequence[PeerSettings], dataset: Dataset, num_threads: int, ways: Sequence[Way]) -> Way:
        """The fastest of these ways, by rounds of some of these peers as their own teachers, in a temporary host."""

        def seconds(way: Way, timed: Sequence[PeerSettings], rounds: int) -> float:
            host, of_rounds = PeerHost(), []
            host.open([way.of(each) for each in timed], dataset, num_threads, way.execution)
            host.publish(_self_taught(timed, 0))
            for round_index in range(rounds):
                start = time.perf_counter()
                host.advance(round_index, _self_taught(timed, round_index + 1))
                of_rounds.append(time.perf_counter() - start)
            return min(of_rounds)

        return fastest(settings, dataset, num_threads, ways, seconds)

    def ready(self) -> int:
        """The process id, once the process can be called."""
        return os.getpid()

    def touch(self, folder: str, name: str) -> None:
        """Write a small file, to check that this process can write to a folder. Raises: OSError."""
        Folder(folder).write(name, b"reached\n")

    # ---- rounds ----

    def publish(
        self, assignments: Mapping[int, Assignment], live: Mapping[int, Sequence[int]] | None = None
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Run the forward passes of the peers' first rounds, or of rounds that take the place of those published.

        live: after a restored checkpoint, by peer, the numbers of its older messages that may still be used; what else
        was kept is discarded, and those for other hosts are handed out again.
        """
        if live is not None:
            self.post.keep_only(live, assignments)
        return self._publish(assignments)

    def _publish(self, assignments: Mapping[int, Assignment]) -> tuple[Bundle, dict[int, Stats]]:
        self._replace_due(assignments)
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(assignments):
            if number is None:
                answers |= {peer: self.peers[peer].publish(assignment) for peer, assignment in of_stack.items()}
            else:
                answers |= self.stacks[number].publish(of_stack, self.mailbox)
        return self.post.deliver(answers, assignments)

    def advance(
        self, round_index: int, following: Mapping[int, Assignment | None], *arrived: Bundle | Sum
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Learn one round, then publish for the next one.

        following: the next assignment of each peer that has a part in this round.

        Raises: StaleRound if a peer has not published for the round; ValueError if a message is missing or malformed.
        """
        dues = {peer: self._due(round_index, peer) for peer in following}
        self.post.receive(round_index, dues, arrived)
        if self.brings_weights:  # students run these on their batches, as in `step`
            answers = self._step(dues, following)
            self.mailbox.discard_through(round_index)
            return self.post.deliver(answers, _present(following))
        answers = {}
        for number, of_stack in self._split(following):
            if number is None:
                messages = {peer: self.mailbox.collect(dues[peer]) for peer in of_stack}
                for peer, upcoming in of_stack.items():
                    answers[peer] = self.peers[peer].advance(dues[peer], upcoming, *messages[peer])
            else:
                answers |= self.stacks[number].advance(dues, of_stack, self.mailbox)
        self.mailbox.discard_through(round_index)
        return self.post.deliver(answers, _present(following))

    def step(
        self, studies: Mapping[int, Study], following: Mapping[int, Assignment | None], *arrived: Bundle
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Steps of some peers on messages that they have published, with links told only now; then publish the next.

        following: the next assignment of these peers; None, or no entry: it publishes nothing for now. arrived: holds
        all messages from other hosts that these steps use, whether they have been brought before or not.

        Raises: StaleRound if a peer has not published that message last; ValueError if a message is missing or
        malformed.
        """
        next(iter(self.peers.values())).batches.keep(min(len(self.peers) + 2, MOST_BATCHES))
        steps = {peer: study.of(self._due(study.version, peer)) for peer, study in studies.items()}
        foreign = self.post.receive_for(steps, arrived)
        answers = self._step(steps, following)
        for key in foreign:
            self.mailbox.release(key)
        for peer, study in studies.items():
            self.post.release(peer, study.released if steps[peer].kept else (*study.released, study.version))
        return self.post.deliver(answers, _present({peer: following.get(peer) for peer in studies}))

    def rejoin(
        self, assignments: Mapping[int, Assignment], returns: Mapping[int, Rejoin], *states: Mapping[int, State]
    ) -> tuple[Bundle, dict[int, Stats]]:
        """Peers come back online, with the weights that `returns` says, and publish by their assignments.

        states: holds the states of neighbours on other hosts whose weights are copied. Raises: ValueError if one is
        missing, or if its network is another.
        """
        sources = {back.source for back in returns.values() if back.weights == "neighbour"}
        found = {peer: tensors_of(state) for of in states for peer, state in of.items() if peer in sources}
        for peer in sources & {*self.peers}:  # all copies are taken before any peer changes
            found[peer] = {name: each.clone() for name, each in self.peers[peer].network.state_dict().items()}
        if missing := sorted(sources - found.keys()):
            raise ValueError(f"peers come back with the weights of peers {missing}, which have not arrived")
        for number, of_stack in self._split(returns):
            if number is not None:
                self.stacks[number].forget(of_stack)
        self._replace_due(returns)
        for peer, back in returns.items():
            self.peers[peer].come_back(back, found.get(back.source, {}))
        return self._publish(assignments)

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

    def states(self, peers: Sequence[int] | None = None) -> dict[int, State]:
        """Copies of the parameters and buffers of some peers (None: of all), for an evaluator or another host."""
        wanted = self.peers.keys() if peers is None else set(peers)
        return {
            index: {name: tensor.detach().cpu().numpy().copy() for name, tensor in peer.network.state_dict().items()}
            for index, peer in self.peers.items()
            if index in wanted
        }

    def digest(self) -> dict[int, bytes]:
        """SHA-256 of every peer's parameters and buffers."""
        return {index: peer.digest() for index, peer in self.peers.items()}

    def save(self, folder: str, completed: int) -> dict[int, str]:
        """Write every peer's state after `completed` rounds; returns the SHA-256 of each. Raises: OSError."""
        contents = ((index, peer.content(completed, self.post.of(index))) for index, peer in self.peers.items())
        return peer_files.write(contents, folder, together=len(self.peers) > peer_files.TOGETHER)

    def restore(self, folder: str, checksums: Mapping[int, str]) -> dict[int, int]:
        """Load every peer from a checkpoint; returns their numbers of completed rounds. Raises: DamagedCheckpoint.

        checksums: by peer, the expected SHA-256 of its state; an empty string is not checked.
        """
        files = peer_files.PeerFiles(folder)
        found = {index: peer.restore(files.content(index, checksums[index])) for index, peer in self.peers.items()}
        self.use(self.execution)  # published messages are void, but for those that were kept
        for _, kept in found.values():
            self.post.restore(kept)
        return {index: completed for index, (completed, _) in found.items()}

    def restart(self, settings: Sequence[PeerSettings]) -> None:
        """Replace the peers by untrained ones with these settings: those of the run, or of one of its control runs."""
        any_peer = next(iter(self.peers.values()))
        dataset, sight = any_peer.dataset, any_peer.batches.for_run(settings)
        self.peers, self.stacks = {}, []  # first, so that memory never holds both
        self.peers = {peer_settings.index: Peer(peer_settings, dataset, sight) for peer_settings in settings}
        self.use(self.execution)  # published messages are void

    def _step(self, steps: Mapping[int, Assignment], following: Mapping[int, Assignment | None]) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        for number, of_stack in self._split(steps):
            if number is None:
                for peer, assignment in of_stack.items():
                    answers[peer] = self.peers[peer].step(assignment, following.get(peer), self.post.read)
            else:
                answers |= self.stacks[number].step(of_stack, following, self.post.read, self.mailbox)
        return answers

    @property
    def brings_weights(self) -> bool:
        return next(iter(self.peers.values())).brings_weights

    def _due(self, round_index: int, peer: int) -> Assignment:
        due = self.peers[peer].due
        if due is None or due.round_index != round_index:
            raise StaleRound(f"peer {peer} has not published for round {round_index}")
        return due

    def _replace_due(self, peers: Iterable[int]) -> None:
        """Discard what these peers have published last, if nobody has asked for it to be kept."""
        for peer in peers:
            due = self.peers[peer].due
            if due is not None and due.held and not due.kept:
                self.post.release(peer, [due.round_index])

    def _split(self, parts: Mapping[int, Any]) -> list[tuple[int | None, dict[int, Any]]]:
        """The peers' parts grouped by the number of their stack; None: peers in no stack."""
        split: dict[int | None, dict[int, Any]] = {}
        for peer, part in parts.items():
            split.setdefault(self._stacked.get(peer), {})[peer] = part
        return list(split.items())


def _self_taught(settings: Sequence[PeerSettings], round_index: int) -> dict[int, Assignment]:
    peers = [peer_settings.index for peer_settings in settings]
    return {peer: Assignment(round_index, round_index, Links((peer,), (1.0,)), teaches=True) for peer in peers}


def tensors_of(state: State) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in state.items()}


def _present(following: Mapping[int, Assignment | None]) -> dict[int, Assignment]:
    """The assignments of those that have one."""
    return {peer: assignment for peer, assignment in following.items() if assignment is not None}
