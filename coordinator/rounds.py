"""The round loop: who is called when, and what comes back, in order.

The coordinator passes references from teachers to students and never opens a message. It submits up to `lookahead`
rounds ahead of the oldest whose stats it has not read. One submitter and in-order peers cannot deadlock: a reference
exists before it is passed on.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator import checkpoint
from coordinator.pool import Pool
from peers.measuring import Observation
from peers.messages import Assignment
from peers.peer import Stats
from topologies.schedule import Round, Schedule


@dataclass(frozen=True)
class Cadence:
    """How many rounds to run, how many to keep in flight, and after which to look. 0: never."""

    num_rounds: int
    lookahead: int
    observe_every: int = 0
    probe_every: int = 0
    checkpoint_every: int = 0
    checkpoints: Path = Path("checkpoints")
    keep_failed: bool = False  # a checkpoint of the round in which a peer dropped out: for a run that goes on

    def due(self, every: int, completed: int) -> bool:
        return every > 0 and completed % every == 0


@dataclass(frozen=True)
class RoundRecord:
    """What is known of the state after `completed` rounds; `plan` and `stats` are those of the last one."""

    completed: int
    plan: Round
    stats: dict[int, Stats]
    num_bytes: int
    observations: list[Observation] | None = None
    probes: list[Any] | None = None
    checkpointed: bool = False


class Agenda:
    """Each peer's assignments in order of rounds, planned no further ahead than somebody asks."""

    def __init__(self, schedule: Schedule, num_rounds: int) -> None:
        self._schedule = schedule
        self._num_rounds = num_rounds
        self._planned = 0
        self._queues: list[deque[Assignment]] = [deque() for _ in range(schedule.num_peers)]

    def following(self, peer: int) -> Assignment | None:
        """The peer's next assignment; None when it has no part in any round that is left."""
        while not self._queues[peer] and self._planned < self._num_rounds:
            for each, assignment in assignments(self._schedule(self._planned), self._planned).items():
                self._queues[each].append(assignment)
            self._planned += 1
        return self._queues[peer].popleft() if self._queues[peer] else None


def assignments(plan: Round, round_index: int) -> dict[int, Assignment]:
    """The part of every peer that looks at a round's batch, mostly to teach or study; the others get no call."""
    teaching = plan.teaching
    return {
        peer: Assignment(round_index, teachers, plan.weights[peer], peer in teaching)
        for peer, teachers in enumerate(plan.teachers)
        if teachers or peer in teaching or peer in plan.unheard
    }


def last_rounds(schedule: Schedule, num_rounds: int, most: int) -> list[list[int]]:
    """Each peer's last rounds with a part in them, ascending, at most so many."""
    found: list[list[int]] = [[] for _ in range(schedule.num_peers)]
    for round_index in reversed(range(num_rounds)):
        for peer in assignments(schedule(round_index), round_index):
            if len(found[peer]) < most:
                found[peer].insert(0, round_index)
        if all(len(rounds) == most for rounds in found):
            break
    return found


@dataclass
class InFlight:
    """References of a submitted round that have not been read."""

    completed: int
    plan: Round
    assignments: dict[int, Assignment]
    stats: dict[int, Any]
    observations: list[Any] = field(default_factory=list)
    probes: list[Any] = field(default_factory=list)
    checkpoints: list[Any] = field(default_factory=list)


class RoundLoop:
    """Runs the rounds of a schedule on a pool and yields one record per round, in order."""

    def __init__(self, pool: Pool, schedule: Schedule, cadence: Cadence) -> None:
        self.pool = pool
        self.schedule = schedule
        self.cadence = cadence
        self._peers = range(schedule.num_peers)
        self._agenda = Agenda(schedule, cadence.num_rounds)
        self._current: dict[int, Assignment] = {}
        self._messages: dict[int, Any] = {}
        self._sizes: dict[tuple[int, int], int] = {}  # (round, sender) -> bytes of its message
        self._failed: set[int] = set()
        self.peer_seconds = 0.0

    def __iter__(self) -> Iterator[RoundRecord]:
        self._publish_first()
        flying: deque[InFlight] = deque()
        for round_index in range(self.cadence.num_rounds):
            flying.append(self._submit(round_index))
            if len(flying) >= self.cadence.lookahead:
                yield self._read(flying.popleft())
        while flying:
            yield self._read(flying.popleft())

    def _publish_first(self) -> None:
        stats = {}
        for peer in self._peers:
            first = self._agenda.following(peer)
            if first is not None:
                self._current[peer] = first
                self._messages[peer], stats[peer] = self.pool.submit(peer, "publish", first, num_returns=2)
        self._note(dict(self._current), dict(zip(stats, self.pool.get(list(stats.values())), strict=True)))

    def _submit(self, round_index: int) -> InFlight:
        plan = self.schedule(round_index)
        active = {peer: each for peer, each in self._current.items() if each.round_index == round_index}
        published: dict[int, Any] = {}
        stats: dict[int, Any] = {}
        following: dict[int, Assignment] = {}
        for peer, assignment in active.items():
            after = self._agenda.following(peer)
            heard = [self._messages[teacher] for teacher in assignment.teachers]
            published[peer], stats[peer] = self.pool.submit(peer, "advance", assignment, after, *heard, num_returns=2)
            if after is None:
                del self._current[peer]
            else:
                self._current[peer] = following[peer] = after
        self._messages.update(published)  # only now: all of this round's students heard this round's messages
        return self._measure(InFlight(round_index + 1, plan, following, stats))

    def _measure(self, flight: InFlight) -> InFlight:
        """Submit what is due after a round; a peer answers before it takes up anything later."""
        cadence, completed = self.cadence, flight.completed
        last = completed == cadence.num_rounds
        if cadence.due(cadence.observe_every, completed) or (last and cadence.observe_every):
            flight.observations = [self.pool.submit(peer, "observe") for peer in self._peers]
        if not last and cadence.due(cadence.probe_every, completed):
            flight.probes = [self.pool.submit(peer, "probe", "as-is") for peer in self._peers]
        if cadence.due(cadence.checkpoint_every, completed):
            folder = str(checkpoint.aside(cadence.checkpoints, completed))
            flight.checkpoints = [self.pool.submit(peer, "save", folder, completed) for peer in self._peers]
        return flight

    def _read(self, flight: InFlight) -> RoundRecord:
        stats = dict(zip(flight.stats, self.pool.get(list(flight.stats.values())), strict=True))
        num_bytes = sum(
            self._sizes[flight.completed - 1, teacher] for student, teacher in flight.plan.edges if student != teacher
        )
        self._note(flight.assignments, stats)
        for key in [key for key in self._sizes if key[0] < flight.completed]:
            del self._sizes[key]
        checksums = self.pool.get(flight.checkpoints)
        failed = {peer for peer, each in stats.items() if each.failure}
        # a state that is about to stop the run is no good one
        sound = bool(checksums) and (self.cadence.keep_failed or failed <= self._failed)
        self._failed |= failed
        if sound:
            checkpoint.complete(self.cadence.checkpoints, flight.completed, checksums)
        return RoundRecord(
            flight.completed,
            flight.plan,
            stats,
            num_bytes,
            self.pool.get(flight.observations) or None,
            self.pool.get(flight.probes) or None,
            sound,
        )

    def _note(self, published: dict[int, Assignment], stats: dict[int, Stats]) -> None:
        for peer, assignment in published.items():
            self._sizes[assignment.round_index, peer] = stats[peer].sent_bytes
        self.peer_seconds += sum(each.seconds for each in stats.values())
