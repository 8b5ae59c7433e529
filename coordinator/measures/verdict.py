"""What a run may claim: confidence intervals of gains over controls, verdicts on them, and warning flags.

Every interval compares the same peers on the same test images, with and without the treatment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

import numpy as np
from jaxtyping import Bool, Float
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
    THESE_IMAGES_TEACH = "experience of these images teaches"
    EXCHANGE_ADDS = "the exchange adds to private data"
    POOLING_HELPS = "pooling helps"
    NO_DIFFERENCE = "no difference"
    WORSE = "worse than the control"
    POOLING_HURTS = "pooling hurts"
    ABOVE_CONTROL = "above the control, but not shown to have learned"
    LESS_HARM = "less harm than the control"  # above a control run, but worse than calibrated networks
    ABOVE_TRUTHFUL = "above truthful peers"
    GAIN_LOST = "honest gain lost"
    ABOVE_POOLED = "above pooled training"
    SHORT_OF_POOLED = "short of pooled training"
    ABOVE_SUPERVISED = "above supervised"
    BELOW_SUPERVISED = "below supervised"
    ABOVE_UNTRAINED = "above untrained"
    BELOW_UNTRAINED = "below untrained"
    ABOVE_RESET = "above reset"
    BELOW_RESET = "below reset"
    NONE = "no verdict"  # the control did nothing, or diverged

    def of_this_run(self) -> str:
        """The verdict as a claim about one run only: without a qualifier it is a result over seeds."""
        return str(self) if self in _NO_CLAIMS else f"{self} (this run)"


_NO_CLAIMS = (Verdict.NOT_DISTINGUISHABLE, Verdict.NO_DIFFERENCE, Verdict.NONE)


class Void(StrEnum):
    """Why there is no verdict from a control run."""

    IDLE = "idle"  # its first gradient was rounding
    DIVERGED = "diverged"


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
    treated: Bool[np.ndarray, "peers test"],
    control: Bool[np.ndarray, "peers test"],
    untrained: Bool[np.ndarray, "peers test"],
    confidence: float = 0.95,
) -> Interval:
    """Gain in accuracy over the control, with an interval over peers *and* test images (a crossed design).

    treated, control: which images each peer answers correctly with and without the treatment. untrained: the same of
    these peers before the first round, when they are independent random functions.

    Three half-widths are added in quadrature: Student's t over the peers' gains; normal over the images' mean gains;
    and what the peers have in common, which their own spread cannot show. Peers that have taught each other resemble
    one random function, whose luck counts once, however many peers have it: the third is Student's t for the variance
    of accuracy between random functions, times `shared_luck`.

    It covers other peers and test images, also where peers agree (tests/benchmarks/coverage.py has the rates); another
    order of the batches was tried on 12 seeds only. It does not cover other data, or initial weights that peers have in
    common. It assumes that the accuracies of random functions differ no more than those of the untrained peers, or of
    either condition's. With a single peer, only the images contribute: it is an interval for that network alone.

    Source: Owen, 2007 (the pigeonhole bootstrap), on variances under crossed random effects.
    """
    num_peers, found = len(treated), over_images(treated, control, confidence)
    half = found.high - found.mean
    if num_peers > 1:
        accuracies = [answers.mean(axis=1) for answers in (treated, control, untrained)]
        # the half-width of the mean of n independent functions is that of one, divided by sqrt(n)
        of_one = max(half_width(each, confidence) for each in accuracies) * np.sqrt(num_peers)
        common = of_one * np.sqrt(shared_luck(treated, control, untrained))
        half = np.sqrt(half**2 + half_width(accuracies[0] - accuracies[1], confidence) ** 2 + common**2)
    return Interval(found.mean, float(found.mean - half), float(found.mean + half))


def over_images(
    treated: Bool[np.ndarray, "peers test"], control: Bool[np.ndarray, "peers test"], confidence: float = 0.95
) -> Interval:
    """The gain of these very networks over other ones: its interval is over test images only."""
    per_image = (_num_right(treated) - _num_right(control)) / len(treated)
    half = special.ndtri(0.5 + confidence / 2) * per_image.std(ddof=1) / np.sqrt(len(per_image))
    mean = float(per_image.mean())
    return Interval(mean, float(mean - half), float(mean + half))


def shared_luck(
    treated: Bool[np.ndarray, "peers test"],
    control: Bool[np.ndarray, "peers test"],
    untrained: Bool[np.ndarray, "peers test"],
) -> float:
    """The part that all peers' gains have in common, in random functions: 0 if peers are independent, 2 at most.

    It is 2 if the treated peers are one function and those of the control another one. Measured as the mean covariance
    of two peers' gains over the images, relative to the variance of a random function's answer to an image. Images that
    are easier for every function cancel in a gain, and so does what a peer has kept from the control. Answers are right
    or wrong, which makes them correlate less than what they depend on: the sine corrects for it, exactly for an even
    chance and normal variables where both sides have as much in common. Where one side has less, it is too large: 1.4
    instead of 1 if the treated peers are one function and those of the control are independent.

    Source: Sheppard, 1899, on the correlation of two dichotomised normal variables.
    """
    num_peers = len(treated)
    pairs = num_peers * (num_peers - 1)
    each = ((treated ^ control).mean(axis=1) - (treated.mean(axis=1) - control.mean(axis=1)) ** 2).sum()
    covariance = ((_num_right(treated) - _num_right(control)).var() - each) / pairs
    right = _num_right(untrained)
    of_one = (right * (num_peers - right)).mean() / pairs
    ratio = min(covariance / of_one, 2.0) if of_one > 0 else 2.0
    return float(2 * np.sin(np.pi / 4 * ratio)) if covariance > 0 else 0.0


def _num_right(answers: Bool[np.ndarray, "peers test"]) -> Float[np.ndarray, " test"]:
    """For each image, the number of peers that answer correctly."""
    num_right: Float[np.ndarray, " test"] = answers.sum(axis=0, dtype=np.float64)
    return num_right


def artefact(over_untrained: Interval, over_calibrated: Interval) -> bool:
    """Whether a gain over untrained peers is explained by calibrated BatchNorm buffers rather than by learning.

    over_untrained: its interval is that of these very networks (`over_images`): it asks whether their scores changed.
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
