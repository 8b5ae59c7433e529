"""Shares of messages in a mean, also of some samples of each alone, and the way back to distributions.

Messages are added one by one in their order, so that the result has the same bits in every process.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def normalised(weights: Float[Tensor, " teachers"]) -> Float[Tensor, " teachers"]:
    """The weights with sum 1; equal ones, if all are 0."""
    total = weights.sum()
    return torch.where(total > 0, weights / total, torch.full_like(weights, 1 / len(weights)))


def mean_of_kept(
    stack: Float[Tensor, "teachers samples dim"],
    weights: Float[Tensor, " teachers"],
    kept: Bool[Tensor, "teachers samples"],
) -> tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]:
    """The weighted mean of the messages that are kept of each sample, and the mean share of each message in it.

    Where all that is kept of a sample has the weight 0, it counts equally.
    """
    shares = torch.where(kept, weights[:, None], torch.zeros_like(weights[:, None]))
    shares = torch.where(shares.sum(dim=0) > 0, shares, kept.to(weights.dtype))
    shares = shares / shares.sum(dim=0)
    mean = torch.zeros_like(stack[0])
    for share, some, outputs in zip(shares, kept, stack, strict=True):  # 0 x infinite is not a number
        mean = mean + torch.where(some[:, None], share[:, None] * outputs, torch.zeros_like(outputs))
    return mean, shares.mean(dim=1)


def on_simplex(outputs: Float[Tensor, "samples dim"]) -> Float[Tensor, "samples dim"]:
    """Rows clipped at 0 and divided by their sum; a row of which nothing is left says nothing: it becomes uniform.

    That happens to entry-wise rules: the median of three distributions, each sure of another output, is 0 everywhere.
    """
    positive = outputs.clamp_min(0)
    total = positive.sum(dim=1, keepdim=True)
    return torch.where(total > 0, positive / total, torch.full_like(outputs, 1 / outputs.shape[1]))
