"""What is computed row by row for networks that are stacked."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.learning.vectorised.network_stack import Rows


def padded(
    lists: Sequence[Sequence[tuple[float, Float[Tensor, "batch dim"]]]], empty: Float[Tensor, "batch dim"], pool: bool
) -> tuple[Float[Tensor, "rows teachers batch dim"], Float[Tensor, "rows teachers"], Bool[Tensor, " rows"]] | None:
    """Lists of unlike length side by side, filled with weight 0; pooled into one teacher each where the loss allows."""
    most = max(len(each) for each in lists)
    if most == 0:
        return None
    fill = [each[0][1] if each else empty for each in lists]
    table = torch.tensor([[w for w, _ in each] + [0.0] * (most - len(each)) for each in lists], device=empty.device)
    hears = table.sum(dim=1) > 0
    table = table / torch.where(hears, table.sum(dim=1), 1.0)[:, None]
    slots = (
        torch.stack([each[slot][1] if slot < len(each) else other for each, other in zip(lists, fill, strict=True)])
        for slot in range(most)
    )
    if not pool:
        return torch.stack(list(slots), dim=1), table, hears
    pooled = torch.zeros(len(lists), *empty.shape, device=empty.device)
    for slot, outputs in enumerate(slots):
        pooled.add_(table[:, slot, None, None] * outputs)
    return pooled[:, None], torch.ones(len(lists), 1, device=empty.device), hears


def finite_rows(values: Float[Tensor, "rows *axes"]) -> Bool[Tensor, " rows"]:
    """Which rows hold finite numbers only: a sum is finite if they are, unless it overflows."""
    flat = values.reshape(len(values), -1)
    finite = torch.isfinite(flat.sum(dim=1))
    return finite if finite.all() else torch.isfinite(flat).all(dim=1)


def norms_of(gradients: Sequence[Tensor | None]) -> Float[Tensor, " rows"]:
    """The norm of each row's gradient over all parameters."""
    norms = [torch.linalg.vector_norm(each.flatten(1), dim=1) for each in gradients if each is not None]
    total: Float[Tensor, " rows"] = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total


def along(factor: Float[Tensor, " rows"], values: Float[Tensor, "rows *axes"]) -> Tensor:
    return factor.view(-1, *[1] * (values.ndim - 1))


def take(values: Tensor, rows: Rows) -> Tensor:
    return values if rows is None else values[rows]
