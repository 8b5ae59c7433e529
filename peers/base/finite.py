"""Whether tensors, or rows of one, are finite."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def finite_rows(values: Float[Tensor, "rows *axes"]) -> Bool[Tensor, " rows"]:
    """Whether each row is finite. Checks the sums first: finite rows have finite sums, except for overflow."""
    flat = values.reshape(len(values), -1)
    finite = torch.isfinite(flat.sum(dim=1))
    return finite if finite.all() else torch.isfinite(flat).all(dim=1)


@torch.no_grad()
def is_finite(values: Tensor) -> bool:
    """Whether all values are finite, by their sum first: one pass, and nothing as large as they are."""
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())
