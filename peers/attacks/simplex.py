"""The nearest distribution to any vector."""

import torch
from jaxtyping import Float
from torch import Tensor


def projected(values: Float[Tensor, "samples dim"]) -> Float[Tensor, "samples dim"]:
    """The distribution that is nearest to each row, by Euclidean distance.

    It is max(0, x - s) with the shift s that makes it sum to 1. Source: Held, Wolfe and Crowder, 1974.
    """
    ordered = values.sort(dim=1, descending=True).values
    count = torch.arange(1, values.shape[1] + 1, device=values.device, dtype=values.dtype)
    shifts = (ordered.cumsum(dim=1) - 1) / count
    # the largest number of entries that all stay above 0
    support = (ordered > shifts).sum(dim=1, keepdim=True).clamp_min(1)
    positive = (values - shifts.gather(1, support - 1)).clamp_min(0)
    return positive / positive.sum(dim=1, keepdim=True)
