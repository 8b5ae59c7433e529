"""When a peer is online: the laws of `churn.py` at work."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from topologies.worlds import draws
from topologies.worlds.churn import ChurnConfig, DiurnalChurn, ExponentialChurn, NoChurn, OutageChurn, TraceChurn
from topologies.worlds.draws import SECOND, Purpose
from topologies.worlds.section import shortened
from topologies.worlds.table_file import presence as read_presence

BLOCK = 64  # changes that are drawn at once: an even number, so that each block begins with the same state


@runtime_checkable
class Presence(Protocol):
    """A peer's presence: pure functions of time in nanoseconds. At the time of a change it has changed."""

    @property
    def share(self) -> float | None:
        """The share of time online in the long run; None for a presence that does not repeat."""

    def is_online(self, at: int) -> bool: ...

    def change_after(self, at: int) -> tuple[int, bool] | None: ...


class Pattern:
    """Changes at fixed times, which repeat after a period, if there is one.

    times: nanoseconds after `start`, ascending, below the period. states: whether online from each on. before: whether
    online before `start` and, without a period, before the first change.
    """

    def __init__(
        self, times: Sequence[int], states: Sequence[bool], before: bool, period: int | None = None, start: int = 0
    ) -> None:
        self._times, self._states, self._before = list(times), list(states), before
        self._period, self._start = period, start

    @property
    def share(self) -> float | None:
        if self._period is None:
            return None
        ends = [*self._times[1:], self._times[0] + self._period]
        times = zip(self._times, ends, self._states, strict=True)
        return sum(end - start for start, end, online in times if online) / self._period

    def is_online(self, at: int) -> bool:
        at -= self._start
        if at < 0:
            return self._before
        place = bisect_right(self._times, at if self._period is None else at % self._period)
        return self._states[place - 1] if place or self._period is not None else self._before

    def change_after(self, at: int) -> tuple[int, bool] | None:
        after = max(at - self._start, -1)
        base = self._start if self._period is None else self._start + after - after % self._period
        place = bisect_right(self._times, after + self._start - base)
        if place < len(self._times):
            return base + self._times[place], self._states[place]
        if self._period is None:
            return None
        return base + self._period + self._times[0], self._states[0]


class Alternating:
    """Exponential times online and offline in turn, drawn in blocks; the ends of all blocks so far are kept."""

    def __init__(self, law: ExponentialChurn, seed: np.random.SeedSequence) -> None:
        self._seed = seed
        self._starts_online = law.start == "online" or (
            np.random.default_rng(draws.child(seed, 0)).random() < law.up / (law.up + law.down)
        )
        means = (law.up, law.down) if self._starts_online else (law.down, law.up)
        self._means = np.tile(means, BLOCK // 2)
        self._ends: list[int] = []  # of the blocks: the time of their last change
        self._block, self._times = -1, list[int]()
        self._share = law.up / (law.up + law.down)

    @property
    def share(self) -> float:
        return self._share

    def is_online(self, at: int) -> bool:
        changes = bisect_right(self._load(at), at)
        return self._starts_online ^ bool(changes % 2)

    def change_after(self, at: int) -> tuple[int, bool] | None:
        times = self._load(at)
        changes = bisect_right(times, at)
        return times[changes], self._starts_online ^ bool((changes + 1) % 2)

    def _load(self, at: int) -> list[int]:
        """The changes of the block with the first change after `at`."""
        while not self._ends or self._ends[-1] <= at:
            self._load_block(len(self._ends))
            self._ends.append(self._times[-1])
        block = bisect_right(self._ends, at)
        if block != self._block:
            self._load_block(block)
        return self._times

    def _load_block(self, block: int) -> None:
        rng = np.random.default_rng(draws.child(self._seed, 1, block))
        durations = np.maximum(draws.nanoseconds(rng.exponential(self._means)), 1)
        start = self._ends[block - 1] if block else 0
        self._times = (start + np.cumsum(durations)).tolist()
        self._block = block


def presences(
    law: ChurnConfig, peers: Sequence[int], num_peers: int, seed: np.random.SeedSequence, places: Sequence[str | None]
) -> dict[int, Presence]:
    """The presence of those of the peers that are ever offline. places: of all peers. Raises: ValueError."""
    streams = draws.child(seed, Purpose.CHURN)
    if isinstance(law, NoChurn):
        return {}
    if isinstance(law, ExponentialChurn):
        return {peer: Alternating(law, draws.child(streams, peer)) for peer in peers}
    if isinstance(law, DiurnalChurn):
        patterns = {peer: _diurnal(law, draws.child(streams, peer)) for peer in peers}
    elif isinstance(law, TraceChurn):
        found = read_presence(law.path, num_peers, law.period)
        patterns = {peer: _from_intervals(found[peer], law.period) for peer in peers if peer in found}
    else:
        patterns = {peer: _outage(law) for peer in peers if places[peer] == law.region}
        if law.region not in places:
            raise ValueError(
                f"network.churn.region: must be a region that peers are in, got {shortened(law.region)}; one of "
                f"{', '.join(sorted({shortened(place)[1:-1] for place in places if place is not None}))}"
            )
    return {peer: pattern for peer, pattern in patterns.items() if pattern is not None}


def _diurnal(law: DiurnalChurn, seed: np.random.SeedSequence) -> Pattern | None:
    share, phase = np.random.default_rng(seed).random(2)
    period = round(law.period * SECOND)
    online = round((law.low + (law.high - law.low) * share) * period)
    if online >= period:
        return None
    start = min(round(phase * period), period - 1)
    changes = sorted([(start, True), ((start + online) % period, False)])
    return Pattern([at for at, _ in changes], [state for _, state in changes], before=False, period=period)


def _from_intervals(intervals: Sequence[tuple[float, float]], seconds: float | None) -> Pattern | None:
    """Online in the intervals only; those that join over the end of the period are one."""
    period = None if seconds is None else round(seconds * SECOND)
    edges = [
        (round(at * SECOND), state) for interval in intervals for at, state in zip(interval, (True, False), strict=True)
    ]
    if period is not None:
        if edges[0][0] == 0 and edges[-1][0] == period:
            edges = edges[1:-1]
        edges = sorted((at % period, state) for at, state in edges)
    if not edges:
        return None
    return Pattern([at for at, _ in edges], [state for _, state in edges], before=False, period=period)


def _outage(law: OutageChurn) -> Pattern:
    period = None if law.every is None else round(law.every * SECOND)
    changes = [0, round(law.seconds * SECOND)]
    return Pattern(changes, [False, True], before=True, period=period, start=round(law.start * SECOND))
