"""Which scheduler a run has: the plain one, the plain one with virtual times beside it, or the event-driven one."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from coordinator.pools.base import Pool
from coordinator.scheduling.event_driven import EventDrivenScheduler
from coordinator.scheduling.scheduler import Cadence, PeersSaved, RoundRecord, SaveFailed, Scheduler
from coordinator.scheduling.synchronous import SynchronousScheduler
from coordinator.scheduling.timing import PlainTimings
from topologies.network.trace import Trace
from topologies.schedule import Schedule


@dataclass(frozen=True)
class PlainTraceScheduler:
    """The synchronous scheduler on a trace that differs from its schedule in times only, which it adds to the records.

    trace: a plain one.
    """

    synchronous: SynchronousScheduler
    trace: Trace

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        """See `Scheduler`."""
        times, rounds = PlainTimings(), self.trace.rounds(start)
        for record in self.synchronous.records(schedule, cadence, start, stop):
            timed = next(rounds)
            yield replace(record, timed=timed, timing=times(timed, record.round))

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        """See `Scheduler`."""
        return self.synchronous.save(folder, completed)


def scheduler_of(
    pool: Pool, trace: Trace | None, shared_sum: bool, frozen: Collection[int] = (), ages_in_rounds: bool = True
) -> Scheduler:
    """The scheduler of a run or of a control run.

    trace: None without a simulated network. shared_sum: whether students learn from the sum of a round's messages.
    frozen, ages_in_rounds: see `EventDrivenScheduler`.
    """
    synchronous = SynchronousScheduler(pool, shared_sum)
    if trace is None:
        return synchronous
    if trace.plain:
        return PlainTraceScheduler(synchronous, trace)
    return EventDrivenScheduler(pool, trace, frozenset(frozen), ages_in_rounds)
