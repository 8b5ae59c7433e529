"""Did they learn? The probes of the trained peers beside those of their controls, with intervals and verdicts."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Literal, cast

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Bool

from coordinator.measures.verdict import Interval, artefact, exchange_verdict, gain_interval, verdict
from peers.probing.measuring import ProbeName, ProbeOutcome

Condition = Literal["raw_pixels", "untrained", "calibrated", "trained", "reset", "alone"]
CONDITIONS: dict[Condition, str] = {  # as tables and pictures call them, in their order
    "raw_pixels": "pixels",
    "untrained": "untrained",
    "calibrated": "calibrated",
    "trained": "trained",
    "reset": "reset",  # the trained weights with BatchNorm's buffers as at the start
    "alone": "alone",
}
Correct = Bool[np.ndarray, "peers test"]
FOR_COMPARISON: tuple[ProbeName, ...] = ("sgd",)  # not standardised, so its result depends on the features' scale


class ProbeTable:
    """Per probe and condition, which test images each peer gets right."""

    def __init__(self, probes: tuple[ProbeName, ...]) -> None:
        self.probes = probes
        self.correct: dict[tuple[ProbeName, Condition], Correct] = {}

    def add(self, condition: Condition, outcomes: list[ProbeOutcome]) -> None:
        for name in self.probes:
            self.correct[name, condition] = np.stack([each.correct[name] for each in outcomes])

    def has(self, condition: Condition) -> bool:
        """Whether all probes of a condition are there."""
        return all((name, condition) in self.correct for name in self.probes)

    def keep(self, conditions: Collection[Condition]) -> None:
        """Drop all other conditions."""
        self.correct = {key: each for key, each in self.correct.items() if key[1] in conditions}

    def to_bytes(self) -> bytes:
        """The table as safetensors, for `from_bytes`."""
        arrays = {f"{name}.{condition}": each for (name, condition), each in self.correct.items()}
        return bytes(safetensors.numpy.save(arrays))

    @classmethod
    def from_bytes(cls, content: bytes, probes: tuple[ProbeName, ...]) -> "ProbeTable":
        """The table that `to_bytes` was called on. Raises: ValueError."""
        table = cls(probes)
        try:
            arrays = safetensors.numpy.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"the probes cannot be read: {error}") from None
        for key, correct in arrays.items():
            name, condition = key.split(".")
            table.correct[cast(ProbeName, name), cast(Condition, condition)] = correct.astype(np.bool_)
        return table

    def summary(self, students: list[int]) -> dict[str, Any]:
        """Accuracies as means over `students`, and the gain of the trained over every control that was run.

        `peers` has each student's own gain over calibrated and, where that was run, over alone.
        """
        return {name: self._one(name, students) for name in self.probes}

    def artefacts(self, students: list[int]) -> list[ProbeName]:
        """Probes that gained over the untrained peers, but not over the calibrated ones."""
        return [
            name
            for name in self.probes
            if students
            and (name, "trained") in self.correct
            and artefact(self._gain(name, "untrained", students), self._gain(name, "calibrated", students))
        ]

    def _one(self, name: ProbeName, students: list[int]) -> dict[str, Any]:
        known = [condition for condition in CONDITIONS if (name, condition) in self.correct]
        table: dict[str, Any] = {c: float(self.correct[name, c][students].mean()) for c in known} if students else {}
        if "trained" not in table:
            return table
        gain = self._gain(name, "calibrated", students)
        table |= {"gain": gain.mean, "interval": [gain.low, gain.high]}
        if name not in FOR_COMPARISON:
            table["verdict"] = verdict(gain)
        table["over_untrained"] = asdict(self._gain(name, "untrained", students))
        if "reset" in table:
            table["over_reset"] = asdict(self._gain(name, "reset", students))
            table["reset_over_untrained"] = asdict(self._gain(name, "untrained", students, treated="reset"))
        table["peers"] = {"peer": students, "gain": self._gains(name, "calibrated", students)}
        if "alone" in table:
            table["peers"]["over_alone"] = self._gains(name, "alone", students)
            over_alone = self._gain(name, "alone", students)
            table["over_alone"] = asdict(over_alone)
            if name not in FOR_COMPARISON:
                table["exchange"] = exchange_verdict(over_alone)
        return table

    def _gain(
        self, name: ProbeName, control: Condition, students: list[int], treated: Condition = "trained"
    ) -> Interval:
        return gain_interval(self.correct[name, treated][students], self.correct[name, control][students])

    def _gains(self, name: ProbeName, control: Condition, students: list[int]) -> list[float]:
        trained, untreated = self.correct[name, "trained"][students], self.correct[name, control][students]
        return [float(gain) for gain in trained.mean(axis=1) - untreated.mean(axis=1)]
