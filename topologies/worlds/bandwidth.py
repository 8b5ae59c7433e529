"""Transfers that share the peers' limits up and down fairly: max-min fairness by progressive filling.

A flow is a transfer from a sender to a receiver; it uses the sender's link up and the receiver's link down. Source:
Bertsekas and Gallager, Data Networks, 1992, section 6.5.2; SimGrid's model of flows.
"""

import heapq
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

SECOND = 1_000_000_000  # nanoseconds
F = TypeVar("F", bound=Hashable)
Ends = tuple[int, int]
Limits = Sequence[float] | Float[np.ndarray, " peers"]


def rates(flows: Mapping[F, Ends], up: Limits, down: Limits) -> dict[F, float]:
    """The max-min fair rate of each flow, in bytes a second.

    All rates grow alike until a link is full; its flows keep their rate, and the others grow on. So every flow has a
    full link on which no other is faster. flows: (sender, receiver) by name. up, down: by peer; infinite: no limit.
    """
    on_link: dict[int, list[F]] = {}
    for flow, (sender, receiver) in flows.items():
        for link, limit in ((2 * sender, up[sender]), (2 * receiver + 1, down[receiver])):
            if limit < math.inf:
                on_link.setdefault(link, []).append(flow)
    left = {link: float((down if link % 2 else up)[link // 2]) for link in on_link}
    growing = {link: len(found) for link, found in on_link.items()}
    found: dict[F, float] = {}
    heap = [(left[link] / growing[link], link) for link in on_link]
    heapq.heapify(heap)
    while heap:
        share, link = heapq.heappop(heap)
        if not growing[link]:
            continue
        now = max(left[link] / growing[link], 0.0)
        if now > share:  # some of its flows have been filled elsewhere since, with less
            heapq.heappush(heap, (now, link))
            continue
        for flow in on_link[link]:
            if flow in found:
                continue
            found[flow] = now
            sender, receiver = flows[flow]
            for other in (2 * sender, 2 * receiver + 1):
                if other in left:
                    left[other] -= now
                    growing[other] -= 1
    return {flow: found.get(flow, math.inf) for flow in flows}


class _Flow(NamedTuple):
    """A transfer: `left` bytes at nanosecond `since`.

    links: those with a limit. change: counts its rates, so that outdated ends are known.
    """

    sender: int
    receiver: int
    links: tuple[int, ...]
    left: float
    since: int
    rate: float
    change: int


class Flows(Generic[F]):
    """The transfers under way. Names of flows order those that end at the same time; times are nanoseconds.

    Rates change at starts and ends only, and only for flows that share links with those, directly or through others.
    """

    def __init__(self, up: Limits, down: Limits) -> None:
        self._up, self._down = [float(rate) for rate in up], [float(rate) for rate in down]
        self._flows: dict[F, _Flow] = {}
        self._by_link: dict[int, dict[F, None]] = {}  # the flows on each link that has a limit, in order of start
        self._heap: list[tuple[int, F, int]] = []
        self._changed: dict[int, None] = {}  # links whose flows have changed since the rates were made
        self._now = 0

    def __len__(self) -> int:
        return len(self._flows)

    def copy(self) -> "Flows[F]":
        """An independent copy."""
        other: Flows[F] = Flows(self._up, self._down)
        other._flows, other._heap = dict(self._flows), list(self._heap)
        other._by_link = {link: dict(flows) for link, flows in self._by_link.items()}
        other._changed, other._now = dict(self._changed), self._now
        return other

    def start(self, flow: F, sender: int, receiver: int, size: int, now: int) -> None:
        """Begin to send `size` bytes. Raises: ValueError: if one of this name is under way, or time runs backwards."""
        if flow in self._flows:
            raise ValueError(f"flow {flow!r} is under way already: give each flow its own name")
        self._move_to(now)
        limits = ((2 * sender, self._up[sender]), (2 * receiver + 1, self._down[receiver]))
        limited = tuple(link for link, limit in limits if limit < math.inf)
        self._flows[flow] = _Flow(sender, receiver, limited, float(size), now, math.inf, 0)
        for link in limited:
            self._by_link.setdefault(link, {})[flow] = None
            self._changed[link] = None
        if not limited:
            heapq.heappush(self._heap, (now, flow, 0))

    def next_finish(self) -> tuple[int, F] | None:
        """When the next flow ends, and which, if nothing else starts or ends; None: none is under way."""
        found = self._first()
        if found is not None and found[0] <= self._now:
            return found  # new rates make nothing end earlier; so flows that end together need them once
        self._settle()
        return self._first()

    def finish(self, flow: F, now: int) -> None:
        """Take away a flow that has ended. Raises: KeyError: if it is not under way."""
        self._move_to(now)
        ended = self._flows.pop(flow)
        for link in ended.links:
            del self._by_link[link][flow]
            self._changed[link] = None

    cancel = finish  # a flow that is given up frees its links just as well

    def rates(self) -> dict[F, float]:
        """The rates at present, in bytes a second."""
        self._settle()
        return {flow: known.rate for flow, known in self._flows.items()}

    def _first(self) -> tuple[int, F] | None:
        """The earliest end that is known."""
        while self._heap:
            at, flow, change = self._heap[0]
            known = self._flows.get(flow)
            if known is not None and known.change == change:
                return at, flow
            heapq.heappop(self._heap)
        return None

    def _move_to(self, now: int) -> None:
        if now < self._now:
            raise ValueError(f"now must not be before {self._now}, got {now}: start and end flows in order of time")
        if now > self._now:
            self._settle()
            self._now = now

    def _settle(self) -> None:
        """New rates for the flows that changed links reach."""
        if not self._changed:
            return
        reached = self._reached()
        self._changed.clear()
        for flow, rate in rates({flow: self._flows[flow][:2] for flow in reached}, self._up, self._down).items():
            known = self._flows[flow]
            if rate == known.rate:
                continue
            passed = (self._now - known.since) / SECOND
            left = known.left if not passed else max(known.left - known.rate * passed, 0.0)
            change = known.change + 1
            self._flows[flow] = _Flow(known.sender, known.receiver, known.links, left, self._now, rate, change)
            heapq.heappush(self._heap, (self._now + math.ceil(left / rate * SECOND), flow, change))

    def _reached(self) -> list[F]:
        """The flows on changed links, on the links of these, and so on."""
        waiting, seen = list(self._changed), set(self._changed)
        reached: dict[F, None] = {}
        while waiting:
            for flow in self._by_link.get(waiting.pop(), ()):
                if flow in reached:
                    continue
                reached[flow] = None
                for link in self._flows[flow].links:
                    if link not in seen:
                        seen.add(link)
                        waiting.append(link)
        return list(reached)
