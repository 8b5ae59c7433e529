"""The clocks `deadline` and `free-running`: peers that go on with what has arrived."""

from topologies.network.assembly import Assembly
from topologies.network.event_driven import FINISH, START, EventDriven, best
from topologies.network.hearing import aged, shared
from topologies.network.links import Present
from topologies.network.trace import SECOND, Cut, Fate, Publication, Return, Step, TimedRound
from topologies.round import Edge
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

Arrival = tuple[int, int, int]  # when, version, sender
Heard = list[tuple[int, int]]  # (sender, version), ascending


class Asynchronous(EventDriven):
    """Peers that never wait for long.

    under_way: messages on their way to a peer, and those that are there but about a later round than its own. inbox: by
    sender, the newest message that is there, and whether the peer has studied it. studying: what a peer's step has
    heard, when it started, and for whom it waited; None: it waits, or idles through a round in which it has no part.
    """

    def __init__(self, world: World, schedule: Schedule, present: Present | None, network: NetworkConfig) -> None:
        super().__init__(world, schedule, present, single=True)
        count = world.num_peers
        self.deadline = 0 if network.deadline is None else round(network.deadline * SECOND)
        self.waits = network.clock == "deadline"
        self.drops = self.waits and network.late == "drop"
        self.max_age = 0 if self.drops else network.max_age
        self.assembly = Assembly(count, network.round_seconds)
        self.under_way: list[list[Arrival]] = [[] for _ in range(count)]
        self.inbox: list[dict[int, tuple[int, bool]]] = [{} for _ in range(count)]
        self.studying: list[tuple[Heard, int, int] | None] = [None] * count
        self.planned: list[tuple[int, int]] = [(0, 0)] * count
        self.idling: list[int | None] = [None] * count  # the round that a peer idles through
        self.returning: list[Return | None] = [None] * count
        for peer in range(count):
            if self.online[peer]:
                message = self._begin(peer, 0)
                if message is not None:
                    self.assembly.begin(message)

    def copied(self) -> None:
        """Copy what `copy` has not."""
        self.assembly = self.assembly.copy()

    def next_round(self) -> TimedRound | None:
        """The next round; None: nothing will ever happen again."""
        while not self.assembly.is_closed(self.heap[0][0] if self.heap else None):
            if not self.advance():
                return None
        deliveries, presence = self.take_deliveries()
        self.index += 1
        self.links.forget(min((due.version for due in self.due if due), default=0) - self.max_age - 1)
        return self.assembly.take(deliveries, presence, sum(self.online))

    def cut(self) -> Cut:
        """What is under way."""
        return self.assembly.cut(self.online)

    def finished(self, peer: int) -> None:
        """A peer has learned, or idled through a round."""
        idled = self.idling[peer]
        if idled is not None:
            self.assembly.passed(self.now)
            message = self._begin(peer, idled + 1)
            if message is not None:
                self.assembly.publish(message)
            return
        due, study = self.due[peer], self.studying[peer]
        assert due is not None and study is not None
        heard, start, who = study
        version = due.version
        latest = max((each[1] for each in self.under_way[peer] if each[0] < self.now), default=0)
        self.studying[peer] = None
        edges = self._edges(peer, version, heard)
        following = self._begin(peer, latest if latest > version + 1 else version + 1)
        self.assembly.step(Step(peer, version, version, edges, due.at, start, self.now, who, following))
        for key in heard:
            self.assembly.release(key)

    def came(self, peer: int) -> None:
        """A peer is back: it goes on in the round that its links are in."""
        known = self.neighbours(peer)
        self.returning[peer] = self.back(peer, best(known))
        message = self._begin(peer, max([self.version[peer] + 1, *(version for version, _ in known)]))
        if message is not None:
            self.assembly.publish(message)

    def left(self, peer: int) -> None:
        """A peer is gone, and with it what it has not studied."""
        due, study = self.due[peer], self.studying[peer]
        self.due[peer] = self.studying[peer] = self.idling[peer] = None
        if due is not None:
            self.assembly.abandon(due)
        if study is not None:
            for message in study[0]:
                self.assembly.release(message)
        for sender in list(self.inbox[peer]):
            self._give_up(peer, sender)
        for at, version, sender in self.under_way[peer]:
            if at < self.now:
                self.assembly.release((sender, version))
        self.under_way[peer] = [each for each in self.under_way[peer] if each[0] >= self.now]

    def posted(self, sender: int, receiver: int, version: int, at: int, fate: Fate) -> None:
        """The arrival of a message is known."""
        if fate is not Fate.ARRIVED:
            if self.transfers is not None:
                self.assembly.release((sender, version))
            return
        if self.transfers is None:
            self.assembly.hold((sender, version))
        self.under_way[receiver].append((at, version, sender))
        due = self.due[receiver]
        if self.waits and due is not None and due.version == version and self.studying[receiver] is None:
            self._plan(receiver)

    def started(self, peer: int) -> None:
        """A peer takes what it learns from."""
        due = self.due[peer]
        assert due is not None
        heard = self._take(peer, due.version)
        self.studying[peer] = (heard, self.now, self.planned[peer][1])
        self.push(self.now + self._duration(peer), FINISH, peer)

    def _duration(self, peer: int) -> int:
        number = self.computed[peer]
        self.computed[peer] = number + 1
        return max(self.world.step_ns(peer, number), 1)

    def _begin(self, peer: int, index: int) -> Publication | None:
        """Begin a round: publish its message, or idle through it without part."""
        plan = self.links.plan(index)
        if not plan.takes_part[peer]:
            self.due[peer], self.idling[peer] = None, index
            self.push(self.now + self._duration(peer), FINISH, peer)
            return None
        receivers = plan.receivers[peer]
        message = Publication(peer, index, index, self.now, receivers, True, self.returning[peer])
        self.due[peer], self.idling[peer], self.returning[peer], self.version[peer] = message, None, None, index
        if self.transfers is not None and receivers:
            self.assembly.hold((peer, index), len(receivers))
        self.send(message)
        if not self.assembly.is_held((peer, index)):
            message = self.due[peer] = message._replace(useful=False)
        self.planned[peer] = (self.now + self.deadline, -1) if self.waits else (self.now, peer)
        self.push(self.planned[peer][0], START, peer)
        if self.waits:
            self._plan(peer)
        return message

    def _plan(self, peer: int) -> None:
        """Let a peer start before its deadline once all that it waits for is known to come before it."""
        due = self.due[peer]
        assert due is not None
        latest = (due.at, peer)
        missing = len(self.links.plan(due.version).teachers[peer])
        for at, version, sender in self.under_way[peer]:
            if version == due.version:
                missing -= 1
                if at > latest[0] or (at == latest[0] and at > due.at and sender > latest[1]):
                    latest = (at, sender)
        if missing == 0 and latest[0] <= due.at + self.deadline and latest != self.planned[peer]:
            self.tokens[peer] += 1
            self.planned[peer] = latest
            self.push(latest[0], START, peer)

    def _take(self, peer: int, version: int) -> Heard:
        """Sort what has arrived, and choose what the peer learns from in its round `version`."""
        inbox = self.inbox[peer]
        self._sort(peer, version)
        teachers = self.links.plan(version).teachers[peer]
        heard: Heard = []
        oldest = version - self.max_age
        for sender in sorted(inbox):
            known, studied = inbox[sender]
            if known < oldest:
                self._give_up(peer, sender)
            elif not studied or (not self.waits and sender in teachers):
                heard.append((sender, known))
                self.assembly.hold((sender, known))
                if self.waits and not studied:  # it will not study it again
                    self.assembly.release((sender, known))
                inbox[sender] = (known, True)
        return heard

    def _sort(self, peer: int, version: int) -> None:
        """Move what has arrived from rounds up to `version` into the inbox; older messages of a sender are given up."""
        inbox, release = self.inbox[peer], self.assembly.release
        later: list[Arrival] = []
        for arrival in self.under_way[peer]:
            at, about, sender = arrival
            if about > version or (at > self.now and not self.drops):
                later.append(arrival)
                continue
            before = inbox.get(sender)
            if at > self.now or (before is not None and before[0] > about):
                release((sender, about))
                continue
            if before is not None:
                self._give_up(peer, sender)
            inbox[sender] = (about, False)
        self.under_way[peer] = later

    def _give_up(self, peer: int, sender: int) -> None:
        """Forget the message of a sender that is there."""
        version, studied = self.inbox[peer].pop(sender)
        if not (self.waits and studied):
            self.assembly.release((sender, version))

    def _edges(self, peer: int, version: int, heard: Heard) -> tuple[Edge, ...]:
        """The edges of what a step has heard."""
        plan = self.links.plan(version)
        row, teachers = plan.edges[peer], plan.teachers[peer]
        if len(heard) == len(teachers) and all(
            sender == teacher for (sender, _), teacher in zip(heard, teachers, strict=True)
        ):
            ages = dict(heard)
            if all(known == version for _, known in heard):
                return row
            return tuple(aged(one[0], one[1], version - ages.get(one[0], version)) for one in row)
        own = [edge for edge in row if edge.teacher == peer]
        weights = {edge.teacher: edge.weight for edge in row}
        found = [
            aged(sender, weights.get(sender) or self.links.plan(known).weight(sender, peer), version - known)
            for sender, known in heard
        ]
        return shared([*own, *found], peer)
