"""Cronus: outliers along the main direction of the messages are dropped, sample by sample."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.pooling.averages import mean_of_kept

Kept = Bool[Tensor, "teachers samples"]


def cronus(
    stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"], alpha: float
) -> tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]:
    """For each sample the mean of what is left after the alpha T / 2 farthest were dropped, twice.

    Farthest by the length of the projection on the top eigenvector of the covariance of what is left.
    Source: Chang et al., 2019 (Cronus, arXiv 1912.11279), section 4.2, after Diakonikolas et al., 2017.
    """
    count = dropped_each_time(len(stack), alpha)
    kept = torch.ones_like(stack[:, :, 0], dtype=torch.bool)
    for _ in range(2 if count else 0):
        kept = _without_farthest(stack, kept, count)
    return mean_of_kept(stack, weights, kept)


def dropped_each_time(num_teachers: int, alpha: float) -> int:
    """alpha T / 2, rounded down: with alpha below 1, dropping it twice leaves one."""
    return int(alpha * num_teachers / 2 + 1e-9)


def _without_farthest(stack: Float[Tensor, "teachers samples dim"], kept: Kept, count: int) -> Kept:
    """The mask without the `count` messages of each sample that have the longest projections."""
    mask = kept[:, :, None].to(torch.float64)
    values = stack.to(torch.float64) * mask
    centred = (values - values.sum(dim=0) / mask.sum(dim=0)) * mask
    rows = centred.transpose(0, 1)  # [samples, teachers, dim]
    # the top eigenvector of the teachers' products has their projections as entries, up to a factor
    projections = torch.linalg.eigh(rows @ rows.transpose(1, 2)).eigenvectors[:, :, -1].abs().T
    farthest = torch.where(kept, projections, torch.full_like(projections, -1.0))
    dropped = farthest.sort(dim=0, descending=True, stable=True).indices[:count]
    return kept.scatter(0, dropped, False)
