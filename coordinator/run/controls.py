"""The controls before training: raw pixels, untrained peers, and untrained peers with calibrated BatchNorm."""

from collections.abc import Callable, Sequence

from coordinator.measures.gains import Condition
from coordinator.planning.network import last_batches
from coordinator.planning.plan import Plan
from coordinator.planning.views import different_sensors
from coordinator.pools.base import Pool
from coordinator.records.recorder import Recorder
from coordinator.records.run_state import RunState
from coordinator.scheduling.probing import Probing, probe
from peers.probing.measuring import ProbeOutcome, ProbeSubject
from topologies.participation import last_rounds

CONDITIONS = (Condition.RAW_PIXELS, Condition.UNTRAINED, Condition.CALIBRATED)


class Controls:
    """Submits the control probes that have not been recorded yet, and records their results."""

    def __init__(self, plan: Plan, pool: Pool, recorder: Recorder) -> None:
        self._plan, self._pool, self._recorder = plan, pool, recorder
        self._pending: dict[Condition, Probing] = {}
        probed = recorder.probes.peers
        self._seen = [  # peers with the same sensors see the same raw pixels
            seen for seen in different_sensors(plan.config) if probed is None or not set(probed).isdisjoint(seen.peers)
        ]

    def missing(self) -> list[Condition]:
        """The conditions that have not been recorded yet."""
        return [condition for condition in CONDITIONS if not self._recorder.probes.has(condition)]

    def ask(self) -> None:
        """Submit the missing probes. Without evaluators, the peers on the hosts must be untrained."""
        missing = self.missing()
        tell = self._recorder.counting(sum(len(self._peers(condition)) for condition in missing))
        self._pending = {condition: self._probe(condition, tell) for condition in missing}

    def read(self, patient: bool = True) -> None:
        """Record the submitted probes. If not `patient`, skip those that have not finished."""
        for condition, probing in list(self._pending.items()):
            if patient or probing.done():
                outcomes = probing.get()
                of_peers = self._for_all(outcomes) if condition is Condition.RAW_PIXELS else None
                self._recorder.probed(outcomes, condition=condition, of_peers=of_peers)
                del self._pending[condition]

    def forget(self, condition: Condition | None = None) -> None:
        """Discard the submitted probes, or those of one condition: they are lost, or not wanted any more."""
        self._pending = {other: probing for other, probing in self._pending.items() if condition not in (None, other)}

    def _for_all(self, outcomes: list[ProbeOutcome]) -> list[ProbeOutcome]:
        """For each probed peer, the outcome of the first that has its sensors."""
        found = {peer: outcome for seen, outcome in zip(self._seen, outcomes, strict=True) for peer in seen.peers}
        probed = self._recorder.probes.peers
        return [found[peer] for peer in (range(len(found)) if probed is None else probed)]

    def _peers(self, condition: Condition) -> Sequence[int]:
        """The peers on which a condition is probed."""
        if condition is Condition.RAW_PIXELS:
            return [seen.first for seen in self._seen]
        return self._recorder.probes.probed(range(self._plan.config.peers.count))

    def _probe(self, condition: Condition, tell: Callable[[], None]) -> Probing:
        shown = condition is Condition.CALIBRATED
        rounds = calibration_rounds(self._plan, self._recorder.state) if shown else None
        return probe(self._pool, condition.subject, rounds, True, self._peers(condition), tell)


def probed_as(plan: Plan, state: RunState) -> tuple[ProbeSubject, dict[int, list[int]] | None]:
    """How trained peers are probed, those of control runs too, and the rounds whose batches they are shown for it.

    With `evaluation.buffers = "recalibrated"` every arm gets BatchNorm's buffers by the forward passes of the
    calibrated control, so that arms differ in weights alone.
    """
    if plan.config.evaluation.buffers == "as-is":
        return ProbeSubject.AS_IS, None
    return ProbeSubject.RECALIBRATED, calibration_rounds(plan, state)


def calibration_rounds(plan: Plan, state: RunState) -> dict[int, list[int]]:
    """For each peer, the rounds whose batches calibrate BatchNorm: the last ones in which it takes part.

    In a simulated network, these are the batches that it has seen last, of whatever rounds they are. state: says
    whether the run ends before its last planned round.
    """
    num_rounds, passes = state.last_round(plan.config.run.rounds), plan.config.evaluation.calibration_passes
    if plan.trace is not None and not plan.trace.plain:
        return dict(enumerate(last_batches(plan.trace, num_rounds, passes)))
    return dict(enumerate(last_rounds(plan.schedule, num_rounds, passes)))
