"""The synchronous scheduler: calls the hosts in each round and yields their results in order.

What it shares with other schedulers is in `in_flight`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from coordinator.pools.base import Pool, Ref
from coordinator.scheduling.assignments import MemoByRound, Routes
from coordinator.scheduling.in_flight import InFlight, RoundsInFlight, merged, saved, submit_save
from coordinator.scheduling.scheduler import Cadence, PeersSaved, RoundRecord, SaveFailed
from peers.exchange.assignment import Assignment, Stats
from peers.exchange.sums import Sum
from peers.hosting.postbox import Bundle
from topologies.round import Edge
from topologies.schedule import Round, Schedule


@dataclass
class RoundInFlight(InFlight):
    """A round in flight. published: what its calls publish for later rounds."""

    published: dict[int, Assignment] = field(default_factory=dict)


@dataclass(frozen=True)
class SynchronousScheduler:
    """In each round, every peer waits only for the messages of its own teachers.

    shared_sum: on a complete graph, students learn from the sum of the round's messages, computed once per node.

    Only the messages of the same round are delivered: `records` raises a ValueError when it comes to plan a round that
    has an edge of age > 0.
    """

    pool: Pool
    shared_sum: bool = False

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        """See `Scheduler`."""
        return iter(RoundLoop(self.pool, schedule, cadence, self.shared_sum, start, stop))

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        """See `Scheduler`."""
        return saved(self.pool, submit_save(self.pool, folder, completed))


class RoundLoop(RoundsInFlight[RoundInFlight]):
    """Runs the rounds of a schedule on a pool and yields one record per round, in order.

    shared_sum: on a complete graph, students learn from the sum of the round's messages, computed once per node. The
    rest is as in `RoundsInFlight`.
    """

    def __init__(
        self,
        pool: Pool,
        schedule: Schedule,
        cadence: Cadence,
        shared_sum: bool = False,
        start: int = 0,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(pool, cadence, start, stop, clock)
        self.schedule = _without_ages(schedule)
        peers_of_hosts = [host.peers for host in pool.hosts]
        self._routes = Routes(
            self.schedule, cadence.num_rounds, peers_of_hosts, shared_sum, start, cadence.gradient_norm
        )
        self._current: dict[int, Assignment] = {}
        self._bundles: dict[int, Ref[Bundle]] = {}  # peer -> the bundle that contains its latest message
        self._sizes: dict[tuple[int, int], int] = {}  # (round, sender) -> bytes of its message

    def _publish_first(self) -> None:
        stats = []
        for host in self.pool.hosts:
            first = {peer: begin for peer in host.peers if (begin := self._routes.following(peer)) is not None}
            if first:
                bundle, answer = host.publish(first)
                stats.append(answer)
                self._current |= first
                self._bundles |= dict.fromkeys(first, bundle)
        self._note(dict(self._current), merged(self.pool.get(stats)))

    def _submit(self, round_index: int) -> RoundInFlight:
        round_ = self.schedule(round_index)
        active = self._active(round_index)
        totals = self._totals(active) if self._routes.summed(round_) else {}
        bundles: dict[int, Ref[Bundle]] = {}
        stats: list[Ref[dict[int, Stats]]] = []
        published: dict[int, Assignment] = {}
        for host, peers in active.items():
            following = {peer: self._routes.following(peer) for peer in peers}
            arrived: list[Ref[Bundle | Sum]] = [totals[host]] if totals else [*self._arrivals(round_, host)]
            bundle, answer = self.pool.hosts[host].advance(round_index, following, *arrived)
            stats.append(answer)
            for peer, after in following.items():
                if after is None:
                    del self._current[peer]
                else:
                    self._current[peer] = published[peer] = after
                    bundles[peer] = bundle
        self._bundles.update(bundles)  # only after all calls: this round's students use the bundles from before
        return RoundInFlight(round_index + 1, round_, stats, published=published)

    def _active(self, round_index: int) -> dict[int, list[int]]:
        """The participants of a round on each host; hosts without participants are left out and get no call."""
        parts = self._current
        hosts = [host.peers for host in self.pool.hosts]
        mine = [[p for p in peers if p in parts and parts[p].round_index == round_index] for peers in hosts]
        return {host: peers for host, peers in enumerate(mine) if peers}

    def _arrivals(self, round_: Round, host: int) -> list[Ref[Bundle]]:
        """The bundles with the remote messages for a host's students in a round, without duplicates."""
        return list(dict.fromkeys(self._bundles[teacher] for teacher in self._routes.foreign(round_)[host]))

    def _totals(self, active: Mapping[int, list[int]]) -> dict[int, Ref[Sum]]:
        """The sum of the round's messages for each host, computed once per node; {} if there is only one host."""
        if len(self.pool.hosts) == 1:
            return {}
        bundles = [self._bundles[peers[0]] for peers in active.values()]
        totals: dict[int, Ref[Sum]] = {}
        for node in self.pool.nodes:
            here = [host for host in node if host in active]
            if here:
                total = self.pool.hosts[here[0]].total(*bundles)
                totals |= dict.fromkeys(here, total)
        return totals

    def _record(self, flight: RoundInFlight, answers: Sequence[dict[int, Stats]]) -> RoundRecord:
        stats = merged(answers)
        num_bytes = sum(
            self._sizes[flight.completed - 1, teacher] * count
            for teacher, count in self._routes.listeners(flight.round).items()
        )
        self._note(flight.published, stats)
        for key in [key for key in self._sizes if key[0] < flight.completed]:
            del self._sizes[key]
        return RoundRecord(flight.completed, flight.round, stats, num_bytes)

    def _note(self, published: Mapping[int, Assignment], stats: Mapping[int, Stats]) -> None:
        for peer, assignment in published.items():
            self._sizes[assignment.round_index, peer] = stats[peer].sent_bytes
        self._spent(stats)


def _without_ages(schedule: Schedule) -> Schedule:
    """The same schedule; it raises a ValueError for a round that has an edge of age > 0."""
    aged = MemoByRound(_aged)  # checks the one round of a static schedule once

    def round_at(round_index: int) -> Round:
        round_ = schedule(round_index)
        found = aged(round_)
        if found is not None:
            student, edge = found
            raise ValueError(
                f"round {round_index}: the edge from peer {edge.teacher} to peer {student} has age {edge.age}, but the "
                "synchronous scheduler delivers only messages of the same round (age 0)"
            )
        return round_

    return replace(schedule, round_at=round_at)


def _aged(round_: Round) -> tuple[int, Edge] | None:
    """The first student with an edge of age > 0, and that edge; None if there is none."""
    return next(((student, edge) for student in round_.students for edge in round_.incoming[student] if edge.age), None)
