"""The controls before training: raw pixels, untrained peers, and untrained peers with calibrated BatchNorm."""

from coordinator.experiment.plan import Plan
from coordinator.measures.gains import Condition
from coordinator.pools.base import Pool
from coordinator.records.recorder import Recorder
from coordinator.scheduling.probing import Probing, probe
from topologies.participation import last_rounds

CONDITIONS = (Condition.RAW_PIXELS, Condition.UNTRAINED, Condition.CALIBRATED)


class Controls:
    """Submits the control probes that have not been recorded yet, and records their results."""

    def __init__(self, plan: Plan, pool: Pool, recorder: Recorder) -> None:
        self._plan, self._pool, self._recorder = plan, pool, recorder
        self._pending: dict[Condition, Probing] = {}

    def missing(self) -> list[Condition]:
        """The conditions that have not been recorded yet."""
        return [condition for condition in CONDITIONS if not self._recorder.probes.has(condition)]

    def ask(self) -> None:
        """Submit the missing probes. Without evaluators, the peers on the hosts must be untrained."""
        self._pending = {condition: self._probe(condition) for condition in self.missing()}

    def read(self, patient: bool = True) -> None:
        """Record the submitted probes. If not `patient`, skip those that have not finished."""
        for condition, probing in list(self._pending.items()):
            if patient or probing.done():
                copies = self._plan.config.peers.count if condition is Condition.RAW_PIXELS else 1
                self._recorder.probed(probing.get(), condition=condition, copies=copies)
                del self._pending[condition]

    def forget(self) -> None:
        """Discard the submitted probes, whose results are lost together with their hosts."""
        self._pending = {}

    def _probe(self, condition: Condition) -> Probing:
        if condition is Condition.RAW_PIXELS:
            return probe(self._pool, condition.subject, untrained=True, peers=(0,))
        if condition is Condition.UNTRAINED:
            return probe(self._pool, condition.subject, untrained=True)
        return probe(self._pool, condition.subject, calibration_rounds(self._plan), untrained=True)


def calibration_rounds(plan: Plan) -> dict[int, list[int]]:
    """For each peer, the rounds whose batches calibrate BatchNorm: the last ones in which it takes part."""
    config = plan.config
    return dict(enumerate(last_rounds(plan.schedule, config.run.rounds, config.evaluation.calibration_passes)))
