"""A rule of pooling that users bring."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from peers.base.brought import Brought, Given, Imported, call
from peers.base.brought_errors import BroughtError, explained
from peers.pooling.aggregation import Aggregation

TAKES = "(own, messages, weights)"


def mean_of(own: Float[Tensor, "samples dim"], stack: Float[Tensor, "teachers samples dim"], weights: Tensor) -> Tensor:
    """The mean of the messages, as an example of a rule of one's own."""
    return stack.mean(dim=0)


class BroughtAggregation(Brought, Aggregation):
    """A rule of the user's own: (own [samples, dim], messages [teachers, samples, dim], weights) -> [samples, dim].

    Which messages it used is not known: nothing is told of them.
    """

    field: ClassVar[str] = "exchange.aggregation"
    leaves_simplex: ClassVar[bool] = True
    tells_used: ClassVar[bool] = False

    def pooled(
        self,
        own: Float[Tensor, "samples dim"],
        stack: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
    ) -> tuple[Float[Tensor, "samples dim"], Float[Tensor, " teachers"]]:
        with explained(self.origin):
            found = call(self.origin, TAKES, self.bring(), own, stack.clone(), weights.clone())
        if not isinstance(found, Tensor) or found.shape != own.shape or not found.is_floating_point():
            is_tensor = isinstance(found, Tensor)
            what = f"{found.dtype} of shape {tuple(found.shape)}" if is_tensor else f"a {type(found).__name__}"
            raise BroughtError(
                f"{self.origin}: must return the pooled outputs, of shape {tuple(own.shape)}, got {what}: keep samples "
                "and outputs"
            )
        if not bool(torch.isfinite(found).all()):
            raise BroughtError(
                f"{self.origin}: must return finite numbers, got NaN or infinite ones: guard divisions and logarithms"
            )
        return found.to(stack), weights


class ImportedAggregation(Imported, BroughtAggregation):
    """A rule of your own: a function (own outputs, messages, weights) -> pooled outputs, or a class of such."""

    @classmethod
    def example(cls) -> "ImportedAggregation":
        return cls(target="peers.pooling.brought:mean_of")


class GivenAggregation(Given, BroughtAggregation):
    """A rule that was given from Python, as a run's own config says; no file can ask for it."""

    argument: ClassVar[str] = "aggregation"

    @classmethod
    def example(cls) -> "GivenAggregation":
        return cls.of(mean_of)
