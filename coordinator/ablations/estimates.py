"""What the cells of an ablation show over seeds: estimates, claims against 0, differences from a reference, flags."""

from dataclasses import dataclass
from enum import Enum, auto

from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Side, Verdict

LEVEL = 0.05


class Outcome(Enum):
    """What the test of a difference found."""

    UNTESTED = auto()  # too few seeds, or the same difference other than 0 with every seed
    EQUAL = auto()  # 0 with every seed
    NOT_FOUND = auto()
    ABOVE = auto()
    BELOW = auto()


@dataclass(frozen=True)
class Difference:
    """How far a cell's measure is from the reference's, paired by seed; `p_holm` is None without a test."""

    cell: str
    reference: str
    measure: str
    estimate: Estimate
    p_holm: float | None

    @property
    def outcome(self) -> Outcome:
        if self.p_holm is None:
            return Outcome.UNTESTED
        if not self.estimate.varies:
            return Outcome.EQUAL
        if self.p_holm >= LEVEL:
            return Outcome.NOT_FOUND
        return Outcome.ABOVE if self.estimate.mean > 0 else Outcome.BELOW


@dataclass(frozen=True)
class Comparison:
    """Every cell's measures over seeds, what they show, and how they differ from the reference's.

    `estimates` and `p_holm` have (cell, measure) as keys. Holm's method corrects two families, each as a whole:
    the tests of a gain against 0 (`p_holm`), and the differences. Intervals are not corrected. What is exactly 0 with
    every seed, such as what a cell's gain over itself would be, has a p of 1 and is no test of either family.

    The measures of a gain over another control (`over_...`) have no differences: cells that share their controls differ
    in them as they differ in `gain`, and one hypothesis is not tested twice.

    finished: how many seeds of a cell are in it. flags: by cell, how many of these a run's warning was raised with.
    """

    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    measures: tuple[str, ...]
    estimates: dict[tuple[str, str], Estimate]
    p_holm: dict[tuple[str, str], float]
    differences: tuple[Difference, ...]
    words: tuple[str, ...]
    finished: dict[str, int]
    flags: dict[str, dict[str, int]]

    @property
    def num_claims(self) -> int:
        """The tests of a gain."""
        return sum(self.estimates[key].varies for key in self.p_holm)

    @property
    def num_differences(self) -> int:
        """The tests of a difference."""
        return sum(difference.estimate.varies for difference in self.differences)

    @property
    def measures_with_differences(self) -> tuple[str, ...]:
        return tuple(measure for measure in self.measures if self.differences_in(measure))

    def differences_in(self, measure: str) -> list[Difference]:
        """One per cell other than the reference."""
        return [difference for difference in self.differences if difference.measure == measure]

    def verdict(self, cell: str, measure: str) -> Verdict | None:
        """What a gain shows over seeds, corrected; None for other measures and fewer than 2 seeds.

        An exchange does not help where the same probe shows that the networks are worse for it.
        """
        p, number = self.p_holm.get((cell, measure)), GainMeasure.parse(measure)
        if p is None or number is None:
            return None
        found = number.gain.on(self._side(cell, measure, p))
        if found is Verdict.EXCHANGE_HELPS:
            over_calibrated = GainMeasure(number.probe, Gain.OVER_CALIBRATED).name
            if self.verdict(cell, over_calibrated) is Verdict.DEGRADED:
                return Verdict.EXCHANGE_HURTS_LESS
        return found

    def beats_both(self, cell: str, probe: str) -> bool | None:
        """Whether a probe gains over calibrated networks and over peers alone; None where one was not measured."""
        names = [GainMeasure(probe, gain).name for gain in (Gain.OVER_CALIBRATED, Gain.OVER_ALONE)]
        if not {*names} <= {*self.measures}:
            return None
        verdicts = [self.verdict(cell, name) for name in names]
        return verdicts == [Verdict.LEARNED, Verdict.EXCHANGE_HELPS]

    def _side(self, cell: str, measure: str, p: float) -> Side:
        if p >= LEVEL:
            return Side.NEITHER
        return Side.BELOW if self.estimates[cell, measure].mean < 0 else Side.ABOVE
