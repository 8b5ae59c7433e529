"""What the cells of an ablation show over seeds: estimates, claims against 0, differences from a reference, flags."""

from dataclasses import dataclass

from coordinator.measures.statistics import Estimate
from coordinator.reports.wording import CLAIMS, HURTS_LESS, control_of

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """How far a cell's measure is from the reference's, paired by seed; `p_holm` is None without a test."""

    cell: str
    reference: str
    measure: str
    estimate: Estimate
    p_holm: float | None

    @property
    def found(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL


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
        return sum(each.estimate.varies for each in self.differences)

    @property
    def compared(self) -> tuple[str, ...]:
        """The measures that have differences."""
        return tuple(measure for measure in self.measures if any(each.measure == measure for each in self.differences))

    def verdict(self, cell: str, measure: str) -> str:
        """What a gain shows over seeds, corrected; "" for other measures and fewer than 2 seeds.

        An exchange does not help where the same probe shows that the networks are worse for it.
        """
        p = self.p_holm.get((cell, measure))
        if p is None:
            return ""
        above, neither, below = CLAIMS[control_of(measure)]
        if p >= LEVEL:
            return neither
        if self.estimates[cell, measure].mean < 0:
            return below
        probe, control = measure.split(".", 2)[1:]
        if control == "over_alone.mean" and self.verdict(cell, f"probes.{probe}.gain") == CLAIMS["gain"][2]:
            return HURTS_LESS
        return above

    def beats_both(self, cell: str, probe: str) -> bool | None:
        """Whether a probe gains over calibrated networks and over peers alone; None where one was not measured."""
        controls = ("gain", "over_alone.mean")
        if not {f"probes.{probe}.{control}" for control in controls} <= set(self.measures):
            return None
        return all(self.verdict(cell, f"probes.{probe}.{control}") == CLAIMS[control][0] for control in controls)
