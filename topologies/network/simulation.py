"""The trace of a run: the simulation of its network, and how to begin in its midst."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from topologies.network.asynchronous import Asynchronous
from topologies.network.gossip import Gossip
from topologies.network.links import Links, Present
from topologies.network.lock_step import LockStep
from topologies.network.trace import Cut, TimedRound, Trace
from topologies.network.waiting import Waiting
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

KEPT = 16  # states that a trace keeps in memory
S = TypeVar("S", bound="Simulation")


@runtime_checkable
class Simulation(Protocol):
    """The state at the start of round `index`, which `next_round` makes."""

    index: int

    def next_round(self) -> TimedRound | None:
        """Make the round; None: nothing will ever happen again."""
        ...

    def cut(self) -> Cut:
        """What is under way."""
        ...

    def copy(self: S) -> S:
        """Another one that goes on by itself."""
        ...


class Replay:
    """The rounds of a simulation from any index on.

    States are kept at even distances, which double when there are many. A later start costs the rounds since the
    last state that is kept.
    """

    def __init__(self, first: Simulation, every: int = 16) -> None:
        self._kept: dict[int, Simulation] = {0: first}
        self._every = every

    def rounds_from(self, start: int) -> Iterator[TimedRound]:
        """The rounds from index `start` on."""
        state = self._at(start)
        while state is not None:
            found = state.next_round()
            if found is None:
                return
            self._keep(state)
            yield found

    def cut_at(self, start: int) -> Cut:
        """What is under way at the start of round `start`.

        Raises:
            ValueError: if nobody is online any more by then.
        """
        state = self._at(start)
        if state is None:
            raise ValueError(
                f"network.churn: must leave somebody online for all rounds, got nobody from before round {start} on; "
                "lower run.rounds, or let peers come back"
            )
        return state.cut()

    def _at(self, start: int) -> Simulation | None:
        """A state of its own at the start of a round; None: the simulation ends before."""
        state = self._kept[max(index for index in self._kept if index <= start)].copy()
        while state.index < start:
            if state.next_round() is None:
                return None
            self._keep(state)
        return state

    def _keep(self, state: Simulation) -> None:
        if state.index % self._every or state.index in self._kept:
            return
        self._kept[state.index] = state.copy()
        if len(self._kept) > KEPT:
            self._every *= 2
            self._kept = {index: kept for index, kept in self._kept.items() if index % self._every == 0}


def build_trace(
    network: NetworkConfig,
    schedule: Schedule,
    num_peers: int,
    seed: np.random.SeedSequence | int,
    message_bytes: int | Sequence[int],
    present: Present | None = None,
) -> Trace:
    """The trace of a network: a pure function of these arguments.

    message_bytes: the size of a message, for all peers or by sender. present: the schedule of all peers whose links are
    among some peers alone, for `network.rewire`.

    Raises:
        ValueError: for settings that do not fit the number of peers or the schedule; one line.
    """
    world = World.of(network, num_peers, seed, message_bytes)
    return trace_of(network, world, schedule, present if network.rewire else None)


def trace_of(network: NetworkConfig, world: World, schedule: Schedule, present: Present | None = None) -> Trace:
    """The trace of a network in a world that is known."""
    lock_step = network.clock in ("synchronous", "neighbours")
    barrier = network.clock == "synchronous"
    first: Simulation
    if lock_step and not world.has_churn and world.up is None:
        first = LockStep(world, Links(schedule), barrier)
    elif lock_step:
        first = Waiting(world, schedule, present, barrier)
    elif network.clock == "gossip":
        first = Gossip(world, schedule, present, network)
    else:
        first = Asynchronous(world, schedule, present, network)
    replay = Replay(first)
    return Trace(
        num_peers=world.num_peers,
        plain=lock_step and not world.has_churn and not world.has_loss,
        own_batches=network.clock == "gossip" or network.message == "checkpoint",
        rounds_from=replay.rounds_from,
        cut_at=replay.cut_at,
    )
