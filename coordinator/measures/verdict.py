"""What a run may claim: intervals of the gain over a control, the verdict on them, and warning flags.

Every interval compares the same peers on the same test images, before or without and after the treatment.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from coordinator.measures.statistics import half_width

Verdict = Literal["learned", "not distinguishable", "degraded"]
ExchangeVerdict = Literal["exchange helps", "makes no difference", "hurts"]

VANISHED_SHARE = 0.5
COLLAPSED_SHARE = 0.5
COLLAPSED_INFORMATION = 0.01
COLLAPSED_STD = 0.1


@dataclass(frozen=True)
class Interval:
    """A mean gain and its confidence interval, as fractions of the test images."""

    mean: float
    low: float
    high: float


def gain_interval(
    treated: Bool[np.ndarray, "peers test"], control: Bool[np.ndarray, "peers test"], confidence: float = 0.95
) -> Interval:
    """Gain in accuracy over the control, with an interval over peers *and* test images (a crossed design).

    Two half-widths are added in quadrature: Student's t over the peers' gains, and normal over each image's mean gain.
    Each of the two variances contains the residual one, so the interval is conservative. With one peer only the
    images count. Peers of one run have taught each other: the interval speaks of this run, not of other seeds.

    Source: Owen, 2007 (the pigeonhole bootstrap), on variances under crossed random effects.
    """
    gains = treated.astype(np.float64) - control
    per_image = gains.mean(axis=0)
    half = special.ndtri(0.5 + confidence / 2) * per_image.std(ddof=1) / np.sqrt(len(per_image))
    if len(gains) > 1:
        half = np.hypot(half, half_width(gains.mean(axis=1), confidence))
    mean = float(gains.mean())
    return Interval(mean, float(mean - half), float(mean + half))


def verdict(over_calibrated: Interval) -> Verdict:
    """What a probe's gain over the calibrated, untrained peers shows: which side of 0 the whole interval is on."""
    if over_calibrated.low > 0:
        return "learned"
    return "degraded" if over_calibrated.high < 0 else "not distinguishable"


def exchange_verdict(over_alone: Interval) -> ExchangeVerdict:
    """What a gain over the same experiment with every peer its own teacher shows about the exchange."""
    if over_alone.low > 0:
        return "exchange helps"
    return "hurts" if over_alone.high < 0 else "makes no difference"


def artefact(over_untrained: Interval, over_calibrated: Interval) -> bool:
    """Whether a gain over untrained peers vanishes beside calibrated BatchNorm, which no learning can explain.

    It must be a gain, be none beside the control, and be mostly gone: an interval that merely grew wide is no artefact.
    """
    gone = over_calibrated.mean < VANISHED_SHARE * over_untrained.mean
    return over_untrained.low > 0 and not over_calibrated.low > 0 and gone


@dataclass(frozen=True)
class CollapseMeasures:
    """Each peer's collapse measures at one evaluation, as `consensus` computes them."""

    information: Float[np.ndarray, " peers"]
    feature_std: Float[np.ndarray, " peers"]
    rankme: Float[np.ndarray, " peers"]


def collapsed(first: CollapseMeasures, last: CollapseMeasures) -> bool:
    """Whether the median peer lost what told its inputs apart, between the first and the last evaluation.

    Any of three measures, below half of its own start, says so:
    mutual information at the outputs' own scale, if also under 0.01 nats: one output for all inputs;
    feature std, if also under 0.1: one direction for all inputs;
    RankMe, alone: most dimensions died (in the measured runs every network that halved it lost accuracy).
    Half of the start, because an untrained network may sit under either threshold and a learning one lowers its rank
    somewhat. A measure that is not finite counts as 0: a diverged peer tells nothing apart.
    """
    return (
        _fell(first.information, last.information, COLLAPSED_INFORMATION)
        or _fell(first.feature_std, last.feature_std, COLLAPSED_STD)
        or _fell(first.rankme, last.rankme, float("inf"))
    )


def _fell(first: Float[np.ndarray, " before"], last: Float[np.ndarray, " after"], threshold: float) -> bool:
    """Whether the median ended below the threshold and below half of its start."""
    start, end = (float(np.median(np.where(np.isfinite(values), values, 0.0))) for values in (first, last))
    return end < threshold and end < COLLAPSED_SHARE * start
