"""What tests of traces share: traces of small worlds, worlds with times by hand, and numbers that are averaged along."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from topologies.config import KINDS
from topologies.network.simulation import build_trace, trace_of
from topologies.network.trace import SECOND, Publication, Step, TimedRound, Trace
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

Ns = Callable[[int, int], int]


def scheduled(kind: str, num_peers: int, seed: int = 0) -> Schedule:
    return KINDS[kind].example(num_peers).build(num_peers, np.random.SeedSequence(seed))


def traced(schedule: Schedule, seed: int = 0, **network: Any) -> Trace:
    return build_trace(NetworkConfig(**network), schedule, schedule.num_peers, seed, 1000)


def by_hand(schedule: Schedule, network: NetworkConfig, seed: int = 0, **replaced: Any) -> Trace:
    """A trace in a world of which some functions are given."""
    world = World.of(network, schedule.num_peers, seed, 1000)
    return trace_of(network, replace(world, **replaced), schedule)


def drawn(mean: float, seed: int) -> Callable[[], int]:
    """Exponential nanoseconds, one by one."""
    rng = np.random.default_rng(seed)
    return lambda: int(rng.exponential(mean) * SECOND)


def steps_of(rounds: list[TimedRound]) -> list[Step]:
    return [step for timed in rounds for wave in timed.waves for step in wave.steps]


def acts_of(timed: TimedRound) -> Iterator[Publication | Step]:
    """In an order in which they can be computed."""
    for wave in timed.waves:
        yield from wave.returns
        yield from wave.steps


def taken(trace: Trace, num_rounds: int, start: int = 0) -> list[TimedRound]:
    return list(islice(trace.rounds(start), num_rounds))


class Averaging:
    """A row of numbers for each peer. A step moves it to `(1 - share) own + share heard`; a message is a copy of it."""

    def __init__(self, trace: Trace, rows: np.ndarray, share: float) -> None:
        self.rows, self.share = rows.copy(), share
        self.sent = {(peer, message.version): rows[peer].copy() for peer, message in trace.cut_at(0).due.items()}

    def act(self, act: Publication | Step) -> None:
        published: Publication | None = None
        if isinstance(act, Publication):
            published = act
        else:
            if act.heard:
                target = sum(edge.weight * self.sent[edge.teacher, act.version - edge.age] for edge in act.heard)
                self.rows[act.peer] = (1 - self.share) * self.rows[act.peer] + self.share * target
            published = act.following
        if published is not None:
            self.sent[published.peer, published.version] = self.rows[published.peer].copy()
