"""Self-centred clipping: nobody moves a student farther than tau."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from peers.pooling.averages import normalised


def self_centred_clipping(
    own: Float[Tensor, "samples dim"],
    stack: Float[Tensor, "teachers samples dim"],
    weights: Float[Tensor, " teachers"],
    tau: float | Literal["adaptive"],
    per_sample: bool,
) -> tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]:
    """own + sum_j w_j clip(x_j - own), with differences of whole messages or of each sample clipped at length tau.

    adaptive: tau is the second largest of the lengths above 0 (the largest, if there is no second), so that at most
    one message is clipped. The shares are of what moves the student; its weights, where nothing does.
    Source: He et al., 2022 (arXiv 2202.01545), algorithm 1, and the rule for tau of the authors' code.
    """
    differences = stack - own
    squares = differences.square().sum(dim=2)
    lengths = (squares if per_sample else squares.sum(dim=1, keepdim=True)).sqrt()
    limit = _second_largest(lengths) if tau == "adaptive" else torch.full_like(lengths[0], tau)
    factors = torch.where(lengths > limit, limit / lengths, torch.ones_like(lengths))
    moved = own
    for weight, factor, difference in zip(weights, factors, differences, strict=True):
        moved = moved + (weight * factor)[:, None] * difference
    shares = (weights[:, None] * factors).mean(dim=1)
    return moved, torch.where(shares.sum() > 0, normalised(shares), weights)


def _second_largest(lengths: Float[Tensor, "teachers columns"]) -> Float[Tensor, " columns"]:
    """The second largest length above 0 of each column; its largest, where only one is. A student's own has none."""
    ordered = lengths.sort(dim=0, descending=True).values
    if len(ordered) == 1:
        return ordered[0]
    return torch.where(ordered[1] > 0, ordered[1], ordered[0])
