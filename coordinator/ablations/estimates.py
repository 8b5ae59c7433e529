"""The comparison of an ablation's cells over seeds: estimates, tests against 0, differences from a reference, flags."""

from dataclasses import dataclass
from enum import Enum, auto

from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Side, Verdict

LEVEL = 0.05


class Outcome(Enum):
    """The result of testing a difference."""

    UNTESTED = auto()  # too few seeds, or the same non-zero difference with every seed
    EQUAL = auto()  # 0 with every seed
    NOT_FOUND = auto()
    ABOVE = auto()
    BELOW = auto()


@dataclass(frozen=True)
class Difference:
    """The difference of a cell's measure from the reference's, paired by seed; `p_holm` is None without a test."""

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
    """Estimates of every cell's measures over seeds, their tests, and their differences from the reference.

    `estimates` and `p_holm` are keyed by (cell, measure). Holm's method corrects two separate families: the tests of a
    gain against 0 (`p_holm`), and the differences. Intervals are not corrected. A value that is exactly 0 with every
    seed, such as the gain of a cell over itself, has p = 1 and is not counted in either family.

    Gains over other controls (`over_...`) have no differences: between cells with the same controls, they differ
    exactly as `gain` does, and one hypothesis should not be tested twice.

    finished: by cell, the number of finished seeds. flags: by cell, the number of these runs that raised each flag.
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
        """The number of tests of a gain against 0."""
        return sum(self.estimates[key].varies for key in self.p_holm)

    @property
    def num_differences(self) -> int:
        """The number of tests of a difference."""
        return sum(difference.estimate.varies for difference in self.differences)

    @property
    def measures_with_differences(self) -> tuple[str, ...]:
        return tuple(measure for measure in self.measures if self.differences_in(measure))

    def differences_in(self, measure: str) -> list[Difference]:
        """The differences in one measure, one per cell other than the reference."""
        return [difference for difference in self.differences if difference.measure == measure]

    def verdict(self, cell: str, measure: str) -> Verdict | None:
        """The verdict on a gain after Holm's correction; None for other measures and for fewer than 2 seeds.

        A gain over a control run becomes "less harm" if the same probe shows that the networks got worse by training.
        """
        p, number = self.p_holm.get((cell, measure)), GainMeasure.parse(measure)
        if p is None or number is None:
            return None
        found = number.gain.on(self._side(cell, measure, p))
        if number.gain.is_over_control_run and self._side(cell, measure, p) is Side.ABOVE:
            over_calibrated = GainMeasure(number.probe, Gain.OVER_CALIBRATED).name
            if self.verdict(cell, over_calibrated) is Verdict.DEGRADED:
                return Verdict.LESS_HARM
        return found

    def beats_both(self, cell: str, probe: str) -> bool | None:
        """Whether a probe gains over both calibrated networks and peers alone; None if one was not measured."""
        names = [GainMeasure(probe, gain).name for gain in (Gain.OVER_CALIBRATED, Gain.OVER_ALONE)]
        if not {*names} <= {*self.measures}:
            return None
        verdicts = [self.verdict(cell, name) for name in names]
        return verdicts == [Verdict.LEARNED, Verdict.FUNCTION_TEACHES]

    def _side(self, cell: str, measure: str, p: float) -> Side:
        if p >= LEVEL:
            return Side.NEITHER
        return Side.BELOW if self.estimates[cell, measure].mean < 0 else Side.ABOVE
