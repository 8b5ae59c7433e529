"""What the clocks have in common whose peers act by events: the heap of events, presence, and messages under way.

Events are ordered by (time, kind, receiver, sender). Where links are not shared, a message needs no event: its arrival
is known when it is sent, so peers look it up when they take their messages.
"""

import copy
import heapq
from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TypeVar

from topologies.network.links import Links, Present, Rewired
from topologies.network.trace import (
    Cut,
    Delivery,
    Fate,
    Presence,
    Publication,
    Return,
    TimedRound,
    Weights,
)
from topologies.network.transfers import Transfer, Transfers
from topologies.schedule import Schedule
from topologies.worlds.world import World

S = TypeVar("S", bound="EventDriven")
NEVER = 1 << 62  # the version of a peer that has passed all rounds
QUIET = 200_000  # events in which nobody steps, besides some for each peer, before it is an error


class Kind(IntEnum):
    """Kinds of events, in the order of those at the same time."""

    OFFLINE = 0
    ONLINE = 1
    FINISH = 2
    ARRIVE = 3
    WAKE = 4
    START = 5


OFFLINE, ONLINE, FINISH, ARRIVE, WAKE, START = (int(kind) for kind in Kind)
Event = tuple[int, int, int, int, int]
"""(time, kind, peer or receiver, sender, token or version)."""


class EventDriven(ABC):
    """The state of a simulation between two events. tokens: events of a peer with an older token are void.

    single: where bandwidth is limited, whether a link transfers one message at a time, after that the newest.
    """

    def __init__(self, world: World, schedule: Schedule, present: Present | None, single: bool) -> None:
        count = world.num_peers
        self.world, self.index, self.end, self.now, self.quiet = world, 0, 0, 0, 0
        self.churns, self.limited = world.has_churn, world.up is not None
        self.online = [world.is_online(peer, 0) for peer in range(count)]
        rewires = present is not None and self.churns
        self.links = Rewired(schedule, present, self.online) if rewires and present else Links(schedule)
        self.heap: list[Event] = []
        self.tokens, self.computed, self.returned = [0] * count, [0] * count, [0] * count
        self.version = [-1] * count
        self.due: list[Publication | None] = [None] * count
        self.leaves: list[int | None] = [None] * count  # when a peer that is online goes offline
        self.numbers: list[dict[int, int]] = [{} for _ in range(count)]  # of messages by sender and receiver
        self.transfers = Transfers(world, single) if self.limited else None
        self.flow_token = 0
        self.deliveries: list[Delivery] = []
        self.presence = [Presence(peer, 0, False) for peer in range(count) if not self.online[peer]]
        for peer in range(count):
            self._await_change(peer, 0)

    def copy(self: S) -> S:
        """Another one that goes on by itself: containers are copied, and what is never changed is shared."""
        other = object.__new__(type(self))
        for name, value in self.__dict__.items():
            if isinstance(value, list):
                value = [copy.copy(each) if isinstance(each, list | dict) else each for each in value]
            elif isinstance(value, dict):
                value = dict(value)
            elif isinstance(value, Transfers):
                value = value.copy()
            other.__dict__[name] = value
        other.links = self.links.copy(other.online)
        other.copied()
        return other

    @abstractmethod
    def copied(self) -> None:
        """Copy what `copy` has not."""

    @abstractmethod
    def next_round(self) -> TimedRound | None:
        """The next round of the run; None: nothing will ever happen again."""

    @abstractmethod
    def cut(self) -> Cut:
        """What is under way at the start of the next round."""

    @abstractmethod
    def finished(self, peer: int) -> None:
        """A peer's computation has ended."""

    @abstractmethod
    def came(self, peer: int) -> None:
        """A peer has come back online."""

    @abstractmethod
    def left(self, peer: int) -> None:
        """A peer has gone offline."""

    @abstractmethod
    def posted(self, sender: int, receiver: int, version: int, at: int, fate: Fate) -> None:
        """When a message will arrive is known, or that it will not: then `at` is when it would have."""

    def woken(self, peer: int) -> None:
        """A peer wakes up."""
        raise NotImplementedError

    def started(self, peer: int) -> None:
        """A peer takes its messages."""
        raise NotImplementedError

    def arrived(self, sender: int, receiver: int, version: int) -> None:
        """A message arrives, of clocks for which arrivals are events."""
        raise NotImplementedError

    def push(self, at: int, kind: int, peer: int, sender: int = -1, token: int | None = None) -> None:
        """Plan an event of a peer, which is void once its token has changed."""
        heapq.heappush(self.heap, (at, kind, peer, sender, self.tokens[peer] if token is None else token))

    def advance(self) -> bool:
        """Handle the next event. Returns: whether there was one."""
        if not self.heap:
            return False
        self.now, kind, peer, sender, token = heapq.heappop(self.heap)
        if kind == FINISH:
            if token != self.tokens[peer]:
                return True
            self.quiet = 0
            self.finished(peer)
        elif kind == START:
            if token == self.tokens[peer]:
                self.started(peer)
        elif kind <= ONLINE:
            self._change(peer, kind == ONLINE)
        elif kind == WAKE:
            if token == self.tokens[peer]:
                self.woken(peer)
        elif peer >= 0:
            self.arrived(sender, peer, token)
        elif token == self.flow_token:
            self._transferred()
        self.quiet += 1
        if self.quiet > QUIET + 100 * len(self.online):
            raise ValueError(_never_stepping(self.churns))
        return True

    def send(self, message: Publication) -> None:
        """Put a message on its way to its receivers."""
        peer, at, version = message.peer, self.now, message.version
        numbers, transmission = self.numbers[peer], self.world.transmission
        for receiver in message.sent_to:
            number = numbers.get(receiver, 0)
            numbers[receiver] = number + 1
            took = transmission(peer, receiver, number)
            if self.transfers is None:
                self._on_its_way(peer, receiver, version, at, at, took)
                continue
            replaced = self.transfers.start(Transfer(peer, receiver, version, at, took), at)
            if replaced is not None:
                self._ended(replaced, Fate.REPLACED)
        self._await_transfer()

    def back(self, peer: int, source: int | None) -> Return:
        """How a peer comes back whose neighbour to copy is `source`, None if there is none."""
        self.returned[peer] += 1
        weights = self.world.on_return[peer]
        if weights is not Weights.NEIGHBOUR:
            return Return(weights, self.returned[peer])
        if source is None:
            return Return(Weights.OWN, self.returned[peer])
        return Return(weights, self.returned[peer], source)

    def neighbours(self, peer: int) -> list[tuple[int, int]]:
        """(version, peer) of those online that a peer meets in the round of that version; see `Links.meet`."""
        found = []
        for other, version in enumerate(self.version):
            known = 0 <= version < NEVER and other != peer and self.online[other]
            if known and self.links.meet(version, peer, other):
                found.append((version, other))
        return found

    def take_deliveries(self) -> tuple[tuple[Delivery, ...], tuple[Presence, ...]]:
        """What has happened since the last round."""
        found = tuple(self.deliveries), tuple(self.presence)
        self.deliveries, self.presence = [], []
        return found

    def crash_before(self, peer: int, at: int) -> int | None:
        """When a peer crashes, if it does so by `at`; None if it does not, or leaves its messages on their way."""
        leaves = self.leaves[peer]
        return leaves if leaves is not None and leaves <= at and self.world.crashes[peer] else None

    def is_there(self, peer: int, at: int) -> bool:
        """Whether a peer will be online at a time from now on."""
        leaves = self.leaves[peer]
        if self.online[peer] and (leaves is None or at < leaves):
            return True
        return self.world.is_online(peer, at)

    def _on_its_way(self, sender: int, receiver: int, version: int, sent: int, now: int, took: int) -> None:
        """A message has left its sender by `now`; took: as `World.transmission` gives it."""
        fate = Fate.ARRIVED
        if took < 0:
            took, fate = ~took, Fate.LOST
        at = now + took
        if self.churns:
            crash = self.crash_before(sender, at)
            if crash is not None:
                fate, at = Fate.SENDER_CRASHED, crash
            elif fate is Fate.ARRIVED and not self.is_there(receiver, at):
                fate = Fate.RECEIVER_OFFLINE
        self.deliveries.append(Delivery(sender, receiver, version, sent, at, fate))
        self.posted(sender, receiver, version, at, fate)

    def _await_transfer(self) -> None:
        """Plan the end of the transfer that ends next."""
        if self.transfers is None:
            return
        self.flow_token += 1
        ending = self.transfers.next_end()
        if ending is not None:
            heapq.heappush(self.heap, (ending, ARRIVE, -1, -1, self.flow_token))

    def _transferred(self) -> None:
        """A transfer ends: after the latency its message is there."""
        assert self.transfers is not None
        sender, receiver, version, sent, took = self.transfers.end(self.now)
        self._on_its_way(sender, receiver, version, sent, self.now, took)
        self._await_transfer()

    def _ended(self, transfer: Transfer, fate: Fate) -> None:
        """A transfer is given up."""
        sender, receiver, version, sent, _ = transfer
        self.deliveries.append(Delivery(sender, receiver, version, sent, self.now, fate))
        self.posted(sender, receiver, version, self.now, fate)

    def _await_change(self, peer: int, after: int) -> None:
        """Plan the next change of a peer's presence."""
        self.leaves[peer] = None
        change = self.world.change_after(peer, after) if self.churns else None
        if change is not None:
            at, online = change
            if not online:
                self.leaves[peer] = at
            heapq.heappush(self.heap, (at, ONLINE if online else OFFLINE, peer, -1, 0))

    def _change(self, peer: int, online: bool) -> None:
        self._await_change(peer, self.now)
        if online == self.online[peer]:
            return
        self.online[peer] = online
        self.presence.append(Presence(peer, self.now, online))
        if online:
            self.came(peer)
            return
        self.tokens[peer] += 1
        if self.transfers is not None:
            for transfer, fate in self.transfers.cancel(peer, self.world.crashes[peer], self.now):
                self._ended(transfer, fate)
            self._await_transfer()
        self.left(peer)


def _never_stepping(churns: bool) -> str:
    """What is wrong where events go on without a step."""
    if churns:
        return (
            "network.churn: must let peers compute, got peers that come and go without a single step for a long time; "
            "let them stay online for longer, or shorten network.compute.seconds"
        )
    return (
        "network.wake_every: must leave peers the time to compute, got wake-ups without a single step for a long time; "
        "raise it, or shorten network.compute.seconds and network.latency"
    )


def best(candidates: list[tuple[int, int]], version: int | None = None) -> int | None:
    """The peer to copy: of the highest version, or of this one only; of several the first."""
    if version is not None:
        candidates = [each for each in candidates if each[0] == version]
    return min(candidates, key=lambda each: (-each[0], each[1]))[1] if candidates else None
