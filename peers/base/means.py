"""The weighted mean of messages, and the precision that it takes."""

import torch
from jaxtyping import Float
from torch import Tensor


def wide(values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The values in float32, or in float64 if they are already: half precision is for messages, not for arithmetic."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


FAR = 1e15  # sums of squares of numbers below it stay finite in float32, with room for millions of entries


def roomy(values: Float[Tensor, "*axes"], *others: Float[Tensor, "..."]) -> Float[Tensor, "*axes"]:
    """`wide`, or float64 where squares of these numbers, or of the others with them, might be infinite in float32.

    The squares of all float32 numbers are finite in float64, so that however far away a message is, its distance is a
    number. Numbers of an ordinary size keep float32, and their bits.
    """
    found = wide(values)
    largest = max(float(each.abs().max()) if each.numel() else 0.0 for each in (found, *others))
    return found.to(torch.float64) if largest > FAR else found


def weighted_mean(
    stack: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"]
) -> Float[Tensor, "samples dim"]:
    """The sum of the messages, each times its weight: their mean where the weights sum to 1.

    They are added one by one in their order: the rounding of a BLAS product may depend on memory alignment, so that two
    processes could differ in the last bit.
    """
    mean = torch.zeros_like(stack[0])
    for weight, outputs in zip(weights, stack, strict=True):
        mean = mean + weight * outputs
    return mean
