"""Statistics over seeds: means with t-intervals, paired differences, Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

ROUNDING = 1e-12  # the largest relative spread that rounding errors explain


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its confidence interval, and the two-sided p-value against 0.

    With fewer than 2 values, interval and p are None; with none, the mean is nan. If all values are equal but not 0,
    p is None.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None

    @property
    def varies(self) -> bool:
        """Whether the values differ, as a test requires; if all are 0, p is 1 without a test."""
        return self.low is not None and self.low != self.high


def half_width(
    values: Float[np.ndarray, "samples *points"], confidence: float = 0.95
) -> Float[np.ndarray, "*points"] | float:
    """Half-width of Student's t-interval of the mean over at least two samples, for each point."""
    quantile = special.stdtrit(len(values) - 1, 0.5 + confidence / 2)  # as scipy.stats has it, whose import is slow
    half: Float[np.ndarray, "*points"] | float = quantile * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return half


def detectable(num_tests: int, num_seeds: int, level: float = 0.05) -> float:
    """The smallest mean, in standard deviations over seeds, that is significant in `num_tests` tests under Holm.

    This is the threshold of the method's first step, for the smallest p-value; later steps have lower thresholds.
    """
    return float(special.stdtrit(num_seeds - 1, 1 - level / (2 * num_tests)) / math.sqrt(num_seeds))


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean with Student's t-interval over seeds, ignoring values that are not finite.

    If all values are equal, which happens by chance for accuracies on few images, there is no spread for a test: the
    interval is that point, and p is None, or 1 if all values are 0.
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    return _one_sample(kept, float(np.abs(kept).max(initial=0.0)), confidence)


def paired_difference(treated: Sequence[float], control: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Like `estimate`, for treated - control paired by position (same seed); incomplete pairs are ignored."""
    pairs = np.stack([np.asarray(treated, dtype=np.float64), np.asarray(control, dtype=np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    return _one_sample(pairs[0] - pairs[1], float(np.abs(pairs).max(initial=0.0)), confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, which control the family-wise error rate.

    Source: Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    ascending = np.argsort(p_values)
    raised = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[ascending] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(p) for p in adjusted]


def _one_sample(values: Float[np.ndarray, " seeds"], scale: float, confidence: float) -> Estimate:
    """Student's t-test. scale: the largest magnitude of the numbers from which the values were computed."""
    n = len(values)
    if n < 2:
        return Estimate(float(values[0]) if n else float("nan"), None, None, n, None)
    mean = float(values.mean())
    if np.ptp(values) <= ROUNDING * scale:
        mean = 0.0 if abs(mean) <= ROUNDING * scale else mean
        return Estimate(mean, mean, mean, n, None if mean else 1.0)
    half = float(half_width(values, confidence))
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / (values.std(ddof=1) / math.sqrt(n))))
    return Estimate(mean, mean - half, mean + half, n, p)
