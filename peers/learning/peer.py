"""One peer: a network with its optimiser. Peers hold all mutable state of the learning.

Between two calls the network is always *settled*: in the state after the peer's last step. The forward pass that
publishes the peer's outputs for its next round uses copies of the BatchNorm buffers, which become the network's own
when that round begins. Measures and checkpoints therefore never see the state in the middle of a round.
"""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from peers.exchange.assignment import Assignment, Heard, Rejoin, StaleRound, Stats
from peers.exchange.mailbox import check_senders
from peers.exchange.messages import Message, pack_checked
from peers.exchange.sums import Sum
from peers.exchange.wire import Payload
from peers.learning import measured, snapshot
from peers.learning.averaging import received_of, sum_in, target_of_sum
from peers.learning.checkpoint_messages import weights_of
from peers.learning.learner import Learner, Pending, Task
from peers.learning.lessons import Read, lessons_of, shares_of
from peers.learning.listening import heard_in_sum, listen
from peers.learning.replacement import Replacement
from peers.learning.settings import fresh_network
from peers.learning.snapshot import Kept
from peers.learning.twin import twin_of
from peers.networks.network import Network
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from peers.probing.observing import Observation


class Peer(Learner):
    """A peer that publishes its outputs, learns from its teachers' outputs, and is measured.

    `publish` and `advance` run a single peer, which is the execution "loop". A `PeerStack` runs many at once, and
    calls these methods: `assign`, `outgoing`, `drop`, `drop_unless_finite`, `end_step`, `renew_teacher`.
    """

    def restart(self) -> None:
        """Reset to the untrained state."""
        super().restart()
        self.twin = twin_of(self.settings, self.dataset, self.batches, Peer)
        self.replacement = Replacement.of(self.settings, self.dataset.shape, self.twin)
        self.due: Assignment | None = None
        self.sent: Message | None = None

    # ---- rounds ----

    @property
    def brings_weights(self) -> bool:
        """Whether its messages bring the weights that it teaches with, in place of outputs."""
        return self.settings.message == "checkpoint"

    @property
    def teaching(self) -> Network:
        """The network whose outputs its students learn from."""
        instead = None if self.replacement is None else self.replacement.teaching
        if instead is not None:
            return instead
        return self.network if self.teacher is None else self.teacher.network

    def publish(self, assignment: Assignment) -> tuple[Message | None, Stats]:
        """Run the forward pass of an upcoming round; returns its outputs as a message if the peer teaches in it."""
        start = time.perf_counter()
        message = self.sent = self._publish(assignment)
        return message, self.stats(time.perf_counter() - start, message)

    def advance(
        self, assignment: Assignment, following: Assignment | None, *messages: Message | Sum
    ) -> tuple[Message | None, Stats]:
        """Learn one round from the teachers' messages, then publish for `following`, the peer's next assignment.

        messages: those of the assignment's links, in order; or the round's sum, if the assignment has `sum_weights`.

        Raises: StaleRound if the peer has not published for this round; ValueError if the sender or round of a message
        differs from its link.
        """
        start = time.perf_counter()
        if self.due != assignment:
            raise StaleRound(f"peer {self.index} has not published for round {assignment.round_index}")
        check_senders(self.index, assignment, messages)
        pending, self.due, self.pending = self.pending, None, None
        loss, norm, heard = None, None, None
        if pending is not None:
            self.settle(pending)
            task = None
            if self.terms.from_messages:
                task, heard = self._task_of(assignment, pending, messages)
            tasks = self.with_own_terms([] if task is None else [task], pending, assignment)
            if tasks:
                loss, norm = self.study(tasks, assignment)
        if loss is not None:
            self._twin_learns(assignment)
        message = self.sent = self._publish(following) if following is not None else None
        return message, self.stats(time.perf_counter() - start, message, loss, norm, heard)

    def _task_of(
        self, assignment: Assignment, pending: Pending, messages: Sequence[Message | Sum]
    ) -> tuple[Task | None, Heard | None]:
        """What the messages of a round teach, None if nobody has sent any of use; and what became of them."""
        if assignment.sum_weights is None:
            received = received_of(assignment, messages, self.index, pending.own, self.device)
            listened = listen(received, pending.own, self.ear)
            return self.task_of(1.0, pending, listened), listened.heard
        teachers = target_of_sum(assignment, messages, self.sent, pending.own, self.device)
        heard = heard_in_sum(sum_in(messages), self.settings)
        return None if teachers is None else Task(1.0, pending, *teachers), heard

    def step(self, assignment: Assignment, following: Assignment | None, read: Read) -> tuple[Message | None, Stats]:
        """`advance` where links, ages and batches of the messages are known only now.

        assignment: the one of the last publication, with the links of the step. Messages about other batches than its
        own take one forward pass more for each of these, in ascending order, which BatchNorm's statistics follow.
        Raises: StaleRound.
        """
        start = time.perf_counter()
        if self.due is None or self.due.round_index != assignment.round_index:
            raise StaleRound(f"peer {self.index} has not published for round {assignment.round_index}")
        pending, self.due, self.pending = self.pending, None, None
        loss, norm, heard = None, None, None
        if pending is not None:
            self.settle(pending)
            lessons = lessons_of(assignment, self.index, read) if self.terms.from_messages else []
            found = [self.hear(lesson, pending, assignment.batch_index) for lesson in lessons]
            heard = Heard.together(listened.heard for _, listened in found)
            told = [(seen, listened) for seen, listened in found if listened.teachers]
            shares = shares_of([listened.weight for _, listened in told])
            of_messages = [self.task_of(share, *each) for share, each in zip(shares, told, strict=True)]
            tasks = self.with_own_terms([task for task in of_messages if task is not None], pending, assignment)
            if tasks:
                loss, norm = self.study(tasks, assignment)
        if loss is not None:
            self._twin_learns(assignment)
        message = self.sent = self._publish(following) if following is not None else None
        return message, self.stats(time.perf_counter() - start, message, loss, norm, heard)

    def come_back(self, back: Rejoin, state: Mapping[str, Tensor]) -> None:
        """Come back online, with the weights that `back` says; it has to publish again.

        state: those of the neighbour. Raises: ValueError if its network is another.
        """
        self.due = self.pending = self.sent = None
        if back.weights != "own" and not self.failure:
            fresh = back.weights == "fresh"
            if fresh and self.twin is not None:  # what it has learned is lost, too
                self.twin.peer.restart()
            self.begin_again(
                fresh_network(self.settings, self.dataset.shape, back.count).state_dict() if fresh else state
            )

    def assign(self, assignment: Assignment) -> Message | None:
        """Accept the assignment of an upcoming round; returns a dropout notice if the peer has dropped out."""
        self.due = assignment
        return self._dropout_notice(assignment.round_index) if self.failure else None

    def outgoing(self, assignment: Assignment, payload: Payload, finite: bool) -> Message | None:
        """The message to publish; None if no peer learns from it, a dropout notice if the outputs are not finite.

        finite: of its own outputs: a lie that is not is sent as what it is.
        """
        if not finite:
            exchange = self.settings.exchange
            self.drop(f"outputs are not finite in {exchange.dtype}", assignment.run_round)
            return self._dropout_notice(assignment.round_index)
        if not assignment.teaches:
            return None
        if self.brings_weights:
            payload = weights_of(self.teaching)
            payload = payload if self.liar is None else self.liar.weights(payload, assignment.round_index)
        return self._message(assignment.round_index, payload)

    def _publish(self, assignment: Assignment) -> Message | None:
        notice = self.assign(assignment)
        if notice is not None:
            return notice
        images, labels = self.batches(assignment.batch_index, self.index)
        buffers = self.network.copied_buffers()
        exchange = self.settings.exchange
        with torch.set_grad_enabled(assignment.studies and not self.settings.recompute):
            features, outputs = self.forward(buffers, images, assignment.round_index)
        self.pending = Pending(assignment.round_index, images, labels, features, outputs, buffers)
        self.renew_teacher(assignment.round_index)
        if self.twin is not None:
            self.twin.renew(assignment.round_index)
        listens = self.ear is not None and assignment.studies  # which takes something of itself
        if self.teacher is not None and (assignment.teaches or listens):
            features, outputs = self.teacher.outputs(images, self.settings, assignment.round_index)
        exchanged = exchange.exchanged(features, outputs)
        if listens:
            self.pending.own = self.as_read(exchanged)
        if self.replacement is not None and assignment.teaches and not self.brings_weights:
            if (assignment.links_follow or assignment.own_weight(self.index)) and self.pending.own is None:
                self.pending.own = self.as_read(exchanged)
            exchanged = self.replacement.exchanged(exchanged, images, assignment.round_index, assignment.batch_index)
        values = exchange.sent(exchanged)
        truthful = packed = pack_checked(values, exchange.wire, torch.device("cpu"))
        if self.liar is not None and assignment.teaches and not self.brings_weights:
            lie = self.liar.outputs(values, assignment.round_index)
            packed = pack_checked(lie, exchange.wire, torch.device("cpu"))
        if (assignment.links_follow or self.brings_weights) and self.pending.own is None:
            self.pending.own = truthful.received.to(self.device)
        return self.outgoing(assignment, packed.payload, bool(truthful.finite))

    def _twin_learns(self, assignment: Assignment) -> None:
        """After a step: in the control `irrelevant` the network that teaches in the peer's place takes one, too."""
        failure = "" if self.twin is None or self.failure else self.twin.learn(assignment)
        if failure:
            self.drop(f"in the network that teaches in its place, {failure}", assignment.run_round)

    def _message(self, round_index: int, payload: Payload | None) -> Message:
        exchange = self.settings.exchange
        return Message(self.index, round_index, exchange.wire, self.width, payload, self.brings_weights)

    def _dropout_notice(self, round_index: int) -> Message:
        """A message that tells students that this peer has dropped out."""
        return self._message(round_index, None)

    def stats(
        self,
        seconds: float,
        message: Message | None,
        loss: float | None = None,
        norm: float | None = None,
        heard: Heard | None = None,
    ) -> Stats:
        """The statistics of a call, for the coordinator."""
        sent = message.num_bytes if message is not None else 0
        return Stats(loss, norm, sent, seconds, self.failure, self.failure_round, heard)

    # ---- measures ----

    def observe(self, keep: bool = False) -> Observation:
        """Measure the outputs on the fixed probe batch, and the weights, without changing the peer.

        keep: whether the observation contains features and outputs.
        """
        return measured.observe(self, keep)

    def probe(self, subject: ProbeSubject, rounds: Sequence[int] = ()) -> ProbeOutcome:
        """Whether each probe classifies each test image correctly, on this peer or on one of its controls.

        rounds: the rounds whose batches the calibrated and the recalibrated control are shown. With the rounds in which
        the peer takes part, these run through the same forward passes as training, but without the steps.
        """
        return measured.probe(self, subject, rounds)

    def content(self, completed: int, kept: Sequence[Kept] = ()) -> bytes:
        """The state after `completed` rounds, for a checkpoint. kept: its messages that are still to be used."""
        return snapshot.content(self, completed, kept)

    def restore(self, saved: bytes) -> tuple[int, list[Kept]]:
        """Load the state of a checkpoint; returns the number of completed rounds, and the messages that it kept.

        Raises: DamagedCheckpoint.
        """
        found = snapshot.restore(self, saved)
        self.due = self.pending = self.sent = None  # it has to publish again
        return found

    def digest(self) -> bytes:
        """SHA-256 over the settled parameters and buffers, including names and shapes."""
        return snapshot.digest(self.network)
