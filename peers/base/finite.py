"""Which rows of a tensor are finite."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def finite_rows(values: Float[Tensor, "rows *axes"]) -> Bool[Tensor, " rows"]:
    """Whether each row is finite. Checks the sums first: finite rows have finite sums, except for overflow."""
    flat = values.reshape(len(values), -1)
    finite = torch.isfinite(flat.sum(dim=1))
    return finite if finite.all() else torch.isfinite(flat).all(dim=1)
