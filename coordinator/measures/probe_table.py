"""Did the peers learn? Probes of trained peers compared with those of the controls, with intervals and verdicts."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Bool

from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain
from coordinator.measures.verdict import Interval, Verdict, artefact, gain_interval
from peers.probing.config import ProbeName
from peers.probing.measuring import ProbeOutcome

CorrectAnswers = Bool[np.ndarray, "peers test"]


class ProbeTable:
    """For each probe and condition, which test images each peer classifies correctly."""

    def __init__(self, probes: tuple[ProbeName, ...]) -> None:
        self.probes = probes
        self.correct: dict[tuple[ProbeName, Condition], CorrectAnswers] = {}

    def add(self, condition: Condition, outcomes: list[ProbeOutcome]) -> None:
        for name in self.probes:
            self.correct[name, condition] = np.stack([outcome.correct[name] for outcome in outcomes])

    def has(self, condition: Condition) -> bool:
        """Whether the table has all probes of a condition."""
        return all((name, condition) in self.correct for name in self.probes)

    def keep(self, conditions: Collection[Condition]) -> None:
        """Remove all other conditions."""
        self.correct = {key: correct for key, correct in self.correct.items() if key[1] in conditions}

    def to_bytes(self) -> bytes:
        """Serialise the table as safetensors; see `from_bytes`."""
        arrays = {f"{name}.{condition}": correct for (name, condition), correct in self.correct.items()}
        return bytes(safetensors.numpy.save(arrays))

    @classmethod
    def from_bytes(cls, content: bytes, probes: tuple[ProbeName, ...]) -> "ProbeTable":
        """Deserialise the result of `to_bytes`. Raises: ValueError."""
        table = cls(probes)
        try:
            arrays = safetensors.numpy.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"the probes cannot be read: {error}") from None
        for key, correct in arrays.items():
            name, condition = key.split(".")
            table.correct[cast(ProbeName, name), Condition(condition)] = correct.astype(np.bool_)
        return table

    def summary(self, students: list[int], void: Collection[Condition] = ()) -> dict[str, Any]:
        """Mean accuracies over `students`, and the gain of the trained peers over every control that was run.

        `peers` contains each student's own gain over the calibrated control and over the control runs. void: control
        runs that did nothing, so that there is no verdict from them.
        """
        return {name: self._summary_of_probe(name, students, void) for name in self.probes}

    def artefacts(self, students: list[int]) -> list[ProbeName]:
        """Probes whose gain over untrained peers is an artefact of BatchNorm: it vanishes over calibrated peers."""
        return [
            name
            for name in self.probes
            if students
            and (name, Condition.TRAINED) in self.correct
            and artefact(
                self._gain(name, Gain.OVER_UNTRAINED, students), self._gain(name, Gain.OVER_CALIBRATED, students)
            )
        ]

    def _summary_of_probe(self, name: ProbeName, students: list[int], void: Collection[Condition]) -> dict[str, Any]:
        known = [condition for condition in Condition if (name, condition) in self.correct]
        table: dict[str, Any] = {}
        if students:
            table = {condition.value: float(self.correct[name, condition][students].mean()) for condition in known}
        if Condition.TRAINED not in table:
            return table
        gains = {gain: self._gain(name, gain, students) for gain in Gain if gain.needs <= set(known)}
        over_calibrated = gains.pop(Gain.OVER_CALIBRATED)
        table |= {"gain": over_calibrated.mean, "interval": [over_calibrated.low, over_calibrated.high]}
        table |= {gain.key: asdict(interval) for gain, interval in gains.items()}
        table["peers"] = {"peer": students} | {
            gain.key: self._gains(name, gain, students)
            for gain in Gain
            if gain.needs <= set(known) and (gain is Gain.OVER_CALIBRATED or gain.is_over_control_run)
        }
        if name not in FOR_COMPARISON:
            table["verdict"] = Gain.OVER_CALIBRATED.verdict(over_calibrated)
            compared = {gain: interval for gain, interval in gains.items() if gain.is_over_control_run}
            if compared:
                table["controls"] = {
                    gain.control.value: Verdict.NONE if gain.control in void else gain.verdict(interval)
                    for gain, interval in compared.items()
                }
        return table

    def _gain(self, name: ProbeName, gain: Gain, students: list[int]) -> Interval:
        return gain_interval(self.correct[name, gain.treated][students], self.correct[name, gain.control][students])

    def _gains(self, name: ProbeName, gain: Gain, students: list[int]) -> list[float]:
        treated, control = self.correct[name, gain.treated][students], self.correct[name, gain.control][students]
        return [float(mean) for mean in treated.mean(axis=1) - control.mean(axis=1)]
