"""The conditions under which peers are probed, and the gain of one condition over another."""

import re
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from functools import cache
from typing import Literal, get_args

from coordinator.measures.verdict import Side, Verdict
from peers.learning.control import Control
from peers.probing.config import TOP1, ProbeName
from peers.probing.measuring import ProbeSubject

FOR_COMPARISON: tuple[ProbeName, ...] = ("sgd",)  # not standardised, so its result depends on the features' scale
Part = Literal["mean", "low", "high"]
_NAME_OF_GAIN = re.compile(r"(?:groups\.(?P<scope>.+?)\.)?probes\.(?P<probe>[^.]+)\..+")


class Condition(StrEnum):
    """What is probed. Values are the names in `summary.json`; their order is that of tables and figures."""

    RAW_PIXELS = "raw_pixels"
    UNTRAINED = "untrained"
    CALIBRATED = "calibrated"  # untrained weights, with BatchNorm buffers updated by forward passes
    TRAINED = "trained"
    RESET = "reset"  # trained weights, with BatchNorm buffers reset to their initial values
    RECALIBRATED = "recalibrated"  # trained weights, with BatchNorm buffers estimated anew by forward passes
    ALONE = "alone"  # this and the following are control runs: see `Control`
    ALONE_MATCHED = "alone_matched"
    STRANGER = "stranger"
    IRRELEVANT = "irrelevant"
    SHUFFLED = "shuffled"
    PRIVATE_ONLY = "private_only"
    SINGLE_TEACHER = "single_teacher"
    TRUTHFUL = "truthful"
    POOLED = "pooled"
    SUPERVISED = "supervised"

    @classmethod
    def of(cls, control: Control) -> "Condition":
        """The condition of peers that were trained in a control run."""
        return cls(control.replace("-", "_"))

    @property
    def control_run(self) -> Control | None:
        """The control run that trains peers to this condition; None for all others."""
        return next((control for control in Control if Condition.of(control) is self), None)

    def has(self, probe: ProbeName) -> bool:
        """Whether peers are probed so in this condition: raw pixels have no outputs of their own."""
        return probe != TOP1 or self is not Condition.RAW_PIXELS

    @property
    def subject(self) -> ProbeSubject:
        """The probe's subject, to be used on a peer in this condition."""
        subjects = {
            Condition.RAW_PIXELS: ProbeSubject.RAW_PIXELS,
            Condition.CALIBRATED: ProbeSubject.CALIBRATED,
            Condition.RESET: ProbeSubject.RESET,
            Condition.RECALIBRATED: ProbeSubject.RECALIBRATED,
        }
        return subjects.get(self, ProbeSubject.AS_IS)


@dataclass(frozen=True)
class _Comparison:
    key: str
    treated: Condition
    control: Condition
    above: Verdict
    neither: Verdict
    below: Verdict


class Gain(Enum):
    """A probe's accuracy under one condition minus that under another, with the possible verdicts."""

    OVER_CALIBRATED = _Comparison(
        "gain",
        Condition.TRAINED,
        Condition.CALIBRATED,
        Verdict.LEARNED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.DEGRADED,
    )
    OVER_ALONE = _Comparison(
        "over_alone",
        Condition.TRAINED,
        Condition.ALONE,
        Verdict.FUNCTION_TEACHES,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_ALONE_MATCHED = _Comparison(
        "over_alone_matched",
        Condition.TRAINED,
        Condition.ALONE_MATCHED,
        Verdict.FUNCTION_TEACHES,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_SHUFFLED = _Comparison(
        "over_shuffled",
        Condition.TRAINED,
        Condition.SHUFFLED,
        Verdict.CONTENT_MATTERS,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_STRANGER = _Comparison(
        "over_stranger",
        Condition.TRAINED,
        Condition.STRANGER,
        Verdict.EXPERIENCE_TEACHES,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_IRRELEVANT = _Comparison(
        "over_irrelevant",
        Condition.TRAINED,
        Condition.IRRELEVANT,
        Verdict.THESE_IMAGES_TEACH,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_PRIVATE_ONLY = _Comparison(
        "over_private_only",
        Condition.TRAINED,
        Condition.PRIVATE_ONLY,
        Verdict.EXCHANGE_ADDS,
        Verdict.NO_DIFFERENCE,
        Verdict.WORSE,
    )
    OVER_SINGLE_TEACHER = _Comparison(
        "over_single_teacher",
        Condition.TRAINED,
        Condition.SINGLE_TEACHER,
        Verdict.POOLING_HELPS,
        Verdict.NO_DIFFERENCE,
        Verdict.POOLING_HURTS,
    )
    OVER_TRUTHFUL = _Comparison(
        "over_truthful",
        Condition.TRAINED,
        Condition.TRUTHFUL,
        Verdict.ABOVE_TRUTHFUL,
        Verdict.NO_DIFFERENCE,
        Verdict.GAIN_LOST,
    )
    OVER_POOLED = _Comparison(
        "over_pooled",
        Condition.TRAINED,
        Condition.POOLED,
        Verdict.ABOVE_POOLED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.SHORT_OF_POOLED,
    )
    OVER_SUPERVISED = _Comparison(
        "over_supervised",
        Condition.TRAINED,
        Condition.SUPERVISED,
        Verdict.ABOVE_SUPERVISED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.BELOW_SUPERVISED,
    )
    OVER_UNTRAINED = _Comparison(
        "over_untrained",
        Condition.TRAINED,
        Condition.UNTRAINED,
        Verdict.ABOVE_UNTRAINED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.BELOW_UNTRAINED,
    )
    OVER_RESET = _Comparison(
        "over_reset",
        Condition.TRAINED,
        Condition.RESET,
        Verdict.ABOVE_RESET,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.BELOW_RESET,
    )
    RECALIBRATED_OVER_CALIBRATED = _Comparison(
        "recalibrated_over_calibrated",
        Condition.RECALIBRATED,
        Condition.CALIBRATED,
        Verdict.LEARNED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.DEGRADED,
    )
    RESET_OVER_UNTRAINED = _Comparison(
        "reset_over_untrained",
        Condition.RESET,
        Condition.UNTRAINED,
        Verdict.ABOVE_UNTRAINED,
        Verdict.NOT_DISTINGUISHABLE,
        Verdict.BELOW_UNTRAINED,
    )

    @property
    def key(self) -> str:
        """The name of the gain in `summary.json`."""
        return self.value.key

    @property
    def treated(self) -> Condition:
        return self.value.treated

    @property
    def control(self) -> Condition:
        return self.value.control

    @property
    def needs(self) -> set[Condition]:
        return {self.treated, self.control}

    def on(self, side: Side) -> Verdict:
        """The verdict for a gain on this side of 0."""
        return {Side.ABOVE: self.value.above, Side.NEITHER: self.value.neither, Side.BELOW: self.value.below}[side]

    @property
    def is_over_control_run(self) -> bool:
        """Whether it compares the run with one of its control runs."""
        return self.control.control_run is not None

    @property
    def is_of_training(self) -> bool:
        """Whether it is of the whole training: over calibrated networks, or over peers of a control run."""
        return self is Gain.OVER_CALIBRATED or self.is_over_control_run

    @property
    def is_of_upper_mark(self) -> bool:
        """Whether the control has what no peer has, such as labels: being below it is normal, and no finding."""
        return self in (Gain.OVER_SUPERVISED, Gain.OVER_POOLED)

    def conclude(self, side: Side, learned: Verdict | None) -> Verdict:
        """The verdict for a gain on this side of 0. learned: the same probe's verdict over calibrated; None: unknown.

        Peers above a control run show what the exchange teaches only if they have learned: the control may have lost.
        """
        if side is Side.ABOVE and self.is_over_control_run and not self.is_of_upper_mark:
            if learned is Verdict.DEGRADED:
                return Verdict.LESS_HARM
            if learned is not Verdict.LEARNED:
                return Verdict.ABOVE_CONTROL
        return self.on(side)


@dataclass(frozen=True)
class GainMeasure:
    """One number of a probe's gain in `summary.json`, such as `probes.knn.over_alone.mean`.

    scope: whose gain it is, as `subjects.Scope.name`, such as the group in `groups.chroma.probes.knn.gain`; empty: of
    all honest students.
    """

    probe: str
    gain: Gain
    part: Part = "mean"
    scope: str = ""

    @property
    def name(self) -> str:
        end = "" if self.gain is Gain.OVER_CALIBRATED else f".{self.part}"
        whose = f"groups.{self.scope}." if self.scope else ""
        return f"{whose}probes.{self.probe}.{self.gain.key}{end}"

    @classmethod
    def of(cls, probe: str, gain: Gain, scope: str = "") -> "list[GainMeasure]":
        """All numbers of one gain; over calibrated networks only the mean, since the interval is a separate list."""
        parts: tuple[Part, ...] = get_args(Part)
        return [cls(probe, gain, part, scope) for part in (parts[:1] if gain is Gain.OVER_CALIBRATED else parts)]

    @classmethod
    @cache  # a comparison asks for the same few names again and again
    def parse(cls, name: str) -> "GainMeasure | None":
        """Parse a dotted name; None if it is not the name of a gain."""
        found = _NAME_OF_GAIN.fullmatch(name)
        if found is None:
            return None
        probe, scope = found["probe"], found["scope"] or ""
        return next((number for gain in Gain for number in cls.of(probe, gain, scope) if number.name == name), None)

    def over(self, gain: Gain) -> "GainMeasure":
        """The mean of another gain of the same probe and the same peers."""
        return replace(self, gain=gain, part="mean")

    @property
    def claims(self) -> bool:
        """Whether it is tested over seeds: a mean gain of a probe that is not only for comparison.

        The gains over upper marks are not; see `Gain.is_of_upper_mark`.
        """
        return self.part == "mean" and self.probe not in FOR_COMPARISON and not self.gain.is_of_upper_mark
