"""Rounds in flight: what every scheduler does alike, whichever calls it makes in a round.

The coordinator passes references between hosts and never opens a message. It keeps up to `lookahead` rounds in flight:
those submitted whose stats it has not read. There can be no deadlock, since a single submitter calls hosts that execute
in order, and a reference is passed on only after the call that produces it was submitted.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from coordinator.pools.base import Pool, Ref, in_order
from coordinator.scheduling.probing import Observing, Probing, observe, probe
from coordinator.scheduling.scheduler import Cadence, PeersSaved, RoundRecord, SaveFailed
from peers.exchange.assignment import Stats
from topologies.round import Round

FIRST_CHECKPOINT = 5.0  # seconds until the first checkpoint: the most work that can be lost before there is one
Saving = list[Ref[dict[int, str]]]  # by host: futures for the SHA-256 of each peer's file


@dataclass
class InFlight:
    """A submitted round whose results have not been read."""

    completed: int
    round: Round
    stats: list[Ref[dict[int, Stats]]]
    observations: Observing | None = None
    probes: Probing | None = None
    saving: Saving | SaveFailed | None = None


Flight = TypeVar("Flight", bound=InFlight)


class RoundsInFlight(ABC, Generic[Flight]):
    """Submits rounds in order, with what is due after each of them, and yields their records in order.

    start: the number of rounds that the peers have completed. stop: called before each round; once it returns True, no
    further round is submitted. clock: returns the time in seconds.
    """

    def __init__(
        self,
        pool: Pool,
        cadence: Cadence,
        start: int = 0,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool, self.cadence, self.start, self.stop = pool, cadence, start, stop
        self._peer_seconds = 0.0  # since the last record
        self._clock = clock
        self._saved_at, self._any_saved = clock(), start > 0

    def __iter__(self) -> Iterator[RoundRecord]:
        self._publish_first()
        flying: deque[Flight] = deque()
        for round_index in range(self.start, self.cadence.num_rounds):
            if self.stop() or round_index >= self.cadence.limit():
                break
            flying.append(self._measure(self._submit(round_index)))
            most = 0 if self.cadence.holds(round_index + 1) else self.cadence.lookahead - 1
            while len(flying) > most:
                yield self._read(flying.popleft())
        while flying:
            yield self._read(flying.popleft())

    @abstractmethod
    def _publish_first(self) -> None:
        """Have the peers publish the messages that are due at the start."""

    @abstractmethod
    def _submit(self, round_index: int) -> Flight:
        """Submit the calls of a round, without waiting."""

    @abstractmethod
    def _record(self, flight: Flight, answers: Sequence[dict[int, Stats]]) -> RoundRecord:
        """The record of a round from what its calls have answered, without what is due after it."""

    def _read(self, flight: Flight) -> RoundRecord:
        record = self._record(flight, self.pool.get(flight.stats))
        record = replace(
            record,
            observations=flight.observations.get() if flight.observations else None,
            probes=flight.probes,
            saved=None if flight.saving is None else saved(self.pool, flight.saving),
            peer_seconds=self._peer_seconds,
        )
        self._peer_seconds = 0.0
        return record

    def _spent(self, stats: Mapping[int, Stats]) -> None:
        """Note the peers' computing time of a call."""
        self._peer_seconds += sum(peer_stats.seconds for peer_stats in stats.values())

    def _measure(self, flight: Flight) -> Flight:
        """Submit the observation, probe and checkpoint due after a round; hosts do these before the next round."""
        cadence, completed = self.cadence, flight.completed
        if cadence.observes(completed):
            flight.observations = observe(self.pool, self.cadence.keeps(completed))
        if cadence.probes(completed):
            flight.probes = probe(self.pool, *cadence.probed_as(), peers=cadence.probed_peers)
        patience = cadence.checkpoint_seconds
        if cadence.saves(
            completed, self._clock() - self._saved_at, patience if self._any_saved else min(patience, FIRST_CHECKPOINT)
        ):
            flight.saving = self._submit_save(completed)
            self._saved_at, self._any_saved = self._clock(), True
        return flight

    def _submit_save(self, completed: int) -> Saving | SaveFailed:
        return submit_save(self.pool, self.cadence.aside(completed), completed)


def submit_save(pool: Pool, folder: str, completed: int) -> Saving | SaveFailed:
    """Have every peer write its checkpoint file, without waiting."""
    try:
        return [host.save(folder, completed) for host in pool.hosts]
    except OSError as error:  # the in-process pool raises at once
        return SaveFailed(error)


def saved(pool: Pool, saving: Saving | SaveFailed) -> PeersSaved | SaveFailed:
    """Wait for the result of `submit_save`."""
    if isinstance(saving, SaveFailed):
        return saving
    try:
        return PeersSaved(in_order(pool.get(saving)))
    except OSError as error:
        return SaveFailed(error)


def merged(stats: Sequence[Mapping[int, Stats]]) -> dict[int, Stats]:
    """The stats of all hosts, in peer order."""
    found = {peer: peer_stats for host_stats in stats for peer, peer_stats in host_stats.items()}
    return dict(sorted(found.items()))
