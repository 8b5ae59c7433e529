"""Rules that pool each entry by itself: weighted median and trimmed mean.

Of distributions, their results need not sum to 1. `used` is the mean share of a message over the entries.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Pool = tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]
NEARLY = 1e-6  # two halves of the weights count as equal up to this: sums of equal weights are rounded


def median(stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"]) -> Pool:
    """The weighted median: below and above lies at most half of the weight; the mean of both ends, if it is between.

    With equal weights it is the ordinary median. Source: Yin et al., 2018, definition 1 (equal weights).
    """
    values, order = _sorted(stack)
    reached = weights[order].cumsum(dim=1)
    low = (reached < 0.5 - NEARLY).sum(dim=1, keepdim=True)
    high = (reached <= 0.5 + NEARLY).sum(dim=1, keepdim=True).clamp_max(len(stack) - 1)
    outputs = 0.5 * values.gather(1, low) + 0.5 * values.gather(1, high)
    half = torch.full_like(outputs, 0.5)
    shares = torch.zeros_like(values)
    for place in (low, high):
        shares.scatter_add_(1, order.gather(1, place), half)
    return outputs.reshape(stack.shape[1:]), shares.mean(dim=0)


def trimmed_mean(stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"], b: int) -> Pool:
    """The weighted mean of an entry without its b largest and its b smallest values; b: at most what leaves one.

    Source: Yin et al., 2018, definition 2 (equal weights).
    """
    num_teachers = len(stack)
    b = min(b, (num_teachers - 1) // 2)
    values, order = (each[:, b : num_teachers - b] for each in _sorted(stack))
    shares = weights[order]
    shares = torch.where(shares.sum(dim=1, keepdim=True) > 0, shares, torch.ones_like(shares))
    shares = shares / shares.sum(dim=1, keepdim=True)
    outputs = torch.zeros_like(values[:, 0])
    for share, value in zip(shares.T, values.T, strict=True):
        outputs = outputs + share * value
    used = values.new_zeros(len(values), num_teachers).scatter_(1, order, shares)
    return outputs.reshape(stack.shape[1:]), used.mean(dim=0)


def _sorted(
    stack: Float[Tensor, "teachers samples dim"],
) -> tuple[Float[Tensor, "entries teachers"], Int64[Tensor, "entries teachers"]]:
    """What the teachers say of each entry, ascending, and who says it: sorting rows is faster than columns."""
    values, order = stack.flatten(1).T.contiguous().sort(dim=1, stable=True)
    return values, order
