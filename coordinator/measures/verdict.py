"""What a run may claim: intervals of the gain over a control, the verdicts on them, and warning flags.

Every interval compares the same peers on the same test images, before or without and after the treatment.
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
    """What a gain over a control shows, as `summary.json` has it; which control leads to which is in `gains.Gain`."""

    LEARNED = "learned"
    NOT_DISTINGUISHABLE = "not distinguishable"
    DEGRADED = "degraded"
    EXCHANGE_HELPS = "exchange helps"
    NO_DIFFERENCE = "makes no difference"
    EXCHANGE_HURTS = "hurts"
    EXCHANGE_HURTS_LESS = "hurts less than alone"  # above peers alone, but below calibrated networks
    ABOVE_UNTRAINED = "above untrained"
    BELOW_UNTRAINED = "below untrained"
    ABOVE_RESET = "above reset"
    BELOW_RESET = "below reset"


class Flag(StrEnum):
    """A warning that stands beside the verdicts, as `summary.json` has it."""

    COLLAPSED = "collapsed"
    ARTEFACT = "artefact"
    DROPPED_PEERS = "dropped-peers"
    ALONE_NOT_FINITE = "alone-not-finite"


class Side(Enum):
    """Where a gain was found to be: on a side of 0, or not to be told from it."""

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
        """Which side of 0 the whole interval is on; neither, if an end is not finite."""
        if self.low > 0:
            return Side.ABOVE
        return Side.BELOW if self.high < 0 else Side.NEITHER


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


def artefact(over_untrained: Interval, over_calibrated: Interval) -> bool:
    """Whether a gain over untrained peers vanishes beside calibrated BatchNorm, which no learning can explain.

    It must be a gain, be none beside the control, and be mostly gone: an interval that merely grew wide is no artefact.
    """
    gone = over_calibrated.mean < VANISHED_SHARE * over_untrained.mean
    return over_untrained.low > 0 and not over_calibrated.low > 0 and gone


def collapsed(first: Mapping[int, Mapping[str, float]], last: Mapping[int, Mapping[str, float]]) -> bool:
    """Whether the median peer lost what told its inputs apart, between the first and the last evaluation.

    first, last: the measures of the same peers by peer and name. Any measure that is declared with a value to collapse
    below says so, if it is under that value and under half of its own start: half, because an untrained network may
    sit under the value, and a learning one lowers its rank somewhat. A measure that is not finite counts as 0: a
    diverged peer tells nothing apart.
    """
    return any(
        measure.collapse_below is not None and _fell(measure.name, first, last, measure.collapse_below)
        for measure in declared.PEER
    )


def _fell(
    name: str,
    first: Mapping[int, Mapping[str, float]],
    last: Mapping[int, Mapping[str, float]],
    threshold: float,
) -> bool:
    """Whether the median over peers ended below the threshold and below half of its start."""
    columns = (np.array([values[name] for values in peers.values()]) for peers in (first, last))
    start, end = (float(np.median(np.where(np.isfinite(column), column, 0.0))) for column in columns)
    return end < threshold and end < COLLAPSED_SHARE * start
