"""The controls before training: raw pixels, untrained peers, and untrained peers with calibrated BatchNorm."""

from coordinator.experiment.plan import Plan
from coordinator.measures.gains import Condition
from coordinator.pools.base import Pool
from coordinator.records.recorder import Recorder
from coordinator.scheduling.assignments import last_rounds
from coordinator.scheduling.probing import Probing, probe

CONDITIONS = (Condition.RAW_PIXELS, Condition.UNTRAINED, Condition.CALIBRATED)


class Controls:
    """Asks for the probes that are missing, and records them once they are there."""

    def __init__(self, plan: Plan, pool: Pool, recorder: Recorder) -> None:
        self._plan, self._pool, self._recorder = plan, pool, recorder
        self._asked: dict[Condition, Probing] = {}

    def missing(self) -> list[Condition]:
        """Those that are not recorded."""
        return [each for each in CONDITIONS if not self._recorder.probes.has(each)]

    def ask(self) -> None:
        """Submit the probes of what is missing; the hosts' peers must be untrained, unless there are evaluators."""
        self._asked = {condition: self._probe(condition) for condition in self.missing()}

    def read(self, patient: bool = True) -> None:
        """Record what was asked for; without patience only what is there already."""
        for condition, asked in list(self._asked.items()):
            if patient or asked.done():
                copies = self._plan.config.peers.count if condition is Condition.RAW_PIXELS else 1
                self._recorder.probed(asked.get(), condition=condition, copies=copies)
                del self._asked[condition]

    def forget(self) -> None:
        """What was asked for will not come: hosts were lost."""
        self._asked = {}

    def _probe(self, condition: Condition) -> Probing:
        if condition is Condition.RAW_PIXELS:
            return probe(self._pool, condition.subject, untrained=True, peers=(0,))
        if condition is Condition.UNTRAINED:
            return probe(self._pool, condition.subject, untrained=True)
        config = self._plan.config
        rounds = last_rounds(self._plan.schedule, config.run.rounds, config.evaluation.calibration_passes)
        return probe(self._pool, condition.subject, dict(enumerate(rounds)), untrained=True)
