"""Rules that pool each entry by itself: weighted median and trimmed mean.

Of distributions, their results need not sum to 1. `used` is the mean share of a message over the entries.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Pool = tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]
NEARLY = 1e-6  # two halves of the weights count as equal up to this: sums of equal weights are rounded


def median(stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"]) -> Pool:
    """The weighted median: below and above lies at most half of the weight; the mean of both ends, if it is between.

    With equal weights it is the ordinary median. Source: Yin et al., 2018, definition 1 (equal weights).
    """
    values, order = stack.sort(dim=0, stable=True)
    reached = weights[order].cumsum(dim=0)
    low = (reached < 0.5 - NEARLY).sum(dim=0, keepdim=True)
    high = (reached <= 0.5 + NEARLY).sum(dim=0, keepdim=True).clamp_max(len(stack) - 1)
    shares = torch.zeros_like(stack)
    for place in (low, high):
        teacher = order.gather(0, place)
        shares.scatter_add_(0, teacher, torch.full_like(values[:1], 0.5))
    outputs = 0.5 * values.gather(0, low)[0] + 0.5 * values.gather(0, high)[0]
    return outputs, shares.flatten(1).mean(dim=1)


def trimmed_mean(stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"], b: int) -> Pool:
    """The weighted mean of an entry without its b largest and its b smallest values; b: at most what leaves one.

    Source: Yin et al., 2018, definition 2 (equal weights).
    """
    num_teachers = len(stack)
    b = min(b, (num_teachers - 1) // 2)
    values, order = stack.sort(dim=0, stable=True)
    left = slice(b, num_teachers - b)
    shares = weights[order[left]]
    shares = torch.where(shares.sum(dim=0) > 0, shares, torch.ones_like(shares))
    shares = shares / shares.sum(dim=0)
    outputs = torch.zeros_like(stack[0])
    for share, value in zip(shares, values[left], strict=True):
        outputs = outputs + share * value
    used = torch.zeros_like(stack).scatter_(0, order[left], shares)
    return outputs, used.flatten(1).mean(dim=1)
