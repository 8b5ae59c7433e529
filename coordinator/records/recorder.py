"""Turns what the peers answer into events, which change the run's state and are told to its observers."""

import time

from coordinator.measures.gains import Condition
from coordinator.measures.measure import measure
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.events import (
    Fault,
    FaultKind,
    FaultsRecovered,
    Measured,
    Probed,
    RoundCompleted,
    RunEvent,
)
from coordinator.records.observer import Observers
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase, RoundRecord
from peers.probing.measuring import ProbeOutcome
from peers.probing.observing import Observations
from topologies.schedule import Round


class Recorder:
    """Takes the records of a run in order; rounds that are replayed are not recorded again.

    temperature: of the softmax by which the peers' outputs are compared.
    """

    def __init__(self, state: RunState, probes: ProbeTable, observers: Observers, temperature: float) -> None:
        self.state = state
        self.probes = probes
        self._observers = observers
        self._temperature = temperature
        self._lost_since: float | None = None  # when hosts were lost, until their rounds are done again

    def publish(self, event: RunEvent) -> None:
        """Have the state take up an event, then tell the observers."""
        self.state.apply(event)
        self._observers.observe(event)

    def start(self, observations: Observations, plan: Round) -> None:
        """The state before the first round, measured along that round's links."""
        self._measured(0, observations, plan)

    def round(self, record: RoundRecord, seconds: float) -> None:
        """A round of the run, so many seconds after the one before it."""
        completed, replayed = record.completed, record.completed <= self.state.completed
        so_far = self.state.bytes_exchanged + record.num_bytes
        if not replayed:
            self.recovered()
            if record.observations:
                self._measured(completed, record.observations, record.plan)
        sizes = (0, 0) if replayed else (record.num_bytes, so_far)
        self.publish(
            RoundCompleted(Phase.ROUNDS, completed, record.stats, *sizes, seconds, record.peer_seconds, replayed)
        )

    def round_alone(self, record: RoundRecord) -> None:
        """A round of the control alone."""
        self.publish(RoundCompleted(Phase.ALONE, record.completed, record.stats))

    def probed(
        self,
        outcomes: list[ProbeOutcome],
        completed: int | None = None,
        condition: Condition | None = None,
        copies: int = 1,
    ) -> None:
        """Probes of all peers: after a round, unless they are known, and as a condition of the verdict.

        copies: how many peers each outcome stands for.
        """
        if condition is not None:
            self.probes.add(condition, outcomes * copies)
        if completed not in self.state.probed:
            self.publish(Probed(outcomes, completed, condition))

    def fault(self, kind: FaultKind, what: str) -> None:
        """Note what went wrong; anything but the loss of a host once only."""
        if kind is FaultKind.HOST_LOST:
            self._lost_since = self._lost_since or time.perf_counter()
        elif any(each.what == what for each in self.state.faults):
            return
        self.publish(Fault(kind, what, self.state.completed, len(self.state.faults) + 1))

    def recovered(self) -> None:
        """Close open faults with their recovery time."""
        if self._lost_since is not None:
            seconds, self._lost_since = time.perf_counter() - self._lost_since, None
            self.publish(FaultsRecovered(seconds))

    def _measured(self, completed: int, observations: Observations, plan: Round) -> None:
        measures, pairing = measure(observations, plan, self._temperature)
        self.publish(Measured(completed, measures, pairing, sum(each.seconds for each in observations.peers.values())))
