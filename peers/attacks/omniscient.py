"""Lies made of the honest messages that a student hears.

honest: [honest, samples, dim], at least one; weights: of these in the student's pool, not all zero. The honest mean is
weighted by them. Messages are added in their order.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from peers.attacks.simplex import projected
from peers.base.means import weighted_mean

Outputs = Float[Tensor, "samples dim"]
Honest = Float[Tensor, "honest samples dim"]
Weights = Float[Tensor, " honest"]
TINY = 1e-30


def mean(honest: Honest, weights: Weights) -> Outputs:
    """The honest mean."""
    return weighted_mean(honest, weights / weights.sum())


def deviation(honest: Honest, weights: Weights) -> Outputs:
    """The honest standard deviation, entry by entry, without bias for equal weights; 0 of a single message."""
    shares = weights / weights.sum()
    total = weighted_mean((honest - mean(honest, weights)).square(), shares)
    free = 1 - shares.square().sum()  # (n - 1) / n for equal weights
    return torch.where(free > 1e-6, total / free.clamp_min(1e-6), torch.zeros_like(total)).sqrt()


def a_little_is_enough(honest: Honest, weights: Weights, z: float, distribution: bool) -> Outputs:
    """Mean less z standard deviations. Source: Baruch, Baruch and Goldberg, 2019 (arXiv 1902.06156)."""
    lie = mean(honest, weights) - z * deviation(honest, weights)
    return projected(lie) if distribution else lie


def inner_product(honest: Honest, weights: Weights, epsilon: float, distribution: bool) -> Outputs:
    """-epsilon times the mean. Source: Xie, Koyejo and Gupta, 2020 (arXiv 1903.03936)."""
    lie = -epsilon * mean(honest, weights)
    return projected(lie) if distribution else lie


def least_likely(honest: Honest, weights: Weights, distribution: bool) -> Outputs:
    """Sure of the output that the honest mean finds least likely. Source: LMA, Roux et al., 2025 (arXiv 2402.12265)."""
    likely = mean(_probs(honest, distribution), weights)
    return _sure_of(likely.argmin(dim=1), honest, distribution)


def least_similar(honest: Honest, weights: Weights, distribution: bool) -> Outputs:
    """Sure of the output that is least similar to the most likely one of the honest mean.

    Two outputs are similar by the covariance of their honest mean probabilities over the samples.
    Source: CPA, Roux et al., 2025 (arXiv 2402.12265), whose similarities come from a trained network.
    """
    likely = mean(_probs(honest, distribution), weights)
    centred = (likely - likely.mean(dim=0)).to(torch.float64)
    similarity = centred.T @ centred
    top = likely.argmax(dim=1)
    rows = similarity[top].scatter(1, top[:, None], float("inf"))  # the top one itself is no lie
    return _sure_of(rows.argmin(dim=1), honest, distribution)


def most_harmful(honest: Honest, weights: Weights, lies_weight: float, distribution: bool) -> Outputs:
    """For each sample the honest message that, as the liars' one, harms most.

    Harm is the cross-entropy of the honest mean and the mean in which the lie has its weight.
    Source: HIPS, Roux et al., 2025 (arXiv 2402.12265): it stays among the honest, where no filter sees it.
    """
    probs = _probs(honest, distribution)
    likely = mean(probs, weights)
    share = lies_weight / (lies_weight + weights.sum())
    pooled = (1 - share) * likely + share * probs
    harm = -(likely * pooled.clamp_min(TINY).log()).sum(dim=2)
    worst = harm.argmax(dim=0)
    return honest[worst, torch.arange(honest.shape[1], device=honest.device)]


def dissensus(
    honest: Honest, weights: Weights, student: Outputs, epsilon: float, lies_weight: float, distribution: bool
) -> Outputs:
    """The student's own outputs, moved away from its honest neighbours.

    x - epsilon sum_j w_j (x_j - x) / (weight of all lies): with epsilon = 1 the pool stays where the student is.
    Source: He et al., 2022 (arXiv 2202.01545), equation 5.
    """
    pull = weighted_mean(honest - student, weights)
    lie = student - epsilon * pull / lies_weight
    return projected(lie) if distribution else lie


def _probs(honest: Honest, distribution: bool) -> Honest:
    return honest if distribution else torch.softmax(honest, dim=2)


def _sure_of(output: Int64[Tensor, " samples"], honest: Honest, distribution: bool) -> Outputs:
    """One-hot distributions; as logits, the largest and the least value that an honest peer has for the sample."""
    hot = torch.nn.functional.one_hot(output, honest.shape[2]).to(honest.dtype)
    if distribution:
        return hot
    high, low = (bound[:, None] for bound in (honest.amax(dim=(0, 2)), honest.amin(dim=(0, 2))))
    return torch.where(hot > 0, high, low)
