"""How far messages are from each other, and whether that tells lies from honest ones."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.means import roomy, wide


def squared_distances(
    stack: Float[Tensor, "teachers samples dim"], per_sample: bool
) -> Float[Tensor, "teachers teachers columns"]:
    """Squared Euclidean distances of all pairs, for each sample, or one column, of whole messages.

    From differences, not from products: those of near messages would be rounding.
    """
    num_teachers, num_samples = stack.shape[:2]
    found = stack.new_zeros(num_teachers, num_teachers, num_samples if per_sample else 1)
    for first in range(num_teachers - 1):
        squares = (stack[first + 1 :] - stack[first]).square()
        rows = squares.sum(dim=2) if per_sample else squares.flatten(1).sum(dim=1)[:, None]
        found[first, first + 1 :] = rows
        found[first + 1 :, first] = rows
    return found


def distances(stack: Float[Tensor, "teachers samples dim"]) -> Float[Tensor, "teachers teachers"]:
    """Euclidean distances of all pairs of whole messages."""
    with torch.no_grad():
        return squared_distances(roomy(stack), per_sample=False)[:, :, 0].sqrt()


def outlier_scores(stack: Float[Tensor, "teachers samples dim"]) -> Float[Tensor, " teachers"]:
    """The median distance of each message to the others; 0 for a single one."""
    if len(stack) == 1:
        return torch.zeros_like(wide(stack[:, 0, 0]))
    nearest_first = distances(stack).sort(dim=1).values  # each itself is the nearest, at 0
    return nearest_first[:, 1:].quantile(0.5, dim=1)


def auc(scores: Float[Tensor, " teachers"], lies: Sequence[bool]) -> float:
    """The probability that a lie has a higher score than an honest message, ties counted half.

    NaN where there is no lie, or nothing else. It is the area under the ROC curve of a filter by these scores.
    """
    of_lies, of_honest = (
        [score for score, lie in zip(scores.tolist(), lies, strict=True) if lie is wanted] for wanted in (True, False)
    )
    pairs = len(of_lies) * len(of_honest)
    won = sum((lie > honest) + 0.5 * (lie == honest) for lie in of_lies for honest in of_honest)
    return won / pairs if pairs else float("nan")
