"""The conditions in which peers are probed, and the gains of one condition over another."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Literal, get_args

from coordinator.measures.verdict import Interval, Side, Verdict
from peers.probing.config import ProbeName
from peers.probing.measuring import ProbeSubject

FOR_COMPARISON: tuple[ProbeName, ...] = ("sgd",)  # not standardised, so its result depends on the features' scale
Part = Literal["mean", "low", "high"]


class Condition(StrEnum):
    """What is probed; the names are those of `summary.json`, in the order of tables and pictures."""

    RAW_PIXELS = "raw_pixels"
    UNTRAINED = "untrained"
    CALIBRATED = "calibrated"  # untrained weights, BatchNorm's buffers after forward passes
    TRAINED = "trained"
    RESET = "reset"  # the trained weights with BatchNorm's buffers as at the start
    ALONE = "alone"  # trained in the same rounds with every peer its own teacher

    @property
    def subject(self) -> ProbeSubject:
        """What a peer that is in this condition's state is asked to probe."""
        subjects = {
            Condition.RAW_PIXELS: ProbeSubject.RAW_PIXELS,
            Condition.CALIBRATED: ProbeSubject.CALIBRATED,
            Condition.RESET: ProbeSubject.RESET,
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
    """A probe's accuracy in one condition less that in another, and the verdicts that it may lead to."""

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
        Verdict.EXCHANGE_HELPS,
        Verdict.NO_DIFFERENCE,
        Verdict.EXCHANGE_HURTS,
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
        """In a probe's table of `summary.json`."""
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
        """The verdict where the gain is on that side of 0."""
        return {Side.ABOVE: self.value.above, Side.NEITHER: self.value.neither, Side.BELOW: self.value.below}[side]

    def verdict(self, interval: Interval) -> Verdict:
        """What one run shows: which side of 0 the whole interval is on."""
        return self.on(interval.side)


@dataclass(frozen=True)
class GainMeasure:
    """A number of a probe's gain in `summary.json`, by its dotted name, such as `probes.knn.over_alone.mean`."""

    probe: str
    gain: Gain
    part: Part = "mean"

    @property
    def name(self) -> str:
        end = "" if self.gain is Gain.OVER_CALIBRATED else f".{self.part}"
        return f"probes.{self.probe}.{self.gain.key}{end}"

    @classmethod
    def of(cls, probe: str, gain: Gain) -> "list[GainMeasure]":
        """All numbers of one gain; that over calibrated networks has its interval beside it in a list."""
        parts: tuple[Part, ...] = get_args(Part)
        return [cls(probe, gain, part) for part in (parts[:1] if gain is Gain.OVER_CALIBRATED else parts)]

    @classmethod
    def parse(cls, name: str) -> "GainMeasure | None":
        """None for the name of any other number."""
        section, _, rest = name.partition(".")
        probe = rest.partition(".")[0]
        if section != "probes":
            return None
        return next((number for gain in Gain for number in cls.of(probe, gain) if number.name == name), None)

    @property
    def claims(self) -> bool:
        """Whether a verdict may rest on it: the mean gain of a probe that is not for comparison only."""
        return self.part == "mean" and self.probe not in FOR_COMPARISON
