"""The clock `gossip`: peers wake at random times and exchange with one neighbour. Source: Boyd et al., 2006.

An exchange has three acts. The peer that wakes pushes its outputs on a batch to a partner. The partner answers with its
own on that batch, as they are before its step, and studies the push. When the answer arrives, the first peer runs the
batch again, and studies the answer. A peer does one thing at a time, in order of arrival.
"""

from collections import deque
from typing import NamedTuple

from topologies.network.assembly import Assembly
from topologies.network.event_driven import ARRIVE, FINISH, WAKE, EventDriven, best
from topologies.network.links import Present
from topologies.network.trace import Cut, Fate, Publication, Return, Step, TimedRound
from topologies.round import Edge
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World


class Task(NamedTuple):
    """What a peer has to do. other: the partner of a push, or whose message it is to study. version: of that message.

    push: it is to push. answers: it is to answer what it studies. batch: what it is all about.
    """

    push: bool
    other: int
    version: int
    batch: int
    answers: bool


class Gossip(EventDriven):
    """Peers that wake by themselves. acting: what a peer does at present, and since when."""

    def __init__(self, world: World, schedule: Schedule, present: Present | None, network: NetworkConfig) -> None:
        super().__init__(world, schedule, present, single=True)
        count = world.num_peers
        self.assembly = Assembly(count, network.round_seconds)
        self.wakes = [0] * count  # wake-ups planned so far
        self.queue: list[deque[Task]] = [deque() for _ in range(count)]
        self.acting: list[Task | None] = [None] * count
        self.returning: list[Return | None] = [None] * count
        self.sent: dict[tuple[int, int], Task] = {}  # by message, what its receiver has to do
        for peer in range(count):
            if self.online[peer]:
                self._sleep(peer)

    def copied(self) -> None:
        """Copy what `copy` has not."""
        self.assembly = self.assembly.copy()
        self.queue = [tasks.copy() for tasks in self.queue]

    def next_round(self) -> TimedRound | None:
        """The next round; None: nothing will ever happen again."""
        while not self.assembly.is_closed(self.heap[0][0] if self.heap else None):
            if not self.advance():
                return None
        self.index += 1
        self.links.forget(min(self.wakes) - 1)
        return self.assembly.take(*self.take_deliveries(), sum(self.online))

    def cut(self) -> Cut:
        """What is under way."""
        return self.assembly.cut(self.online)

    def woken(self, peer: int) -> None:
        """A peer wakes: it pushes to a partner, if it has a neighbour."""
        number = self.wakes[peer] - 1
        linked = self.links.now(number).linked[peer]
        if linked:
            partner = linked[self.world.choice(peer, number, len(linked))]
            self._queue(peer, Task(True, partner, -1, number, False))
        self._sleep(peer)

    def arrived(self, sender: int, receiver: int, version: int) -> None:
        """A message arrives: its receiver has something to do."""
        self._queue(receiver, self.sent.pop((sender, version)))

    def posted(self, sender: int, receiver: int, version: int, at: int, fate: Fate) -> None:
        """The arrival of a message is known."""
        if fate is Fate.ARRIVED:
            self.push(at, ARRIVE, receiver, sender, version)
        else:
            self.sent.pop((sender, version))
            self.assembly.release((sender, version))

    def finished(self, peer: int) -> None:
        """A peer has learned."""
        task, due = self.acting[peer], self.due[peer]
        assert task is not None and due is not None
        own = next((edge.weight for edge in self.links.now(task.batch).edges[peer] if edge.teacher == peer), 0.0)
        heard = [Edge(task.other, 1.0 - own, due.version - task.version)]
        if 0.0 < own < 1.0:
            heard.append(Edge(peer, own))
        who = task.other if task.answers else peer
        step = Step(peer, due.version, due.batch, tuple(sorted(heard)), due.at, due.at, self.now, who, None)
        self.assembly.step(step)
        self.assembly.release((task.other, task.version))
        self.acting[peer] = self.due[peer] = None
        self._go_on(peer)

    def came(self, peer: int) -> None:
        """A peer is back: its clock starts anew."""
        linked = self.links.now(self.wakes[peer]).linked[peer]
        known = [(self.version[other], other) for other in linked if self.online[other] and self.version[other] >= 0]
        self.returning[peer] = self.back(peer, best(known))
        self._sleep(peer)

    def left(self, peer: int) -> None:
        """A peer is gone, and with it all that it had to do."""
        task, due = self.acting[peer], self.due[peer]
        self.acting[peer] = self.due[peer] = None
        if due is not None:
            self.assembly.abandon(due)
        for each in [*self.queue[peer], *([task] if task is not None else [])]:
            if not each.push:
                self.assembly.release((each.other, each.version))
        self.queue[peer].clear()

    def _sleep(self, peer: int) -> None:
        """Plan the next wake-up."""
        number = self.wakes[peer]
        self.wakes[peer] = number + 1
        self.push(self.now + max(self.world.wake_ns(peer, number), 1), WAKE, peer)

    def _queue(self, peer: int, task: Task) -> None:
        self.queue[peer].append(task)
        self._go_on(peer)

    def _go_on(self, peer: int) -> None:
        """Do what comes next, unless something is being done."""
        while self.acting[peer] is None and self.queue[peer]:
            task = self.queue[peer].popleft()
            if task.push:
                self._push(peer, task)
            else:
                self._study(peer, task)

    def _push(self, peer: int, task: Task) -> None:
        version = self.version[peer] + 1
        message = self._publish(peer, task.batch, (task.other,), Task(False, peer, version, task.batch, True))
        self.assembly.step(
            Step(peer, version, task.batch, (), message.at, message.at, message.at, -1, None), counts=False
        )

    def _study(self, peer: int, task: Task) -> None:
        answer = Task(False, peer, self.version[peer] + 1, task.batch, False)
        receivers = (task.other,) if task.answers else ()
        self.due[peer] = self._publish(peer, task.batch, receivers, answer)
        self.acting[peer] = task
        number = self.computed[peer]
        self.computed[peer] = number + 1
        self.push(self.now + self.world.step_ns(peer, number), FINISH, peer)

    def _publish(self, peer: int, batch: int, receivers: tuple[int, ...], task: Task) -> Publication:
        """Publish a message; its receiver, if there is one, will have a task."""
        version = self.version[peer] = self.version[peer] + 1
        message = Publication(peer, version, batch, self.now, receivers, False, self.returning[peer])
        self.returning[peer] = None
        if receivers:
            self.assembly.hold((peer, version))
            self.sent[peer, version] = task
            self.send(message)
            message = message._replace(useful=self.assembly.is_held((peer, version)))
        self.assembly.publish(message)
        return message
