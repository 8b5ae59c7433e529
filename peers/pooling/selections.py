"""Rules that select messages by distances, and average those: Krum, multi-Krum, nearest to oneself.

For whole messages, or for each sample by itself. Of equal scores the first message is taken.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.pooling.averages import mean_of_kept
from peers.pooling.outliers import squared_distances

Stack = Float[Tensor, "teachers samples dim"]
Weights = Float[Tensor, " teachers"]
Pool = tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]


def krum_scores(stack: Stack, f: int, per_sample: bool) -> Float[Tensor, "teachers columns"]:
    """The sum of squared distances of each message to its T - f - 1 nearest others (at least one).

    Source: Blanchard et al., 2017, with one neighbour more, as in Allouah et al., 2023 (arXiv 2302.01772): their
    T - f - 2 would be none for three teachers and one liar.
    """
    nearest_first = squared_distances(stack, per_sample).sort(dim=1).values
    return nearest_first[:, 1 : max(2, len(stack) - f)].sum(dim=1)


def multi_krum(stack: Stack, weights: Weights, f: int, m: int, per_sample: bool) -> Pool:
    """The weighted mean of the m messages with the least `krum_scores`; 0: all but f; f: at most what can be borne."""
    f = _bearable(f, len(stack))
    most = len(stack) - f
    return _mean_of_lowest(stack, weights, krum_scores(stack, f, per_sample), min(m or most, most))


def krum(stack: Stack, weights: Weights, f: int, per_sample: bool) -> Pool:
    """The message with the least `krum_scores`."""
    return multi_krum(stack, weights, f, 1, per_sample)


def nearest(own: Float[Tensor, "samples dim"], stack: Stack, weights: Weights, f: int, per_sample: bool) -> Pool:
    """The weighted mean of all messages but the f that are farthest from the student's own outputs.

    Source: Farhadkhani et al., 2023 (MoNNA), equation 4, where the student's own is among the messages.
    """
    squares = (stack - own).square().sum(dim=2)
    scores = squares if per_sample else squares.sum(dim=1, keepdim=True)
    return _mean_of_lowest(stack, weights, scores, len(stack) - _bearable(f, len(stack)))


def _bearable(f: int, num_teachers: int) -> int:
    """The number of liars that a rule may count on: fewer than half."""
    return min(f, (num_teachers - 1) // 2)


def _mean_of_lowest(stack: Stack, weights: Weights, scores: Float[Tensor, "teachers columns"], count: int) -> Pool:
    """The mean of the `count` messages with the lowest scores; of whole messages there is one column."""
    chosen = scores.sort(dim=0, stable=True).indices[:count]
    kept: Bool[Tensor, "teachers columns"] = torch.zeros_like(scores, dtype=torch.bool).scatter_(0, chosen, True)
    return mean_of_kept(stack, weights, kept.expand(len(stack), stack.shape[1]))
