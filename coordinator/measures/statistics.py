"""Statistics over seeds: a mean with its t-interval, paired differences, Holm's correction."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-12  # a spread, relative to the values, that rounding alone explains


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its confidence interval, and the two-sided p against 0.

    Fewer than 2 values have no interval and no p (None); none have no mean (nan). Equal values other than 0 have no p.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None

    @property
    def varies(self) -> bool:
        """Whether there is a spread to test with; values that are all 0 have a p of 1 without a test."""
        return self.low is not None and self.low != self.high


def half_width(
    values: Float[np.ndarray, "samples *points"], confidence: float = 0.95
) -> Float[np.ndarray, "*points"] | float:
    """Of Student's t-interval of the mean over two samples or more, point by point."""
    from scipy import stats  # here, and below: its import takes longer than that of all the rest

    quantile = stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    half: Float[np.ndarray, "*points"] | float = quantile * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return half


def detectable(num_tests: int, num_seeds: int, level: float = 0.05) -> float:
    """The least mean, in standard deviations over seeds, that Holm's method tells from 0 among as many tests.

    That is its first step, for the clearest; where that is passed, the next asks for a little less.
    """
    from scipy import stats

    return float(stats.t.ppf(1 - level / (2 * num_tests), num_seeds - 1) / math.sqrt(num_seeds))


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean with Student's t-interval over seeds; values that are not finite are left out.

    Values that all agree have no spread to judge by, and accuracies on few images do so by chance: the interval is the
    point, and there is no p, but 1 where all are 0.
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    return _one_sample(kept, float(np.abs(kept).max(initial=0.0)), confidence)


def paired_difference(treated: Sequence[float], control: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean of treated - control by position (the same seed), as `estimate` does; a pair needs both values."""
    pairs = np.stack([np.asarray(treated, dtype=np.float64), np.asarray(control, dtype=np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    return _one_sample(pairs[0] - pairs[1], float(np.abs(pairs).max(initial=0.0)), confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted such that the chance of any false claim among them stays below the level.

    Source: Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped, unused-ignore]

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def _one_sample(values: Float[np.ndarray, " seeds"], scale: float, confidence: float) -> Estimate:
    """Student's t; `scale` is the size of the numbers that the values were computed from."""
    n = len(values)
    if n < 2:
        return Estimate(float(values[0]) if n else float("nan"), None, None, n, None)
    mean = float(values.mean())
    if np.ptp(values) <= ROUNDING * scale:
        mean = 0.0 if abs(mean) <= ROUNDING * scale else mean
        return Estimate(mean, mean, mean, n, None if mean else 1.0)
    half = float(half_width(values, confidence))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's on precision: such data were dealt with above
        from scipy import stats

        p = float(stats.ttest_1samp(values, 0.0).pvalue)
    return Estimate(mean, mean - half, mean + half, n, p)
