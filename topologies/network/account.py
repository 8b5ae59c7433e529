"""What a trace amounts to: use of the peers' time, ages and losses of messages, who heard whom, the critical path."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from topologies.network.critical_path import CriticalPath
from topologies.network.nominal import NominalMixing, gap_of, mean_matrix
from topologies.network.queueing import Queueing
from topologies.network.sums import Histogram, KeyedSums
from topologies.network.trace import SECOND, Cut, Delivery, Fate, MessageKey, Publication, Step, TimedRound
from topologies.network.world import World
from topologies.schedule import Schedule

Row = dict[str, Any]
NAMES = {"RECEIVER_OFFLINE": "offline", "SENDER_CRASHED": "crashed"}
FATES = {fate: NAMES.get(fate.name, fate.name.lower()) for fate in Fate}  # their names in tables and summary
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
        self.ages = Histogram(logarithmic=False)
        self.age_seconds, self.round_seconds = Histogram(logarithmic=True), Histogram(logarithmic=True)
        self.delivery_seconds = Histogram(logarithmic=True)
        self.queueing = Queueing(world) if world is not None and world.up is not None else None
        self._nominal = NominalMixing(schedule)
        self._weights = KeyedSums(1)
        self._heard = KeyedSums(4, 2)  # by link: messages, weight, age, seconds; largest age and seconds
        self._delivered = KeyedSums(len(FATES) + 1)  # by link: one for each fate; seconds on the way
        self._compute, self._offline, self._waited_for, self._until = np.zeros((4, self.num_peers), np.int64)
        self._steps, self._studied, self._sent, self._absences = np.zeros((4, self.num_peers), np.int64)
        self._settled = np.zeros(self.num_peers, np.int64)
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
            self._deliver(delivery)
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
        return mean_matrix(self._weights, steps.astype(np.float64))

    def nominal(self) -> csr_array:
        """The same as the schedule asks for it: the mean of its pooling matrices."""
        return self._nominal.matrix()

    def messages(self) -> dict[str, int]:
        """Messages on links whose fate is known: how many arrived, were lost, found nobody there, or lost a sender."""
        _, table = self._delivered.table()
        return {name: int(table[:, fate].sum()) for fate, name in FATES.items()}

    def settled(self) -> list[int]:
        """How many messages each peer has sent about which it has stepped since, or never will: as rounds count them."""
        settled: list[int] = self._settled.tolist()
        return settled

    def use(self) -> dict[str, float]:
        """The shares of all peers' time: compute, wait, offline; they sum to 1."""
        parts = np.array([self._use_of(peer) for peer in range(self.num_peers)], np.float64).sum(axis=0)
        shares = parts / (parts.sum() or 1.0)
        return dict(zip(("compute", "wait", "offline"), shares.tolist(), strict=True))

    def summary(self, asked: Mapping[str, float | None] | None = None) -> dict[str, Any]:
        """All of it as plain values. asked: `loss` and `availability` as the settings have them, where they say so."""
        asked, messages = asked or {}, self.messages()
        total, absent = sum(messages.values()), sum(self._use_of(peer)[2] for peer in range(self.num_peers))
        ages = self.ages.figures() if self.clock != GOSSIP else None
        return {
            "virtual_seconds": self.seconds,
            "seconds_per_round": self.seconds / self.rounds if self.rounds else None,
            "round_seconds": self.round_seconds.figures(),
            "use": self.use(),
            "steps": int(self._steps.sum()),
            "steps_without_a_message": int(self._steps.sum() - self._studied.sum()),
            "messages": messages,
            "loss": {"asked": asked.get("loss"), "seen": messages["lost"] / total if total else None},
            "availability": {
                "asked": asked.get("availability"),
                "seen": 1 - absent / (self.end * self.num_peers) if self.end else None,
            },
            "age_rounds": ages,
            "age_seconds": self.age_seconds.figures(),
            "delivery_seconds": self.delivery_seconds.figures(),
            "queueing_seconds": self.queueing.seconds.figures() if self.queueing is not None else None,
            "effective_gap": gap_of(self.effective()),
            "nominal_gap": gap_of(self.nominal()),
            "critical_path": self.path.summary(self.clock, self._waited_for.tolist()),
        }

    def peers(self) -> list[Row]:
        """A row for each peer."""
        return [self._row_of(peer) for peer in range(self.num_peers)]

    def edges(self) -> Iterator[Row]:
        """A row for each link along which a message was sent or heard, or that the schedule has."""
        n, names = self.num_peers, ("heard", "weight", "age", "seconds", "max_age", "max_seconds")
        heard, delivered = (dict(zip(keys.tolist(), table.tolist(), strict=True)) for keys, table in self._tables())
        effective, nominal = (_cells(matrix) for matrix in (self.effective(), self.nominal()))
        queueing = self.queueing.mean_by_link() if self.queueing is not None else {}
        for key in sorted({*heard, *delivered, *nominal}):
            student, teacher = divmod(key, n)
            if student == teacher:
                continue
            of_step = dict(zip(names, heard.get(key, [0.0] * len(names)), strict=True))
            *fates, on_the_way = delivered.get(key, [0.0] * (len(FATES) + 1))
            count = of_step["heard"]
            yield {
                "student": student,
                "teacher": teacher,
                **{name: int(fates[fate]) for fate, name in FATES.items()},
                "heard": int(count),
                "mean_weight": effective.get(key, 0.0),
                "nominal_weight": nominal.get(key, 0.0),
                "mean_age": of_step["age"] / count if count and self.clock != GOSSIP else None,
                "max_age": int(of_step["max_age"]) if count and self.clock != GOSSIP else None,
                "mean_age_seconds": of_step["seconds"] / count if count else None,
                "max_age_seconds": of_step["max_seconds"] if count else None,
                "mean_delivery_seconds": on_the_way / fates[0] if fates[0] else None,
                "mean_queueing_seconds": queueing.get(key),
            }

    def age_bins(self) -> dict[str, list[list[float]]]:
        """The histograms of ages: pairs of a value and how many messages had it, by unit: `rounds`, `seconds`."""
        rounds = {} if self.clock == GOSSIP else {"rounds": self.ages.bins().tolist()}
        return rounds | {"seconds": self.age_seconds.bins().tolist()}

    # ---- adding up ----

    def _publish(self, publication: Publication) -> None:
        if publication.useful:
            self._published[publication.peer, publication.version] = publication.at
        self._sent[publication.peer] += len(publication.sent_to)
        self._receivers[publication.peer, publication.version] = len(publication.sent_to)
        if self.queueing is not None:
            self.queueing.publish(publication)

    def _step(self, step: Step) -> None:
        peer, first_key = step.peer, step.peer * self.num_peers
        for teacher, weight, age in step.heard:
            self._weights.add(first_key + teacher, weight)
            if teacher != peer:
                since = step.start - self._published.get((teacher, step.version - age), step.start)
                self._heard.add(first_key + teacher, 1.0, weight, age, since / SECOND, age, since / SECOND)
                self.ages.add(age)
                self.age_seconds.add(since / SECOND)
        self._settled[peer] += self._receivers.pop((peer, step.version), 0)
        self._compute[peer] += step.finish - step.start
        self._until[peer] = max(self._until[peer], step.finish)
        self._steps[peer] += 1
        self._studied[peer] += bool(step.heard)
        if step.waited_for not in (-1, peer):
            self._waited_for[step.waited_for] += step.start - step.published
        if step.following is not None:
            self._publish(step.following)

    def _deliver(self, delivery: Delivery) -> None:
        fates = [0.0] * len(FATES)
        fates[delivery.fate] = 1.0
        on_the_way = (delivery.arrived - delivery.sent) / SECOND if delivery.fate is Fate.ARRIVED else 0.0
        self._delivered.add(delivery.receiver * self.num_peers + delivery.sender, *fates, on_the_way)
        if delivery.fate is Fate.ARRIVED:
            self.delivery_seconds.add(on_the_way)
        if self.queueing is not None:
            self.queueing.deliver(delivery)

    def _change(self, peer: int, at: int, online: bool) -> None:
        if not online and peer not in self._gone:
            self._gone[peer] = at
            self._absences[peer] += 1
        elif online and peer in self._gone:
            self._offline[peer] += at - self._gone.pop(peer)
        self._until[peer] = max(self._until[peer], at)

    def _use_of(self, peer: int) -> tuple[int, int, int]:
        """Nanoseconds of a peer: computing, waiting, offline."""
        compute, offline, until = int(self._compute[peer]), int(self._offline[peer]), int(self._until[peer])
        if peer in self._gone:
            offline, until = offline + max(0, self.end - self._gone[peer]), max(until, self.end)
        return compute, max(0, until - compute - offline), offline

    def _row_of(self, peer: int) -> Row:
        compute, wait, offline = (part / SECOND for part in self._use_of(peer))
        return {
            "peer": peer,
            "steps": int(self._steps[peer]),
            "steps_with_messages": int(self._studied[peer]),
            "messages_sent": int(self._sent[peer]),
            "compute_seconds": compute,
            "wait_seconds": wait,
            "offline_seconds": offline,
            "times_offline": int(self._absences[peer]),
            "waited_for_seconds": float(self._waited_for[peer] / SECOND),
            "critical_path_share": self.path.share_of(peer),
        }

    def _tables(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for sums in (self._heard, self._delivered):
            yield sums.table()


def _cells(matrix: csr_array) -> dict[int, float]:
    """The cells of a matrix of students by teachers that are not 0, by student * peers + teacher."""
    cells = matrix.tocoo()
    keys = cells.row.astype(np.int64) * matrix.shape[0] + cells.col
    return dict(zip(keys.tolist(), cells.data.tolist(), strict=True))
