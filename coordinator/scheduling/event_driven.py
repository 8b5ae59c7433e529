"""The event-driven scheduler: runs the trace of a simulated network, which says who uses which message of whom, when.

A round of the run has as many waves of calls as the trace asks for. A message travels in the bundle of the call that
published it, and its reference is held until the trace says that nobody will use it any more.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeVar

from coordinator.experiment.config import ConfigError
from coordinator.pools.base import Pool, Ref
from coordinator.scheduling.in_flight import InFlight, RoundsInFlight, saved, submit_save
from coordinator.scheduling.scheduler import Cadence, PeersSaved, RoundRecord, SaveFailed
from coordinator.scheduling.steps import has_self_edge, heard_of_others, of_round, without_next
from coordinator.scheduling.timing import Timings
from peers.exchange.assignment import Assignment, Links, Rejoin, Stats, Study
from peers.hosting.evaluator import State
from peers.hosting.postbox import Bundle
from topologies.network.trace import Fate, MessageKey, Publication, Return, Step, TimedRound, Trace, Weights
from topologies.schedule import Schedule

LOOKED_AT = 64  # rounds of a schedule that tell whether students learn from what they would send, too
Entry = TypeVar("Entry", Step, Publication)
WEIGHTS: dict[Weights, Literal["own", "fresh", "neighbour"]] = {
    Weights.OWN: "own",
    Weights.FRESH: "fresh",
    Weights.NEIGHBOUR: "neighbour",
}


@dataclass(frozen=True)
class EventDrivenScheduler:
    """Follows a trace, whatever the ages of its messages. The schedule that it is given is what a round is shown with.

    frozen: peers that never learn, so that they need not keep their forward passes. ages_in_rounds: whether the
    versions of messages are rounds.
    """

    pool: Pool
    trace: Trace
    frozen: frozenset[int] = frozenset()
    ages_in_rounds: bool = True

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        """See `Scheduler`. Raises: ConfigError, once the trace has no further round."""
        loop = TraceLoop(self.pool, schedule, self.trace, cadence, start, stop, self.frozen, self.ages_in_rounds)
        return iter(loop)

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        """See `Scheduler`."""
        return saved(self.pool, submit_save(self.pool, folder, completed))


@dataclass
class TimedInFlight(InFlight):
    """A round in flight. published, stepped: by call, the messages that it publishes, and the peers that step in it.

    counted: messages whose bytes belong to this round, with the number of peers that they are sent to.
    """

    timed: TimedRound | None = None
    published: list[tuple[MessageKey, ...]] = field(default_factory=list)
    stepped: list[tuple[int, ...]] = field(default_factory=list)
    counted: list[tuple[MessageKey, int]] = field(default_factory=list)


class TraceLoop(RoundsInFlight[TimedInFlight]):
    """Runs the rounds of a trace on a pool and yields one record per round, in order; see `RoundsInFlight`."""

    def __init__(
        self,
        pool: Pool,
        schedule: Schedule,
        trace: Trace,
        cadence: Cadence,
        start: int = 0,
        stop: Callable[[], bool] = lambda: False,
        frozen: frozenset[int] = frozenset(),
        ages_in_rounds: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(pool, cadence, start, stop, clock)
        self.schedule, self.trace, self.frozen = schedule, trace, frozen
        self._cut = trace.cut_at(start)
        self._rounds = trace.rounds(start)
        self._timings = Timings(self._cut, ages_in_rounds)
        self._host_of = {peer: host for host, each in enumerate(pool.hosts) for peer in each.peers}
        sample = map(schedule, range(min(schedule.period or LOOKED_AT, LOOKED_AT)))
        self._hear_themselves = any(map(has_self_edge, sample))
        self._due: dict[int, Publication] = {}
        self._bundles: dict[MessageKey, Ref[Bundle]] = {}
        self._sizes: dict[MessageKey, int] = {}
        self._size_of: dict[int, int] = {}  # of each sender's latest message
        self._released: dict[int, list[int]] = {}  # by sender: what its host has not been told yet
        self._links = lru_cache(maxsize=4096)(lambda heard: Links.of(*heard))

    # ---- calls ----

    def _publish_first(self) -> None:
        """Publish what is due, and get hold of the older messages that are still of use, which the hosts have."""
        if self.start >= self.cadence.num_rounds:
            return
        live: dict[int, tuple[int, ...]] = {}
        for sender, version in self._cut.live:
            live[sender] = (*live.get(sender, ()), version)
        flight = TimedInFlight(self.start, self.schedule(self.start), [])
        for place, host in enumerate(self.pool.hosts):
            due = [self._cut.due[peer] for peer in host.peers if peer in self._cut.due]
            kept = {peer: live[peer] for peer in host.peers if peer in live}
            if due or self.start:
                bundle = self._publish(place, due, flight, kept if self.start else None)
                keys = ((peer, version) for peer, versions in kept.items() for version in versions)
                self._bundles |= dict.fromkeys(keys, bundle)
        self._note(flight, self.pool.get(flight.stats))

    def _submit(self, round_index: int) -> TimedInFlight:
        timed = next(self._rounds, None)
        if timed is None:
            raise ConfigError(
                f"network: after round {round_index} no peer takes a further step, but run.rounds is "
                f"{self.cadence.num_rounds}: lower run.rounds, or let peers come back (network.churn)"
            )
        assert timed.index == round_index, "the trace gives the rounds in order"
        flight = TimedInFlight(round_index + 1, self.schedule(round_index), [], timed=timed)
        is_last = round_index == self.cadence.num_rounds - 1
        for wave in without_next(timed) if is_last else timed.waves:
            self._come_back(wave.returns, flight)
            self._step(wave.steps, flight)
        for peer, version in timed.abandoned:
            if peer in self._due and self._due[peer].version == version:
                self._count(self._due.pop(peer), flight)
        for sender, versions in timed.released.items():
            self._released.setdefault(sender, []).extend(versions)
            for version in versions:
                self._bundles.pop((sender, version), None)
        return flight

    def _step(self, steps: Sequence[Step], flight: TimedInFlight) -> None:
        """Have each host take the steps of its peers, and publish what follows."""
        for place, own in self._by_host(steps).items():
            studies = {step.peer: self._study(step, flight.completed - 1) for step in own}
            following = {
                step.peer: None if step.following is None else self._assignment(step.following, flight.completed)
                for step in own
            }
            foreign = (key for step in own for key in heard_of_others(step) if self._host_of[key[0]] != place)
            arrived = list(dict.fromkeys(self._bundles[key] for key in foreign))
            bundle, answer = self.pool.hosts[place].step(studies, following, *arrived)
            for step in own:
                self._count(self._due.pop(step.peer), flight)
            published = [step.following for step in own if step.following is not None]
            self._called(flight, answer, bundle, published, tuple(step.peer for step in own))

    def _come_back(self, returns: Sequence[Publication], flight: TimedInFlight) -> None:
        """Have peers publish between their steps, those that have been away with the weights that they come back with.

        The weights of a neighbour are those that it has when the call for them comes to its host.
        """
        for place, own in self._by_host(returns).items():
            at_hand = [publication for publication in own if publication.back is None]
            if at_hand:
                self._publish(place, at_hand, flight)
            back = {publication.peer: publication.back for publication in own if publication.back is not None}
            if back:
                assignments = {each.peer: self._assignment(each, flight.completed - 1) for each in own if each.back}
                rejoins = {peer: Rejoin(WEIGHTS[each.weights], each.count, each.source) for peer, each in back.items()}
                states = self._states(place, back.values())
                bundle, answer = self.pool.hosts[place].rejoin(assignments, rejoins, *states)
                self._called(flight, answer, bundle, [each for each in own if each.back])

    def _publish(
        self,
        place: int,
        publications: Sequence[Publication],
        flight: TimedInFlight,
        live: Mapping[int, tuple[int, ...]] | None = None,
    ) -> Ref[Bundle]:
        """Have the peers of a host publish. live: the older messages that it is to keep; None: all that it has."""
        assignments = {each.peer: self._assignment(each, flight.completed) for each in publications}
        bundle, answer = self.pool.hosts[place].publish(assignments, live)
        self._called(flight, answer, bundle, publications)
        return bundle

    def _states(self, place: int, back: Iterable[Return]) -> list[Ref[dict[int, State]]]:
        """The states of the other hosts' peers whose weights are copied."""
        sources = {each.source for each in back if each.weights is Weights.NEIGHBOUR}
        away = sorted(source for source in sources if self._host_of[source] != place)
        return [self.pool.hosts[self._host_of[source]].states([source]) for source in away]

    def _called(
        self,
        flight: TimedInFlight,
        answer: Ref[dict[int, Stats]],
        bundle: Ref[Bundle],
        published: Sequence[Publication],
        stepped: tuple[int, ...] = (),
    ) -> None:
        """Note a call, and what it publishes."""
        flight.stats.append(answer)
        flight.stepped.append(stepped)
        flight.published.append(tuple((each.peer, each.version) for each in published))
        for publication in published:
            if publication.peer in self._due:  # it went away before it could step on its last message
                self._count(self._due[publication.peer], flight)
            self._due[publication.peer] = publication
            if self._is_remote(publication):
                self._bundles[publication.peer, publication.version] = bundle

    # ---- what calls are given ----

    def _assignment(self, publication: Publication, step_round: int) -> Assignment:
        """A message that is to be published: whom its peer will learn from is not known yet."""
        version, norm = publication.version, self.cadence.gradient_norm
        return Assignment(
            version,
            publication.batch,
            Links(),
            teaches=bool(publication.sent_to) or self._hear_themselves,  # lost messages have been sent, too
            remote=self._is_remote(publication),
            gradient_norm=None if norm is None else norm(version, publication.peer),
            kept=publication.useful,
            links_follow=publication.peer not in self.frozen,
            step_round=step_round,
        )

    def _is_remote(self, publication: Publication) -> bool:
        place = self._host_of[publication.peer]
        return publication.useful and any(self._host_of[peer] != place for peer in publication.sent_to)

    def _study(self, step: Step, round_index: int) -> Study:
        links = self._links(step.heard)
        if links.ages is not None and not self.trace.own_batches:
            links = replace(links, batches=tuple(step.version - age for age in links.ages))
        return Study(step.version, links, tuple(self._released.pop(step.peer, ())), round_index)

    def _by_host(self, entries: Iterable[Entry]) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        for entry in entries:
            found.setdefault(self._host_of[entry.peer], []).append(entry)
        return found

    def _count(self, publication: Publication, flight: TimedInFlight) -> None:
        """Count a message's bytes in this round."""
        flight.counted.append(((publication.peer, publication.version), len(publication.sent_to)))

    # ---- results ----

    def _record(self, flight: TimedInFlight, answers: Sequence[dict[int, Stats]]) -> RoundRecord:
        assert flight.timed is not None
        self._note(flight, answers)
        by_peer: dict[int, list[Stats]] = {}
        for peers, answer in zip(flight.stepped, answers, strict=True):
            for peer in peers:
                by_peer.setdefault(peer, []).append(answer[peer])
        stats = {peer: of_round(of_peer) for peer, of_peer in sorted(by_peer.items())}
        num_bytes = sum(self._sizes.pop(key) * receivers for key, receivers in flight.counted)
        num_bytes -= sum(self._size_of[each.sender] for each in flight.timed.deliveries if each.fate is Fate.REPLACED)
        times = self._timings(flight.timed)
        return RoundRecord(flight.completed, flight.round, stats, num_bytes, timed=flight.timed, timing=times)

    def _note(self, flight: TimedInFlight, answers: Sequence[dict[int, Stats]]) -> None:
        for keys, answer in zip(flight.published, answers, strict=True):
            for peer, version in keys:
                self._sizes[peer, version] = self._size_of[peer] = answer[peer].sent_bytes
            self._spent(answer)
