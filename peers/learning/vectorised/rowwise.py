"""Small operations on each row of stacked tensors."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.learning.control import matching_factor
from peers.learning.vectorised.network_stack import Rows


def norms_of(gradients: Sequence[Tensor | None]) -> Float[Tensor, " rows"]:
    """The norm of each row's gradient over all parameters."""
    norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients if gradient is not None]
    total: Float[Tensor, " rows"] = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total


def scale_rows(values: Float[Tensor, "rows *axes"], factor: Float[Tensor, " rows"]) -> Tensor:
    """Multiply each row by its own factor."""
    return values * factor.view(-1, *[1] * (values.ndim - 1))


def match_norms(
    gradients: list[Tensor | None], norms: Float[Tensor, " rows"], wanted: Sequence[float | None], most: float
) -> list[Tensor | None]:
    """The rows' gradients, clipped at `most`, scaled to the wanted norms (None: as they are)."""
    if all(norm is None for norm in wanted):
        return gradients
    pairs = zip(norms.tolist(), wanted, strict=True)
    factors = [1.0 if norm is None else matching_factor(actual, norm, most) for actual, norm in pairs]
    factor = torch.tensor(factors, device=norms.device)
    return [gradient if gradient is None else scale_rows(gradient, factor) for gradient in gradients]


def take(values: Tensor, rows: Rows) -> Tensor:
    """Select rows; if `rows` is None, all of them without a copy."""
    return values if rows is None else values[rows]


def add_rows(total: Tensor, places: Rows, values: Tensor, active: Bool[Tensor, " rows"]) -> None:
    """Add the active ones of some rows' `values` to a total, in place; `places`: of these rows in it, None: all.

    Values of other rows may be anything, even infinite.
    """
    chosen = torch.where(active.view(-1, *[1] * (values.ndim - 1)), values, torch.zeros_like(values))
    if places is None:
        total.add_(chosen)
    else:
        total.index_add_(0, places, chosen)
