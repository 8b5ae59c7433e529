"""The comparison of an ablation's cells over seeds: estimates, tests against 0, differences from a reference, flags."""

from dataclasses import dataclass, field
from enum import Enum, auto

from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate
from coordinator.measures.verdict import Side, Verdict

LEVEL = 0.05
CONTROLS_OF_EXCHANGE = (
    Gain.OVER_CALIBRATED,
    Gain.OVER_ALONE,
    Gain.OVER_ALONE_MATCHED,
    Gain.OVER_SHUFFLED,
    Gain.OVER_STRANGER,
    Gain.OVER_IRRELEVANT,
    Gain.OVER_PRIVATE_ONLY,
)


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
class Missed:
    """A target that some seeds of a cell had not reached when they ended. low, high: of what it cost the others."""

    seeds: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Estimates of every cell's measures over seeds, their tests, and their differences from the reference.

    `estimates` and `p_holm` are keyed by (cell, measure). Holm's method corrects two separate families: the tests of a
    gain against 0 (`p_holm`), and the differences. Intervals are not corrected. A value that is exactly 0 with every
    seed, such as the gain of a cell over itself, has p = 1 and is not counted in either family.

    Gains over other controls (`over_...`) have no differences: between cells with the same controls, they differ
    exactly as `gain` does, and one hypothesis should not be tested twice.

    finished: by cell, the number of finished seeds. flags: by cell, the number of these runs that raised each flag.
    void: by (cell, measure), why there is no verdict from a control run that did nothing, or diverged, in some seed;
    such a gain is not tested. missed: by (cell, measure), the targets that some seed did not reach: the mean over the
    others would be too good, so there is none, and no difference. apart: cells that are not compared with the
    reference, because other peers lie in them, and means are over the honest. headline: what it comes to, in a few
    sentences. words: caveats, weightiest first.
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
    void: dict[tuple[str, str], str]
    headline: tuple[str, ...] = ()
    missed: dict[tuple[str, str], Missed] = field(default_factory=dict)
    apart: tuple[str, ...] = ()

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

        There is none from a void control; see `Gain.conclude` on gains over control runs.
        """
        if (cell, measure) in self.void:
            return Verdict.NONE
        p, number = self.p_holm.get((cell, measure)), GainMeasure.parse(measure)
        if p is None or number is None:
            return None
        if not number.gain.is_over_control_run:
            return number.gain.on(self._side(cell, measure, p))
        over_calibrated = number.over(Gain.OVER_CALIBRATED).name
        return number.gain.conclude(self._side(cell, measure, p), self.verdict(cell, over_calibrated))

    def verdict_in_words(self, cell: str, measure: str) -> str:
        """The verdict, with the reason if there is none from this control; empty if nothing is claimed."""
        reason = self.void.get((cell, measure))
        return f"{Verdict.NONE}: {reason}" if reason else str(self.verdict(cell, measure) or "")

    def controls(self, cell: str, probe: str, scope: str = "") -> tuple[Gain, ...]:
        """The gains that a claim about the exchange needs, if the cell has them and their controls are not void."""
        keys = {gain: (cell, GainMeasure(probe, gain, scope=scope).name) for gain in CONTROLS_OF_EXCHANGE}
        known = {key for key, estimate in self.estimates.items() if estimate.n}
        return tuple(gain for gain, key in keys.items() if key in known and key not in self.void)

    def beats_all(self, cell: str, probe: str, scope: str = "") -> bool | None:
        """Whether a probe gains over all `controls`; None without calibrated networks or without a control run."""
        controls = self.controls(cell, probe, scope)
        if Gain.OVER_CALIBRATED not in controls or len(controls) < 2:
            return None
        names = {gain: GainMeasure(probe, gain, scope=scope).name for gain in controls}
        return all(self.verdict(cell, name) is gain.on(Side.ABOVE) for gain, name in names.items())

    def _side(self, cell: str, measure: str, p: float) -> Side:
        if p >= LEVEL:
            return Side.NEITHER
        return Side.BELOW if self.estimates[cell, measure].mean < 0 else Side.ABOVE
