"""A slow simulator of four clocks, straight from their definitions, to compare the real one with.

Everything that happens is one event; after each of them every peer is asked whether it can go on. Nothing is kept
sorted, shared between peers or looked ahead. The clock `gossip` has a reference of its own, `gossip_reference`.
"""

import functools
import heapq
import itertools
from collections import defaultdict
from dataclasses import dataclass, field

from tests.topologies.network.happenings import Did, Draws, Kind, Message, Rules
from topologies.network.trace import Fate
from topologies.participation import participants
from topologies.round import Edge
from topologies.schedule import Schedule

LONGEST_GAP = 1000  # rounds in a row without a peer, after which it is taken to have no part any more
LOCK_STEP = ("synchronous", "neighbours")


@dataclass
class Peer:
    """life: how often it has come or gone; what was begun in an earlier life never ends."""

    online: bool
    version: int = -1
    published: int = 0
    waiting: bool = False
    timed_out: bool = False
    life: int = 0
    computations: int = 0
    inbox: set[tuple[int, int]] = field(default_factory=set)
    studied: set[tuple[int, int]] = field(default_factory=set)


class Reference:
    """The steps (`did`) and the messages (`messages`) of a run until a time in nanoseconds."""

    def __init__(self, rules: Rules, schedule: Schedule, world: Draws, num_peers: int) -> None:
        self.rules, self.schedule, self.world = rules, functools.cache(schedule), world
        self.taking_part = functools.cache(lambda version: participants(schedule(version)))
        self.peers = [Peer(world.is_online(peer, 0)) for peer in range(num_peers)]
        self.messages: list[Message] = []
        self.mail: list[dict[tuple[int, int], Message]] = [{} for _ in range(num_peers)]
        self.did: list[Did] = []
        self.idled: list[tuple[int, int]] = []  # (end, peer) of rounds that a peer has sat out
        self.complete = 0  # the first round that somebody online may still be in: it never falls
        self.begun: dict[int, Did] = {}
        self.events: list[tuple[int, Kind, int, int, int, tuple[int, ...]]] = []
        self.order = itertools.count()
        self.sent: defaultdict[tuple[int, int], int] = defaultdict(int)
        for peer, state in enumerate(self.peers):
            self.await_change(peer, 0)
            if state.online:
                self.enter(peer, 0, 0)
        self.count_complete()

    def run(self, until: int) -> "Reference":
        handlers = {
            Kind.OFFLINE: self.goes_offline,
            Kind.ONLINE: self.comes_online,
            Kind.FINISH: self.finishes,
            Kind.ARRIVE: self.arrives,
            Kind.TIMER: self.times_out,
            Kind.START: self.starts,
        }
        self.start_the_ready(0)
        while self.events and self.events[0][0] <= until:
            at, kind, receiver, _, _, details = heapq.heappop(self.events)
            handlers[kind](at, receiver, *details)
            self.count_complete()
            self.start_the_ready(at)
        return self

    def add(self, at: int, kind: Kind, receiver: int, *details: int, sender: int = -1) -> None:
        heapq.heappush(self.events, (at, kind, receiver, sender, next(self.order), details))

    # What happens

    def enter(self, peer: int, version: int, at: int) -> None:
        """The peer comes to a round: it publishes, or has no part in it.

        Lock-step peers then go to the next round at once, others sit the round out as long as a step would take.
        """
        rounds = range(version, version + LONGEST_GAP)
        found = next((index for index in rounds if peer in self.taking_part(index)), None)
        if found is None:
            return
        if found == version or self.rules.clock in LOCK_STEP:
            self.publish(peer, found, at)
        else:
            self.add(at + self.duration(peer), Kind.FINISH, peer, self.peers[peer].life, version)

    def publish(self, peer: int, version: int, at: int) -> None:
        state = self.peers[peer]
        state.version, state.published, state.waiting, state.timed_out = version, at, True, False
        if self.rules.clock == "deadline":
            self.add(at + self.rules.deadline, Kind.TIMER, peer, state.life, version)
        for receiver, edges in enumerate(self.schedule(version).incoming):
            if receiver != peer and any(edge.teacher == peer for edge in edges):
                delay, lost = self.rules.link(peer, receiver, self.sent[peer, receiver])
                self.sent[peer, receiver] += 1
                message = Message(peer, receiver, version, at, at + delay, lost)
                self.messages.append(message)
                self.mail[receiver][peer, version] = message
                self.add(at + delay, Kind.ARRIVE, receiver, len(self.messages) - 1, sender=peer)

    def arrives(self, at: int, receiver: int, place: int) -> None:
        message = self.messages[place]
        if message.fate is not None:
            return
        if message.lost:
            message.fate = Fate.LOST
        elif not self.peers[receiver].online:
            message.fate = Fate.RECEIVER_OFFLINE
        else:
            message.fate = Fate.ARRIVED
            self.peers[receiver].inbox.add((message.sender, message.version))

    def times_out(self, at: int, peer: int, life: int, version: int) -> None:
        state = self.peers[peer]
        if state.life == life and state.version == version:
            state.timed_out = True

    def starts(self, at: int, peer: int, life: int) -> None:
        state = self.peers[peer]
        if not self.ready(peer) or state.life != life:
            return
        heard = self.takes(peer)
        state.studied |= {(edge.teacher, state.version - edge.age) for edge in heard}
        state.waiting = False
        finish = at + self.duration(peer)
        self.begun[peer] = Did(peer, state.version, heard, state.published, at, finish)
        self.add(finish, Kind.FINISH, peer, state.life)

    def finishes(self, at: int, peer: int, life: int, sat_out: int = -1) -> None:
        """A step ends, or a round that the peer has sat out."""
        state = self.peers[peer]
        if state.life != life:
            return
        if sat_out >= 0:
            self.idled.append((at, peer))
            self.enter(peer, sat_out + 1, at)
            return
        self.did.append(self.begun[peer])
        heard_of = [version for _, version in state.inbox] if self.rules.clock not in LOCK_STEP else []
        self.enter(peer, max([state.version + 1, *heard_of]), at)

    def goes_offline(self, at: int, peer: int) -> None:
        state = self.peers[peer]
        state.online, state.waiting, state.life = False, False, state.life + 1
        state.inbox.clear()
        if self.rules.crash:
            for message in self.messages:
                if message.sender == peer and message.fate is None:
                    message.fate = Fate.SENDER_CRASHED
        self.await_change(peer, at)

    def comes_online(self, at: int, peer: int) -> None:
        state = self.peers[peer]
        self.await_change(peer, at)
        reached = [other.version for place, other in enumerate(self.peers) if other.online and self.linked(place, peer)]
        if self.rules.clock in LOCK_STEP:
            reached.append(self.complete)
        state.online, state.life = True, state.life + 1
        self.enter(peer, max([state.version + 1, *reached]), at)

    def count_complete(self) -> None:
        self.complete = max(self.complete, min((state.version for state in self.peers if state.online), default=0))

    def duration(self, peer: int) -> int:
        number = self.peers[peer].computations
        self.peers[peer].computations += 1
        return max(1, self.world.step_ns(peer, number))

    def await_change(self, peer: int, at: int) -> None:
        change = self.world.change_after(peer, at)
        if change is not None:
            self.add(change[0], Kind.ONLINE if change[1] else Kind.OFFLINE, peer)

    # Who may go on, and with what

    def start_the_ready(self, at: int) -> None:
        for peer, state in enumerate(self.peers):
            if self.ready(peer):
                self.add(at, Kind.START, peer, state.life)

    def ready(self, peer: int) -> bool:
        state, clock = self.peers[peer], self.rules.clock
        if not state.waiting:
            return False
        if clock == "synchronous":
            return self.all_are_through(state.version)
        if clock == "neighbours":
            return not any(self.awaited(teacher, peer, state.version) for teacher in self.teachers(peer))
        missing = {(teacher, state.version) for teacher in self.teachers(peer)} - state.inbox
        return clock == "free-running" or state.timed_out or not missing

    def all_are_through(self, version: int) -> bool:
        """Everybody online who takes part in the round has published in it, and no message of it is on its way."""
        published = all(
            self.peers[peer].version >= version for peer in self.taking_part(version) if self.peers[peer].online
        )
        return published and not any(each.fate is None for each in self.messages if each.version == version)

    def awaited(self, teacher: int, peer: int, version: int) -> bool:
        """Whether a message may still come: it is on its way, or its teacher is online and has not published it."""
        message = self.mail[peer].get((teacher, version))
        if message:
            return message.fate is None
        return self.peers[teacher].online and self.peers[teacher].version < version

    def teachers(self, peer: int) -> list[int]:
        edges = self.schedule(self.peers[peer].version).incoming[peer]
        return [edge.teacher for edge in edges if edge.teacher != peer]

    def linked(self, other: int, peer: int) -> bool:
        """Whether two peers are linked, either way, in the round that the other one is in."""
        if other == peer or self.peers[other].version < 0:
            return False
        incoming = self.schedule(self.peers[other].version).incoming
        pairs = ((other, peer), (peer, other))
        return any(edge.teacher == teacher for teacher, student in pairs for edge in incoming[student])

    def takes(self, peer: int) -> tuple[Edge, ...]:
        """The edges of what the peer learns from, now."""
        state = self.peers[peer]
        own = [edge for edge in self.schedule(state.version).incoming[peer] if edge.teacher == peer]
        chosen = self.chosen(peer)
        if not chosen:
            return tuple(own) if own and not self.teachers(peer) else ()
        weights = {sender: self.weight(sender, peer, version) for sender, version in chosen}
        share = (1 - sum(edge.weight for edge in own)) / sum(weights.values())
        edges = [Edge(sender, weights[sender] * share, state.version - version) for sender, version in chosen]
        return tuple(sorted([*edges, *own]))

    def chosen(self, peer: int) -> list[tuple[int, int]]:
        """(sender, version) of what it learns from, of others."""
        state, teachers, rules = self.peers[peer], self.teachers(peer), self.rules
        due = sorted(key for key in state.inbox if key[1] <= state.version)
        if rules.clock in LOCK_STEP or (rules.clock == "deadline" and rules.late == "drop"):
            return [(sender, version) for sender, version in due if sender in teachers and version == state.version]
        newest = dict(due)  # the last of each sender
        again = teachers if rules.clock == "free-running" else []
        return [
            key
            for key in newest.items()
            if state.version - key[1] <= rules.max_age and (key[0] in again or key not in state.studied)
        ]

    def weight(self, sender: int, peer: int, version: int) -> float:
        """The weight of a sender's message: that of this round, if it teaches in it, else that of the message's."""
        for index in (self.peers[peer].version, version):
            for edge in self.schedule(index).incoming[peer]:
                if edge.teacher == sender:
                    return edge.weight
        raise AssertionError("a message of somebody who never taught")
