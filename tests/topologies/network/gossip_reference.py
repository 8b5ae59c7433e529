"""A slow simulator of the clock `gossip`: wake-ups, pushes, answers and replies, one event at a time."""

import heapq
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from tests.topologies.network.happenings import Did, Draws, Kind, Message, Rules
from topologies.network.trace import Fate
from topologies.round import Edge
from topologies.schedule import Schedule


class GossipDraws(Draws, Protocol):
    def wake_ns(self, peer: int, number: int) -> int: ...
    def choice(self, peer: int, number: int, count: int) -> int: ...


@dataclass(frozen=True)
class Errand:
    """Something a peer has to do: push, or answer a push or take a reply (place: of the message).

    number: of the wake-up that it goes back to.
    """

    kind: str
    number: int
    place: int = -1


@dataclass
class Gossiper:
    """acts: how many it has done or begun; wakes: the number of its next wake-up."""

    online: bool
    acts: int = 0
    wakes: int = 0
    computations: int = 0
    life: int = 0
    busy: bool = False
    queue: list[Errand] = field(default_factory=list)


class GossipReference:
    """The steps (`did`) and the messages (`messages`) of a run until a time in nanoseconds."""

    def __init__(self, rules: Rules, schedule: Schedule, world: GossipDraws, num_peers: int) -> None:
        self.rules, self.schedule, self.world = rules, schedule, world
        self.peers = [Gossiper(world.is_online(peer, 0)) for peer in range(num_peers)]
        self.messages: list[Message] = []
        self.about: list[tuple[str, int]] = []  # (push or reply, number of the waker's wake-up) of each message
        self.did: list[Did] = []
        self.events: list[tuple[int, Kind, int, int, int, tuple[int, ...]]] = []
        self.order = itertools.count()
        self.sent: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.begun: dict[int, Did] = {}
        for peer, state in enumerate(self.peers):
            self.await_change(peer, 0)
            if state.online:
                self.await_wake(peer, 0)

    def run(self, until: int) -> "GossipReference":
        handlers = {
            Kind.OFFLINE: self.goes_offline,
            Kind.ONLINE: self.comes_online,
            Kind.FINISH: self.finishes,
            Kind.ARRIVE: self.arrives,
            Kind.TIMER: self.wakes_up,
            Kind.START: self.starts,
        }
        while self.events and self.events[0][0] <= until:
            at, kind, receiver, _, _, details = heapq.heappop(self.events)
            handlers[kind](at, receiver, *details)
            for peer, state in enumerate(self.peers):
                if state.queue and not state.busy:
                    self.add(at, Kind.START, peer, state.life)
        return self

    def add(self, at: int, kind: Kind, receiver: int, *details: int, sender: int = -1) -> None:
        heapq.heappush(self.events, (at, kind, receiver, sender, next(self.order), details))

    def await_change(self, peer: int, at: int) -> None:
        change = self.world.change_after(peer, at)
        if change is not None:
            self.add(change[0], Kind.ONLINE if change[1] else Kind.OFFLINE, peer)

    def await_wake(self, peer: int, at: int) -> None:
        state = self.peers[peer]
        self.add(at + self.world.wake_ns(peer, state.wakes), Kind.TIMER, peer, state.life, state.wakes)
        state.wakes += 1

    def wakes_up(self, at: int, peer: int, life: int, number: int) -> None:
        if self.peers[peer].life == life:
            self.peers[peer].queue.append(Errand("push", number))
            self.await_wake(peer, at)

    def arrives(self, at: int, receiver: int, place: int) -> None:
        message = self.messages[place]
        if message.fate is None:
            online = self.peers[receiver].online
            message.fate = Fate.LOST if message.lost else Fate.ARRIVED if online else Fate.RECEIVER_OFFLINE
            if message.fate == Fate.ARRIVED:
                kind, number = self.about[place]
                self.peers[receiver].queue.append(Errand("answer" if kind == "push" else "reply", number, place))

    def starts(self, at: int, peer: int, life: int) -> None:
        state = self.peers[peer]
        while state.life == life and state.queue and not state.busy:  # a push takes no time
            errand = state.queue.pop(0)
            if errand.kind == "push":
                self.push(at, peer, errand.number)
            else:
                self.study(at, peer, errand)

    def push(self, at: int, peer: int, number: int) -> None:
        links = self.schedule(number).links
        linked = sorted({*(i for i, j in links if j == peer), *(j for i, j in links if i == peer)} - {peer})
        if not linked:
            return
        partner = linked[self.world.choice(peer, number, len(linked))]
        version = self.act(peer)
        self.did.append(Did(peer, version, (), at, at, at))
        self.send(at, peer, partner, version, "push", number)

    def study(self, at: int, peer: int, errand: Errand) -> None:
        """The act of answering a push, or of taking a reply."""
        state, message = self.peers[peer], self.messages[errand.place]
        version = self.act(peer)
        if errand.kind == "answer":
            self.send(at, peer, message.sender, version, "reply", errand.number)
        own = sum(edge.weight for edge in self.schedule(errand.number).incoming[peer] if edge.teacher == peer)
        heard = [Edge(message.sender, 1 - own, version - message.version), *([Edge(peer, own)] if own else [])]
        finish = at + self.world.step_ns(peer, state.computations)
        state.computations, state.busy = state.computations + 1, True
        self.begun[peer] = Did(peer, version, tuple(sorted(heard)), at, at, finish)
        self.add(finish, Kind.FINISH, peer, state.life)

    def act(self, peer: int) -> int:
        self.peers[peer].acts += 1
        return self.peers[peer].acts - 1

    def send(self, at: int, sender: int, receiver: int, version: int, kind: str, number: int) -> None:
        delay, lost = self.rules.link(sender, receiver, self.sent[sender, receiver])
        self.sent[sender, receiver] += 1
        self.messages.append(Message(sender, receiver, version, at, at + delay, lost))
        self.about.append((kind, number))
        self.add(at + delay, Kind.ARRIVE, receiver, len(self.messages) - 1, sender=sender)

    def finishes(self, at: int, peer: int, life: int) -> None:
        state = self.peers[peer]
        if state.life == life:
            state.busy = False
            self.did.append(self.begun[peer])

    def goes_offline(self, at: int, peer: int) -> None:
        state = self.peers[peer]
        state.online, state.busy, state.life, state.queue = False, False, state.life + 1, []
        for message in self.messages:
            if self.rules.crash and message.sender == peer and message.fate is None:
                message.fate = Fate.SENDER_CRASHED
        self.await_change(peer, at)

    def comes_online(self, at: int, peer: int) -> None:
        state = self.peers[peer]
        state.online, state.life = True, state.life + 1
        self.await_change(peer, at)
        self.await_wake(peer, at)
