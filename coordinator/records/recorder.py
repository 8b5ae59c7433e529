"""Turns the peers' results into events, applies them to the run's state and publishes them to observers."""

import itertools
import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Int, Shaped

from coordinator.measures.gains import Condition
from coordinator.measures.measure import Pairing, measure
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.events import (
    Fault,
    FaultKind,
    FaultsRecovered,
    Measured,
    OutputsMeasured,
    Probed,
    ProbesDone,
    RoundCompleted,
    RunEvent,
    StageTimes,
)
from coordinator.records.observer import Observers
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase, RoundRecord
from peers.probing.measuring import ProbeOutcome
from peers.probing.observing import Observations
from topologies.schedule import Round

Array = Shaped[np.ndarray, "..."]
ProbeBatch = tuple[Int[np.ndarray, " examples"], Int[np.ndarray, " examples"]]


class Recorder:
    """Records a run's results in order; replayed rounds are not recorded again.

    temperature: of the softmax with which the peers' outputs are compared. compare_later: gets the completed rounds of
    each measurement and the input for comparing all pairs of peers, which has all their outputs and is no event's.
    probe_batch: the places of the probe batch among the test images, and its labels.
    """

    def __init__(
        self,
        state: RunState,
        probes: ProbeTable,
        observers: Observers,
        temperature: float,
        compare_later: Callable[[int, Pairing], None] = lambda completed, pairing: None,
        probe_batch: ProbeBatch | None = None,
    ) -> None:
        self.state = state
        self.probes = probes
        self._observers = observers
        self._temperature = temperature
        self._compare_later = compare_later
        self._probe_batch = probe_batch
        self._before = state.times  # of the processes before this one
        self._lost_since: float | None = None  # time of a loss of hosts, until the lost rounds are repeated

    @property
    def times(self) -> StageTimes:
        """How long the stages took until now, with those before the run was resumed."""
        return self._before + self._observers.clock.times

    def publish(self, event: RunEvent) -> None:
        """Apply an event to the state, then pass it to the observers."""
        self.state.apply(event)
        self._observers.observe(event)

    def round(self, record: RoundRecord, seconds: float) -> None:
        """Record a round. seconds: wall-clock time since the previous round."""
        completed, replayed = record.completed, record.completed <= self.state.completed
        if not replayed:
            self.recovered()
            if record.observations:
                self.measured(completed, record.observations, record.round)
        so_far = self.state.bytes_exchanged + (0 if replayed else record.num_bytes)
        self.publish(
            RoundCompleted(
                Phase.ROUNDS,
                completed,
                record.stats,
                record.num_bytes,
                so_far,
                seconds,
                record.peer_seconds,
                replayed,
                record.timing,
                self.state.liars,
            )
        )

    def control_round(self, phase: Phase, record: RoundRecord) -> None:
        """Record a round of a control run."""
        so_far, replayed = self.state.bytes_exchanged, record.completed <= self.state.training(phase).completed
        self.publish(
            RoundCompleted(
                phase,
                record.completed,
                record.stats,
                record.num_bytes,
                so_far,
                replayed=replayed,
                timing=record.timing,
                liars=self.state.liars,
            )
        )

    def probed(
        self,
        outcomes: list[ProbeOutcome],
        completed: int | None = None,
        condition: Condition | None = None,
        of_peers: list[ProbeOutcome] | None = None,
    ) -> None:
        """Record the probes of a round (unless already recorded), of a condition for the verdict, or of both.

        of_peers: what counts for each probed peer, where one outcome counts for several.
        """
        peers = None if of_peers else self.probes.peers
        is_new = condition is not None and not self.probes.has(condition)
        if condition is not None:
            self.probes.add(condition, of_peers or outcomes)
        if completed not in self.state.probed:
            self.publish(Probed(outcomes, completed, condition, peers))
        elif is_new:  # the rounds have ended early, after one that was probed
            self.publish(Probed(outcomes, None, condition, peers))

    def counting(self, total: int) -> Callable[[], None]:
        """A function that is called for each of so many probes of a stage, when it is done."""
        done = itertools.count(1)
        return lambda: self._observers.observe(ProbesDone(next(done), total))

    def fault(self, kind: FaultKind, what: str) -> None:
        """Record a fault; apart from lost hosts, repetitions of the same fault are ignored."""
        if kind is FaultKind.HOST_LOST:
            self._lost_since = self._lost_since or time.perf_counter()
        elif any(fault.what == what for fault in self.state.faults):
            return
        self.publish(Fault(kind, what, self.state.completed, len(self.state.faults) + 1))

    def recovered(self) -> None:
        """Close open faults with their recovery time."""
        if self._lost_since is not None:
            seconds, self._lost_since = time.perf_counter() - self._lost_since, None
            self.publish(FaultsRecovered(seconds))

    def measured(self, completed: int, observations: Observations, round_: Round) -> None:
        """Record the measures after a round, along the links of `round_`; before the first round, of that one."""
        measures, pairing = measure(observations, round_, self._temperature, self.state.liars)
        self._compare_later(completed, pairing)
        self.publish(Measured(completed, measures, sum(peer.seconds for peer in observations.peers.values())))
        responses = {peer: seen.responses for peer, seen in observations.peers.items() if seen.responses is not None}
        if responses and self._probe_batch is not None:
            features = {peer: _read_only(response.features) for peer, response in responses.items()}
            outputs = {peer: _read_only(response.outputs) for peer, response in responses.items()}
            examples, labels = map(_read_only, self._probe_batch)
            self.publish(OutputsMeasured(completed, features, outputs, labels, examples))


def _read_only(array: Array) -> Array:
    """A view that cannot be written to: an observer changes no number, and sees the same in every pool."""
    view = array.view()
    view.flags.writeable = False
    return view
