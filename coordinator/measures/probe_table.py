"""Did the peers learn? Probes of trained peers compared with those of the controls, with intervals and verdicts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Bool

from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain
from coordinator.measures.verdict import Interval, Verdict, artefact, gain_interval, over_images
from peers.probing.config import TOP1, ProbeName
from peers.probing.measuring import ClassProbabilities, ProbeOutcome

CorrectAnswers = Bool[np.ndarray, "peers test"]
_OUTPUTS, _LABELS, _PEERS = "outputs", "labels", "peers"  # names in a serialised table, beside those of the probes


class ProbeTable:
    """For each probe and condition, which test images each probed peer classifies correctly.

    probes: those of the run's own peers. A control run whose peers learn from labels has `top1` in any case.
    peers: those that are probed, in the order of the rows; None: all. probabilities: the probed peers' outputs, in the
    conditions that have `top1`. What is asked of some peers is told of those of them that are probed.
    """

    def __init__(self, probes: tuple[ProbeName, ...], peers: Sequence[int] | None = None) -> None:
        self.probes = probes
        self.look_at(peers)
        self.correct: dict[tuple[ProbeName, Condition], CorrectAnswers] = {}
        self.probabilities: dict[Condition, ClassProbabilities] = {}

    def look_at(self, peers: Sequence[int] | None) -> None:
        """Set whose rows the table has; None: of all peers."""
        self.peers = None if peers is None else tuple(peers)
        self._row_of = {} if peers is None else {peer: row for row, peer in enumerate(peers)}

    def begin(self, peers: Sequence[int] | None) -> tuple[int, ...] | None:
        """Look at these peers, unless the table has rows already; returns whom it looks at."""
        if not self.correct:
            self.look_at(peers)
        return self.peers

    def probed(self, peers: Sequence[int]) -> list[int]:
        """Those of some peers that are probed, in their order."""
        return [peer for peer in peers if self.peers is None or peer in self._row_of]

    def rows(self, peers: Sequence[int]) -> list[int]:
        """The rows of those of some peers that are probed, in their order."""
        return list(peers) if self.peers is None else [self._row_of[peer] for peer in self.probed(peers)]

    def add(self, condition: Condition, outcomes: list[ProbeOutcome]) -> None:
        for name in outcomes[0].correct:
            self.correct[name, condition] = np.stack([outcome.correct[name] for outcome in outcomes])
        probabilities = [outcome.probabilities for outcome in outcomes if outcome.probabilities is not None]
        if probabilities:
            self.probabilities[condition] = ClassProbabilities.stack(probabilities)

    def has(self, condition: Condition) -> bool:
        """Whether the table has all probes of a condition."""
        return all((name, condition) in self.correct for name in self.probes if condition.has(name))

    def keep(self, conditions: Collection[Condition]) -> None:
        """Remove all other conditions."""
        self.correct = {key: correct for key, correct in self.correct.items() if key[1] in conditions}
        self.probabilities = {key: values for key, values in self.probabilities.items() if key in conditions}

    def forget(self, condition: Condition) -> None:
        """Remove a condition."""
        self.keep([other for other in Condition if other is not condition])

    def mean_gain(self, name: ProbeName, accuracies: Sequence[float], students: list[int]) -> float:
        """The students' mean accuracy less that of their calibrated selves. accuracies: of all probed peers, in order.

        Some student must be probed.
        """
        rows = self.rows(students)
        calibrated = self.correct[name, Condition.CALIBRATED][rows].mean(axis=1)
        return float((np.array(accuracies)[rows] - calibrated).mean())

    def to_bytes(self) -> bytes:
        """Serialise the table as safetensors; see `from_bytes`."""
        arrays: dict[str, np.ndarray[Any, Any]] = {
            f"{name}.{condition}": correct for (name, condition), correct in self.correct.items()
        }
        arrays |= {} if self.peers is None else {_PEERS: np.array(self.peers)}
        for condition, probabilities in self.probabilities.items():
            arrays |= {f"{_OUTPUTS}.{condition}": probabilities.values, f"{_LABELS}.{condition}": probabilities.labels}
        return bytes(safetensors.numpy.save(arrays))

    @classmethod
    def from_bytes(cls, content: bytes, probes: tuple[ProbeName, ...]) -> "ProbeTable":
        """Deserialise the result of `to_bytes`; older tables are of all peers. Raises: ValueError."""
        table = cls(probes)
        try:
            arrays = safetensors.numpy.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"the probes cannot be read: {error}") from None
        if _PEERS in arrays:
            table.look_at(arrays.pop(_PEERS).tolist())
        for key, array in arrays.items():
            name, condition = key.split(".")
            if name == _OUTPUTS:
                table.probabilities[Condition(condition)] = ClassProbabilities(array, arrays[f"{_LABELS}.{condition}"])
            elif name != _LABELS:
                table.correct[cast(ProbeName, name), Condition(condition)] = array.astype(np.bool_)
        return table

    def summary(self, students: list[int], void: Collection[Condition] = ()) -> dict[str, Any]:
        """Mean accuracies over `students`, and the gain of the trained peers over every control that was run.

        All is of the students that are probed. `peers` contains each one's own gain over the calibrated control and
        over the control runs. void: control runs that did nothing, so that there is no verdict from them. `ensemble`:
        the accuracy of the mean of the students' distributions, by condition.
        """
        names, students = dict.fromkeys((*self.probes, *(name for name, _ in self.correct))), self.probed(students)
        return {name: self._summary_of_probe(name, students, void) for name in names}

    def artefacts(self, students: list[int]) -> list[ProbeName]:
        """Probes whose gain over untrained peers is an artefact of BatchNorm: it vanishes over calibrated peers."""
        students = self.probed(students)
        return [name for name in self.probes if students and self._is_artefact(name, students)]

    def _of(self, name: ProbeName, condition: Condition, students: list[int]) -> CorrectAnswers:
        """The answers of students, which are all probed."""
        found: CorrectAnswers = self.correct[name, condition][self.rows(students)]
        return found

    def _is_artefact(self, name: ProbeName, students: list[int]) -> bool:
        if (name, Condition.TRAINED) not in self.correct:
            return False
        trained, untrained = (self._of(name, each, students) for each in (Condition.TRAINED, Condition.UNTRAINED))
        return artefact(over_images(trained, untrained), self._gain(name, Gain.OVER_CALIBRATED, students))

    def _summary_of_probe(self, name: ProbeName, students: list[int], void: Collection[Condition]) -> dict[str, Any]:
        known = [condition for condition in Condition if (name, condition) in self.correct]
        table: dict[str, Any] = {}
        if students:
            table = {condition.value: float(self._of(name, condition, students).mean()) for condition in known}
        if students and name == TOP1:
            table["ensemble"] = {
                condition.value: float(self.probabilities[condition].ensemble(self.rows(students)).correct.mean())
                for condition in known
            }
        if Condition.TRAINED not in table:
            return table
        gains = {gain: self._gain(name, gain, students) for gain in Gain if gain.needs <= set(known)}
        over_calibrated = gains.pop(Gain.OVER_CALIBRATED)
        table |= {"gain": over_calibrated.mean, "interval": [over_calibrated.low, over_calibrated.high]}
        table |= {gain.key: asdict(interval) for gain, interval in gains.items()}
        table["peers"] = {"peer": students} | {
            gain.key: self._gains(name, gain, students)
            for gain in Gain
            if gain.needs <= set(known) and gain.is_of_training
        }
        if name not in FOR_COMPARISON:
            learned = Gain.OVER_CALIBRATED.on(over_calibrated.side)
            table["verdict"] = learned.of_this_run()
            table |= _verdicts_on_controls(gains, learned, void)
        return table

    def _gain(self, name: ProbeName, gain: Gain, students: list[int]) -> Interval:
        treated, control = (self._of(name, each, students) for each in (gain.treated, gain.control))
        known = (name, Condition.UNTRAINED) in self.correct
        return gain_interval(treated, control, self._of(name, Condition.UNTRAINED, students) if known else control)

    def _gains(self, name: ProbeName, gain: Gain, students: list[int]) -> list[float]:
        treated, control = (self._of(name, each, students) for each in (gain.treated, gain.control))
        return [float(mean) for mean in treated.mean(axis=1) - control.mean(axis=1)]


def _verdicts_on_controls(
    gains: Mapping[Gain, Interval], learned: Verdict, void: Collection[Condition]
) -> dict[str, dict[str, str]]:
    """The verdict over each control run, as the entry `controls` of a probe; {} if there was none.

    void: control runs that did nothing or diverged; the latter have no gains.
    """
    verdicts = {
        gain.control: gain.conclude(interval.side, learned).of_this_run()
        for gain, interval in gains.items()
        if gain.is_over_control_run
    }
    verdicts |= dict.fromkeys(void, str(Verdict.NONE))
    ordered = {condition.value: verdicts[condition] for condition in Condition if condition in verdicts}
    return {"controls": ordered} if ordered else {}
