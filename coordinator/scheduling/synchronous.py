"""The round loop: which host is called when, and what comes back, in order.

The coordinator passes references from hosts to hosts and never opens a message. It submits up to `lookahead` rounds
ahead of the oldest whose stats it has not read. One submitter and in-order hosts cannot deadlock: a reference exists
before it is passed on.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.pools.base import Pool, in_order, submit_each, submit_observations
from coordinator.scheduling.assignments import Routes
from coordinator.scheduling.probing import Probing, probe
from peers.exchange.assignment import Assignment, Stats
from peers.probing.measuring import Observation, ProbeSubject
from topologies.schedule import Round, Schedule

FIRST_CHECKPOINT = 5.0  # seconds of work that may be lost before there is any


@dataclass(frozen=True)
class Cadence:
    """How many rounds to run, how many to keep in flight, and after which to look. 0: never.

    checkpoint_seconds: a checkpoint is due after so many, whatever the rounds; 0: only after `checkpoint_every` rounds.
    aside: the folder in which the peers write a checkpoint. known, probed: up to which round everything but probes, and
    after which rounds these, have been seen before: rounds that are run again.
    """

    num_rounds: int
    lookahead: int
    observe_every: int = 0
    probe_every: int = 0
    checkpoint_every: int = 0
    checkpoint_seconds: float = 0.0
    aside: Callable[[int], str] = "{:06d}".format
    known: int = -1
    probed: frozenset[int] = frozenset()

    def observes(self, completed: int) -> bool:
        """Whether consensus is measured after so many rounds, and was not before."""
        return completed > self.known and self._due(self.observe_every, completed, at_end=True)

    def probes(self, completed: int) -> bool:
        """Whether peers are probed; at the end that is somebody else's to do."""
        last = completed == self.num_rounds
        return not last and completed not in self.probed and self._due(self.probe_every, completed)

    def saves(self, completed: int, seconds: float, first: bool) -> bool:
        """Whether a checkpoint is due, so many seconds after the last one, or after the start if it is the first."""
        patience = min(self.checkpoint_seconds, FIRST_CHECKPOINT) if first else self.checkpoint_seconds
        late = self.checkpoint_every > 0 and 0 < patience <= seconds
        return late or self._due(self.checkpoint_every, completed, at_end=True)

    def _due(self, every: int, completed: int, at_end: bool = False) -> bool:
        return every > 0 and (completed % every == 0 or (at_end and completed == self.num_rounds))


@dataclass(frozen=True)
class RoundRecord:
    """What is known of the state after `completed` rounds; `plan` and `stats` are those of the last one.

    Probes may still be on their way. saved: the checksums of a checkpoint's files, in peer order, or the error that
    kept a peer from writing its own.
    """

    completed: int
    plan: Round
    stats: dict[int, Stats]
    num_bytes: int
    observations: list[Observation] | None = None
    probes: Probing | None = None
    saved: list[str] | OSError | None = None


@dataclass
class InFlight:
    """References of a submitted round that have not been read."""

    completed: int
    plan: Round
    published: dict[int, Assignment]
    stats: list[Any]
    observations: list[Any] = field(default_factory=list)
    probes: Probing | None = None
    saving: list[Any] | OSError = field(default_factory=list)


class RoundLoop:
    """Runs the rounds of a schedule on a pool and yields one record per round, in order.

    shared_sum: students of a complete graph learn from one sum of the round's messages, made once a node.
    start: the rounds that the peers have completed. stop: asked before each round; then those in flight are the last.
    clock: in seconds.
    """

    def __init__(
        self,
        pool: Pool,
        schedule: Schedule,
        cadence: Cadence,
        shared_sum: bool = False,
        start: int = 0,
        stop: Callable[[], object] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool = pool
        self.schedule = schedule
        self.cadence = cadence
        self.start = start
        self.stop = stop
        self._routes = Routes(schedule, cadence.num_rounds, pool.hosts, shared_sum, start)
        self._current: dict[int, Assignment] = {}
        self._bundles: dict[int, Any] = {}  # peer -> the bundle that its latest message travels in
        self._sizes: dict[tuple[int, int], int] = {}  # (round, sender) -> bytes of its message
        self.peer_seconds = 0.0
        self._clock = clock
        self._saved_at, self._any_saved = clock(), start > 0

    def __iter__(self) -> Iterator[RoundRecord]:
        self._publish_first()
        flying: deque[InFlight] = deque()
        for round_index in range(self.start, self.cadence.num_rounds):
            if self.stop():
                break
            flying.append(self._submit(round_index))
            if len(flying) >= self.cadence.lookahead:
                yield self._read(flying.popleft())
        while flying:
            yield self._read(flying.popleft())

    def _publish_first(self) -> None:
        stats = []
        for host, peers in enumerate(self.pool.hosts):
            first = {peer: each for peer in peers if (each := self._routes.following(peer)) is not None}
            if first:
                bundle, answer = self.pool.submit(host, "publish", first, num_returns=2)
                stats.append(answer)
                self._current |= first
                self._bundles |= dict.fromkeys(first, bundle)
        self._note(dict(self._current), _merged(self.pool.get(stats)))

    def _submit(self, round_index: int) -> InFlight:
        plan = self.schedule(round_index)
        active = self._active(round_index)
        totals = self._totals(active) if self._routes.summed(plan) else {}
        bundles: dict[int, Any] = {}
        stats: list[Any] = []
        published: dict[int, Assignment] = {}
        for host, peers in active.items():
            following = {peer: self._routes.following(peer) for peer in peers}
            arrived = [totals[host]] if totals else self._arrivals(plan, host)
            bundle, answer = self.pool.submit(host, "advance", round_index, following, *arrived, num_returns=2)
            stats.append(answer)
            for peer, after in following.items():
                if after is None:
                    del self._current[peer]
                else:
                    self._current[peer] = published[peer] = after
                    bundles[peer] = bundle
        self._bundles.update(bundles)  # only now: all of this round's students heard this round's messages
        return self._measure(InFlight(round_index + 1, plan, published, stats))

    def _active(self, round_index: int) -> dict[int, list[int]]:
        """The peers of each host that have a part in a round; hosts without any get no call."""
        parts = self._current
        mine = [[p for p in peers if p in parts and parts[p].round_index == round_index] for peers in self.pool.hosts]
        return {host: peers for host, peers in enumerate(mine) if peers}

    def _arrivals(self, plan: Round, host: int) -> list[Any]:
        """The bundles from elsewhere that a host's students hear in a round, each once."""
        bundles = [self._bundles[teacher] for teacher in self._routes.foreign(plan)[host]]
        return list({id(each): each for each in bundles}.values())

    def _totals(self, active: Mapping[int, list[int]]) -> dict[int, Any]:
        """For each host the sum of the round's messages, added up once on each node; {} where one host has all."""
        if len(self.pool.hosts) == 1:
            return {}
        bundles = [self._bundles[peers[0]] for peers in active.values()]
        totals: dict[int, Any] = {}
        for node in self.pool.nodes:
            here = [host for host in node if host in active]
            if here:
                total = self.pool.submit(here[0], "total", *bundles)
                totals |= dict.fromkeys(here, total)
        return totals

    def _measure(self, flight: InFlight) -> InFlight:
        """Submit what is due after a round; a host answers before it takes up anything later."""
        cadence, completed = self.cadence, flight.completed
        if cadence.observes(completed):
            flight.observations = submit_observations(self.pool)
        if cadence.probes(completed):
            flight.probes = probe(self.pool, ProbeSubject.AS_IS)
        if cadence.saves(completed, self._clock() - self._saved_at, not self._any_saved):
            flight.saving = self._submit_save(completed)
            self._saved_at, self._any_saved = self._clock(), True
        return flight

    def save(self, completed: int) -> list[str] | OSError:
        """Have the peers write a checkpoint as they stand, when no round is in flight; as in a record."""
        return self._saved(self._submit_save(completed)) or []

    def _submit_save(self, completed: int) -> list[Any] | OSError:
        try:
            arguments = (self.cadence.aside(completed), completed)
            return submit_each(self.pool, "save", dict.fromkeys(range(self.schedule.num_peers), arguments))
        except OSError as error:  # in this process a call fails at once
            return error

    def _saved(self, saving: list[Any] | OSError) -> list[str] | OSError | None:
        try:
            return saving if isinstance(saving, OSError) else self._answers(saving) or None
        except OSError as error:
            return error

    def _read(self, flight: InFlight) -> RoundRecord:
        stats = _merged(self.pool.get(flight.stats))
        num_bytes = sum(
            self._sizes[flight.completed - 1, teacher] * count
            for teacher, count in self._routes.listeners(flight.plan).items()
        )
        self._note(flight.published, stats)
        for key in [key for key in self._sizes if key[0] < flight.completed]:
            del self._sizes[key]
        return RoundRecord(
            flight.completed,
            flight.plan,
            stats,
            num_bytes,
            self._answers(flight.observations) or None,
            flight.probes,
            self._saved(flight.saving),
        )

    def _answers(self, references: list[Any]) -> list[Any]:
        """What all peers answered, in peer order; [] where nothing was asked."""
        return in_order(self.pool, self.pool.get(references)) if references else []

    def _note(self, published: Mapping[int, Assignment], stats: Mapping[int, Stats]) -> None:
        for peer, assignment in published.items():
            self._sizes[assignment.round_index, peer] = stats[peer].sent_bytes
        self.peer_seconds += sum(each.seconds for each in stats.values())


def _merged(stats: list[dict[int, Stats]]) -> dict[int, Stats]:
    """The stats of all hosts, in peer order."""
    merged = {peer: each for host in stats for peer, each in host.items()}
    return dict(sorted(merged.items()))
