"""Weights of teachers that remember: whoever has been an outlier counts less."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.means import roomy
from peers.pooling.coordinate_wise import median

ETA = 0.1  # a free parameter of the authors'; honest scores differ by some 0.05, so that it takes hundreds of rounds
LEAST = 1e-30  # weights stay above it, so that the sum of several is never 0


def expguard_scores(stack: Float[Tensor, "teachers samples dim"], distribution: bool) -> Float[Tensor, " teachers"]:
    """The outlier score of each message: the mean over samples of its distance to the median of all, entry by entry.

    In 0 to sqrt(2) for distributions. Logits and features have no such scale: their scores are divided by the median
    score, so that they do not depend on units.
    Source: Roux, Zimmer and Pokutta, 2025 (arXiv 2402.12265), section 5, with the median as the pooled prediction.
    """
    with torch.no_grad():
        messages = roomy(stack)
        middle, _ = median(messages, messages.new_full((len(stack),), 1 / len(stack)))
        scores = (messages - middle).square().sum(dim=2).sqrt().mean(dim=1)
        typical = scores.quantile(0.5)
        return scores if distribution or not bool(typical > 0) else scores / typical


def expguard(weights: Mapping[int, float], scores: Mapping[int, float], eta: float = ETA) -> dict[int, float]:
    """The weights after a round: those of the teachers that were heard, times exp(-eta score), scaled to at most 1.

    Teachers that are not in `weights` start at 1, which is the weight of the best: only ratios matter. So no weight
    vanishes with time where all are alike, and who is new or rarely heard counts no more than the best. Less the least
    score of those heard: nobody loses by having been heard.
    Source: Roux, Zimmer and Pokutta, 2025 (arXiv 2402.12265), algorithm ExpGuard: w <- w exp(-eta score).
    """
    if not scores:
        return dict(weights)
    least = min(scores.values())
    heard = {teacher: weights.get(teacher, 1.0) * math.exp(-eta * (score - least)) for teacher, score in scores.items()}
    found = {**weights, **heard}
    best = max(found.values())
    return {teacher: max(weight / best, LEAST) for teacher, weight in found.items()}
