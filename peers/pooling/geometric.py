"""The geometric median of messages."""

import torch
from jaxtyping import Float
from torch import Tensor


def geometric_median(
    stack: Float[Tensor, "teachers samples dim"],
    weights: Float[Tensor, " teachers"],
    nu: float,
    iterations: int,
    per_sample: bool,
) -> tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]:
    """Steps of the smoothed Weiszfeld algorithm, for whole messages or each sample by itself, and the last weights.

    A step is the mean with weights w_j / max(nu, |x_j - y|). It starts at 0, not at the mean: after any number of
    steps, a message that is far away has moved the result by a bounded length.
    Source: Weiszfeld, 1937; Pillutla et al., 2022 (arXiv 1912.13445), algorithm 2.
    """
    point = torch.zeros_like(stack[0])
    shares = torch.zeros_like(stack[:, :, 0])
    axes = 2 if per_sample else (1, 2)
    for _ in range(iterations):
        lengths = (stack - point).square().sum(dim=axes).sqrt().clamp_min(nu)
        shares = (weights[:, None] if per_sample else weights) / lengths
        shares = shares / shares.sum(dim=0)
        point = torch.zeros_like(point)
        for share, outputs in zip(shares, stack, strict=True):
            point = point + (share[:, None] if per_sample else share) * outputs
    return point, shares.mean(dim=1) if per_sample else shares
