"""What a trace amounts to: use of the peers' time, ages and losses of messages, who heard whom, the critical path."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from topologies.accounts.critical_path import CriticalPath
from topologies.accounts.messages import FATES, HEARD, Messages
from topologies.accounts.nominal import NominalMixing, gap_of, mean_matrix
from topologies.accounts.queueing import Queueing
from topologies.accounts.sums import Histogram
from topologies.network.trace import SECOND, Cut, Fate, MessageKey, Publication, Step, TimedRound
from topologies.schedule import Schedule
from topologies.worlds.world import World

Row = dict[str, Any]
GOSSIP = "gossip"


class Account:
    """Adds up the rounds of a trace, in order; its memory grows with peers and links, not with rounds.

    Of a peer's time, what is neither computing nor offline is waiting; work that it abandoned as it went offline is in
    it. What a peer is in the middle of after the last round is in nobody's account. An age is that of a message of
    another peer when a step takes it: in rounds, and in seconds since it was published.
    """

    def __init__(self, schedule: Schedule, first: Cut, clock: str = "", world: World | None = None) -> None:
        """schedule: of the links, as asked for. first: the cut at round 0. world: tells how long messages queue."""
        self.num_peers, self.clock = schedule.num_peers, clock
        self.rounds, self.end = 0, 0
        self.path = CriticalPath(self.num_peers)
        self.messages = Messages(self.num_peers)
        self.round_seconds = Histogram(logarithmic=True)
        self.queueing = Queueing(world) if world is not None and world.up is not None else None
        self._nominal = NominalMixing(schedule)
        n = self.num_peers  # lists, since numbers in them are changed faster than in arrays
        self._compute, self._offline, self._waited_for, self._until = [0] * n, [0] * n, [0] * n, [0] * n  # nanoseconds
        self._steps, self._studied, self._absences = [0] * n, [0] * n, [0] * n
        self._sent, self._settled = [0] * n, [0] * n
        self._receivers: dict[MessageKey, int] = {}  # of messages on which their peers have not stepped yet
        self._gone: dict[int, int] = {peer: first.at for peer, online in enumerate(first.online) if not online}
        self._published: dict[MessageKey, int] = {}
        for publication in first.due.values():
            self._publish(publication)
            self.path.publish(publication)

    def add(self, round_: TimedRound) -> None:
        """Add the next round."""
        self.round_seconds.add((round_.end - self.end) / SECOND)
        self.rounds, self.end = round_.index + 1, round_.end
        self._nominal.add(round_.index)
        for wave in round_.waves:
            for publication in wave.returns:
                self._publish(publication)
                self.path.publish(publication)
            for step in wave.steps:
                self._step(step)
                self.path.step(step)
        for delivery in round_.deliveries:
            self.messages.deliver(delivery)
            if delivery.fate is Fate.REPLACED:  # it was never sent
                self._sent[delivery.sender] -= 1
                self._settled[delivery.sender] -= 1
            if self.queueing is not None:
                self.queueing.deliver(delivery)
        for peer, at, online in round_.presence:
            self._change(peer, at, online)
        for key in round_.abandoned:
            self._settled[key[0]] += self._receivers.pop(key, 0)
        for sender, versions in round_.released.items():
            for version in versions:
                self._published.pop((sender, version), None)
        self.path.release(round_.released)

    # ---- what came of it ----

    @property
    def seconds(self) -> float:
        """The virtual time of the rounds so far."""
        return self.end / SECOND

    def effective(self) -> csr_array:
        """The mean weight with which the row's peer has heard the column's in a step; what it kept is its own."""
        steps = self._studied if self.clock == GOSSIP else self._steps  # a push is no step on what others say
        return mean_matrix(self.messages.weights, np.array(steps, np.float64))

    def nominal(self) -> csr_array:
        """The same as the schedule asks for it: the mean of its pooling matrices."""
        return self._nominal.matrix()

    def settled(self) -> list[int]:
        """How many messages each peer has sent on which it has stepped since, or never will: as rounds count them.

        Without those that a newer one replaced before they were sent.
        """
        return list(self._settled)

    def use(self) -> dict[str, float]:
        """The shares of all peers' time: compute, wait, offline; they sum to 1."""
        parts = np.array([self._use_of(peer) for peer in range(self.num_peers)], np.float64).sum(axis=0)
        shares = parts / (parts.sum() or 1.0)
        return dict(zip(("compute", "wait", "offline"), shares.tolist(), strict=True))

    def summary(self, asked: Mapping[str, float | None] | None = None) -> dict[str, Any]:
        """All of it as plain values. asked: `loss` and `availability` as the settings have them, where they say so."""
        asked, messages = asked or {}, self.messages.counts()
        total, absent = (
            sum(messages.values()) - messages["replaced"],
            sum(self._use_of(peer)[2] for peer in range(self.num_peers)),
        )
        ages = self.messages.ages.figures() if self.clock != GOSSIP else None
        return {
            "virtual_seconds": self.seconds,
            "seconds_per_round": self.seconds / self.rounds if self.rounds else None,
            "round_seconds": self.round_seconds.figures(),
            "use": self.use(),
            "steps": sum(self._steps),
            "steps_without_a_message": sum(self._steps) - sum(self._studied),
            "messages": messages,
            "loss": {"asked": asked.get("loss"), "seen": messages["lost"] / total if total else None},
            "availability": {
                "asked": asked.get("availability"),
                "seen": 1 - absent / (self.end * self.num_peers) if self.end else None,
            },
            "age_rounds": ages,
            "age_seconds": self.messages.age_seconds.figures(),
            "delivery_seconds": self.messages.delivery_seconds.figures(),
            "queueing_seconds": self.queueing.seconds.figures() if self.queueing is not None else None,
            "effective_gap": gap_of(self.effective()),
            "nominal_gap": gap_of(self.nominal()),
            "critical_path": self.path.summary(self.clock, self._waited_for),
        }

    def peers(self) -> list[Row]:
        """A row for each peer."""
        return [self._row_of(peer) for peer in range(self.num_peers)]

    def edges(self) -> Iterator[Row]:
        """A row for each link along which a message was sent or heard, or that the schedule has."""
        effective, nominal = (_cells(matrix) for matrix in (self.effective(), self.nominal()))
        queueing = self.queueing.mean_by_link() if self.queueing is not None else {}
        links = dict(self.messages.links())
        for key in sorted({*links, *nominal}):
            student, teacher = divmod(key, self.num_peers)
            if student != teacher:
                weights = {"mean_weight": effective.get(key, 0.0), "nominal_weight": nominal.get(key, 0.0)}
                yield {"student": student, "teacher": teacher} | self._link(links.get(key), weights, queueing.get(key))

    def _link(self, link: Row | None, weights: Row, queueing: float | None) -> Row:
        """A row of `edges`. link: what `Messages.links` says; None: nothing went along it."""
        seen: Row = link or dict.fromkeys((*FATES.values(), *HEARD), 0) | {"on_the_way": None}
        count, dated = int(seen["heard"]), self.clock != GOSSIP
        return {
            **{name: seen[name] for name in FATES.values()},
            "heard": count,
            **weights,
            "mean_age": seen["age"] / count if count and dated else None,
            "max_age": int(seen["max_age"]) if count and dated else None,
            "mean_age_seconds": seen["seconds"] / count if count else None,
            "max_age_seconds": seen["max_seconds"] if count else None,
            "mean_delivery_seconds": seen["on_the_way"],
            "mean_queueing_seconds": queueing,
        }

    def age_bins(self) -> dict[str, list[list[float]]]:
        """The histograms of ages: pairs of a value and how many messages had it, by unit: `rounds`, `seconds`."""
        self.messages.add_up()
        rounds = {} if self.clock == GOSSIP else {"rounds": self.messages.ages.bins().tolist()}
        return rounds | {"seconds": self.messages.age_seconds.bins().tolist()}

    # ---- adding up ----

    def _publish(self, publication: Publication) -> None:
        if publication.useful:
            self._published[publication.peer, publication.version] = publication.at
        self._sent[publication.peer] += len(publication.sent_to)
        self._receivers[publication.peer, publication.version] = len(publication.sent_to)
        if self.queueing is not None:
            self.queueing.publish(publication)

    def _step(self, step: Step) -> None:
        peer = step.peer
        for teacher, weight, age in step.heard:
            since = 0 if teacher == peer else step.start - self._published[teacher, step.version - age]
            self.messages.hear(peer, teacher, weight, age, since / SECOND)
        self._settled[peer] += self._receivers.pop((peer, step.version), 0)
        self._compute[peer] += step.finish - step.start
        self._until[peer] = max(self._until[peer], step.finish)
        self._steps[peer] += 1
        self._studied[peer] += bool(step.heard)
        if step.waited_for not in (-1, peer):
            self._waited_for[step.waited_for] += step.start - step.published
        if step.following is not None:
            self._publish(step.following)

    def _change(self, peer: int, at: int, online: bool) -> None:
        if not online and peer not in self._gone:
            self._gone[peer] = at
            self._absences[peer] += 1
        elif online and peer in self._gone:
            self._offline[peer] += at - self._gone.pop(peer)
        self._until[peer] = max(self._until[peer], at)

    def _use_of(self, peer: int) -> tuple[int, int, int]:
        """Nanoseconds of a peer: computing, waiting, offline."""
        compute, offline, until = self._compute[peer], self._offline[peer], self._until[peer]
        if peer in self._gone:
            offline, until = offline + max(0, self.end - self._gone[peer]), max(until, self.end)
        return compute, max(0, until - compute - offline), offline

    def _row_of(self, peer: int) -> Row:
        compute, wait, offline = (part / SECOND for part in self._use_of(peer))
        return {
            "peer": peer,
            "steps": self._steps[peer],
            "steps_with_messages": self._studied[peer],
            "messages_sent": self._sent[peer],
            "compute_seconds": compute,
            "wait_seconds": wait,
            "offline_seconds": offline,
            "times_offline": self._absences[peer],
            "waited_for_seconds": self._waited_for[peer] / SECOND,
            "critical_path_share": self.path.share_of(peer),
        }


def _cells(matrix: csr_array) -> dict[int, float]:
    """The cells of a matrix of students by teachers that are not 0, by student * peers + teacher."""
    cells = matrix.tocoo()
    keys = cells.row.astype(np.int64) * matrix.shape[0] + cells.col
    return dict(zip(keys.tolist(), cells.data.tolist(), strict=True))
