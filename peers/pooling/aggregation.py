"""What every rule of pooling is: messages in, one common answer out."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.means import roomy, wide
from peers.base.section import Variant
from peers.pooling.averages import normalised, on_simplex

Outputs = Float[Tensor, "samples dim"]
Stack = Float[Tensor, "teachers samples dim"]
Weights = Float[Tensor, " teachers"]


@dataclass(frozen=True)
class Pooled:
    """outputs: what the student takes as its teachers' common answer. used: the share of each message in it.

    `used` sums to 1; 0: the message was dropped. A rule that works entry by entry says the share of entries.
    """

    outputs: Outputs
    used: Weights


class Aggregation(Variant):
    """A rule that pools messages: a pure function, without gradients.

    robust: whether it is another rule than the weighted mean, so that it needs all messages at once. leaves_simplex:
    whether the pool of distributions may be no distribution. tells_used: whether `used` is known.
    """

    robust: ClassVar[bool] = True
    leaves_simplex: ClassVar[bool] = False
    tells_used: ClassVar[bool] = True

    def needs(self) -> int:
        """The least number of teachers of a student, its own share among them, that the rule makes sense for."""
        return 1

    def pool(self, own: Outputs, stack: Stack, weights: Weights, distribution: bool) -> Pooled:
        """The pooled outputs, in float32 at least.

        own: the student's own outputs as a reader would get them. weights: sum to 1; what a rule that has no use for
        them ignores. distribution: whether rows are distributions, so that the result is clipped at 0 and renormalised.
        Fewer teachers than `needs()`, as after dropouts: the largest number of liars that the rule can bear.
        """
        with torch.no_grad():
            messages = roomy(stack, own).contiguous()
            outputs, used = self.pooled(own.to(messages), messages, normalised(weights.to(messages.dtype)))
            outputs = on_simplex(outputs) if distribution and self.leaves_simplex else outputs
            dtype = wide(stack).dtype  # distances of far messages take float64, the answer does not
            return Pooled(outputs.to(dtype), used.to(dtype))

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> tuple[Outputs, Weights]:
        """`pool` of messages in float32 (in float64 if far away), before distributions are clipped and renormalised."""
        raise NotImplementedError
