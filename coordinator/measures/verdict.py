"""What a run may claim: confidence intervals of gains over controls, verdicts on them, and warning flags.

Every interval compares the same peers on the same test images, with and without the treatment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

import numpy as np
from jaxtyping import Bool
from scipy import special

from coordinator.measures import declared
from coordinator.measures.statistics import half_width

VANISHED_SHARE = 0.5
COLLAPSED_SHARE = 0.5


class Verdict(StrEnum):
    """The conclusion from a gain over a control, as written to `summary.json`; `gains.Gain` maps gains to verdicts."""

    LEARNED = "learned"
    NOT_DISTINGUISHABLE = "not distinguishable"
    DEGRADED = "degraded"
    FUNCTION_TEACHES = "another function teaches"
    CONTENT_MATTERS = "what it says about the image matters"
    EXPERIENCE_TEACHES = "the peer's experience teaches"
    POOLING_HELPS = "pooling helps"
    NO_DIFFERENCE = "no difference"
    WORSE = "worse than the control"
    POOLING_HURTS = "pooling hurts"
    LESS_HARM = "less harm than the control"  # better than a control run, but worse than calibrated networks
    ABOVE_SUPERVISED = "above supervised"
    BELOW_SUPERVISED = "below supervised"
    ABOVE_UNTRAINED = "above untrained"
    BELOW_UNTRAINED = "below untrained"
    ABOVE_RESET = "above reset"
    BELOW_RESET = "below reset"
    NONE = "no verdict"  # the control did nothing, or is void

    def of_this_run(self) -> str:
        """The verdict as a claim about one run only: without a qualifier it is a result over seeds."""
        return str(self) if self in _NO_CLAIMS else f"{self} (this run)"


_NO_CLAIMS = (Verdict.NOT_DISTINGUISHABLE, Verdict.NO_DIFFERENCE, Verdict.NONE)


class Flag(StrEnum):
    """A warning about a run, listed beside the verdicts in `summary.json`."""

    COLLAPSED = "collapsed"
    ARTEFACT = "artefact"
    DROPPED_PEERS = "dropped-peers"
    CONTROL_NOT_FINITE = "control-not-finite"
    ALONE_IDLE = "alone-idle"  # its first gradient was rounding, so it is no control of the exchange


class Side(Enum):
    """Whether a gain is significantly above 0, below 0, or neither."""

    ABOVE = auto()
    NEITHER = auto()
    BELOW = auto()


@dataclass(frozen=True)
class Interval:
    """A mean gain and its confidence interval, as fractions of the test images."""

    mean: float
    low: float
    high: float

    @property
    def side(self) -> Side:
        """The side of 0 on which the whole interval lies; NEITHER if it contains 0 or is not finite."""
        if self.low > 0:
            return Side.ABOVE
        return Side.BELOW if self.high < 0 else Side.NEITHER


def gain_interval(
    treated: Bool[np.ndarray, "peers test"], control: Bool[np.ndarray, "peers test"], confidence: float = 0.95
) -> Interval:
    """Gain in accuracy over the control, with an interval over peers *and* test images (a crossed design).

    Two half-widths are added in quadrature: Student's t over the peers' gains, and normal over the images' mean gains.
    Each of the two variances contains the residual variance, so the interval is conservative. With a single peer, only
    the images contribute. Peers of a run are not independent: the interval holds for this run, not for other seeds.

    Source: Owen, 2007 (the pigeonhole bootstrap), on variances under crossed random effects.
    """
    gains = treated.astype(np.float64) - control
    per_image = gains.mean(axis=0)
    half = special.ndtri(0.5 + confidence / 2) * per_image.std(ddof=1) / np.sqrt(len(per_image))
    if len(gains) > 1:
        half = np.hypot(half, half_width(gains.mean(axis=1), confidence))
    mean = float(gains.mean())
    return Interval(mean, float(mean - half), float(mean + half))


def artefact(over_untrained: Interval, over_calibrated: Interval) -> bool:
    """Whether a gain over untrained peers is explained by calibrated BatchNorm buffers rather than by learning.

    The gain over untrained peers must be significant, the one over calibrated peers must not, and its mean must have
    fallen by more than half, since a merely wider interval is no evidence of an artefact.
    """
    gone = over_calibrated.mean < VANISHED_SHARE * over_untrained.mean
    return over_untrained.low > 0 and not over_calibrated.low > 0 and gone


def collapsed(first: Mapping[int, Mapping[str, float]], last: Mapping[int, Mapping[str, float]]) -> bool:
    """Whether the median peer's outputs or features have collapsed between the first and the last measurement.

    first, last: the measures of the same peers, by peer and name. Collapse is declared if for any measure with
    `collapse_below` the median ends below that threshold and below half of its initial value. The second condition is
    needed because an untrained network may start below the threshold, and learning lowers the rank somewhat. A value
    that is not finite counts as 0, since a diverged peer does not distinguish inputs.
    """
    return any(
        measure.collapse_below is not None and _has_collapsed(measure.name, first, last, measure.collapse_below)
        for measure in declared.PEER
    )


def _has_collapsed(
    name: str,
    first: Mapping[int, Mapping[str, float]],
    last: Mapping[int, Mapping[str, float]],
    threshold: float,
) -> bool:
    """Whether the median over peers ended below the threshold and below half of its initial value."""
    columns = (np.array([values[name] for values in peers.values()]) for peers in (first, last))
    start, end = (float(np.median(np.where(np.isfinite(column), column, 0.0))) for column in columns)
    return end < threshold and end < COLLAPSED_SHARE * start
