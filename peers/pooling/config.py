"""How a student pools its teachers' messages: `exchange.aggregation`, `exchange.memory`, `exchange.trust`."""

import math
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from peers.base.means import weighted_mean
from peers.base.section import Factor, Variant
from peers.pooling import clipping, coordinate_wise, geometric, selections
from peers.pooling import cronus as filters
from peers.pooling.aggregation import Aggregation as Aggregation
from peers.pooling.aggregation import Outputs, Stack, Weights
from peers.pooling.aggregation import Pooled as Pooled
from peers.pooling.brought import GivenAggregation, ImportedAggregation
from peers.pooling.confidence import agreement

Pool = tuple[Outputs, Weights]


class Mean(Aggregation):
    """The weighted mean."""

    kind: Literal["mean"] = "mean"
    robust: ClassVar[bool] = False

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return weighted_mean(stack, weights), weights


class Median(Aggregation):
    """The median, entry by entry, of the weights that the topology gives (Yin et al. 2018)."""

    kind: Literal["median"] = "median"
    leaves_simplex: ClassVar[bool] = True

    def needs(self) -> int:
        return 3  # that of two is their mean

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return coordinate_wise.median(stack, weights)


class TrimmedMean(Aggregation):
    """The mean of what is left, entry by entry, without the b largest and the b smallest (Yin et al. 2018)."""

    kind: Literal["trimmed-mean"] = "trimmed-mean"
    leaves_simplex: ClassVar[bool] = True
    b: int = Field(1, ge=0, strict=True, description="entries left out on either side")

    def needs(self) -> int:
        return 2 * self.b + 1

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return coordinate_wise.trimmed_mean(stack, weights, self.b)


class GeometricMedian(Aggregation):
    """The point with the least sum of distances to all messages (Weiszfeld 1937; smoothed, Pillutla et al. 2022)."""

    kind: Literal["geometric-median"] = "geometric-median"
    per_sample: bool = Field(False, description="for each sample by itself, rather than for whole messages")
    nu: Factor = Field(0.1, description="smoothing: the least distance that a weight is divided by")
    iterations: int = Field(3, ge=1, strict=True, description="steps of Weiszfeld's algorithm")

    def needs(self) -> int:
        return 3  # of two, every point between them has the same sum of distances

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return geometric.geometric_median(stack, weights, self.nu, self.iterations, self.per_sample)


class _Selection(Aggregation):
    per_sample: bool = Field(False, description="distances for each sample by itself, rather than of whole messages")


class Krum(_Selection):
    """The message that is closest to its T - f - 1 nearest others (Blanchard et al. 2017; Allouah et al. 2023)."""

    kind: Literal["krum"] = "krum"
    f: int = Field(1, ge=0, strict=True, description="liars among the teachers that the rule bears")

    def needs(self) -> int:
        return 2 * self.f + 1

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return selections.krum(stack, weights, self.f, self.per_sample)


class MultiKrum(_Selection):
    """The mean of the m messages that are best by Krum's score (Blanchard et al. 2017)."""

    kind: Literal["multi-krum"] = "multi-krum"
    f: int = Field(1, ge=0, strict=True, description="liars among the teachers that the rule bears")
    m: int = Field(0, ge=0, strict=True, description="messages that are averaged; 0: all teachers but f")

    def needs(self) -> int:
        return max(2 * self.f + 1, self.m + self.f)

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return selections.multi_krum(stack, weights, self.f, self.m, self.per_sample)


class Nearest(_Selection):
    """The mean of the messages that are nearest to the student's own outputs, all but f (MoNNA, Farhadkhani 2023)."""

    kind: Literal["nearest"] = "nearest"
    f: int = Field(1, ge=0, strict=True, description="messages that are left out")

    def needs(self) -> int:
        return 2 * self.f + 1

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return selections.nearest(own, stack, weights, self.f, self.per_sample)


class SelfCentredClipping(_Selection):
    """The student's own outputs, moved by the mean of the differences of the others, each clipped at tau (He 2022)."""

    kind: Literal["self-centred-clipping"] = "self-centred-clipping"
    tau: Factor | Literal["adaptive"] = Field(
        "adaptive", description="largest length of a difference; adaptive: the second largest distance of a teacher"
    )

    def needs(self) -> int:
        return 2 if self.tau == "adaptive" else 1

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return clipping.self_centred_clipping(own, stack, weights, self.tau, self.per_sample)


class Cronus(Aggregation):
    """For each sample the mean after outliers along the main direction of the covariance are dropped, twice (2019)."""

    kind: Literal["cronus"] = "cronus"
    alpha: float = Field(0.4, ge=1.2e-38, lt=1, description="twice the share of messages that is dropped each time")

    def needs(self) -> int:
        return math.ceil(2 / self.alpha - 1e-9)  # with fewer, nothing is dropped

    def pooled(self, own: Outputs, stack: Stack, weights: Weights) -> Pool:
        return filters.cronus(stack, weights, self.alpha)


AggregationConfig = Annotated[
    Mean
    | Median
    | TrimmedMean
    | GeometricMedian
    | Krum
    | MultiKrum
    | Nearest
    | SelfCentredClipping
    | Cronus
    | ImportedAggregation
    | GivenAggregation,
    Field(discriminator="kind"),
]


class NoTrust(Variant):
    """Every teacher has the weight that the topology gives it."""

    kind: Literal["none"] = "none"


class SelfAgreement(Variant):
    """A teacher's weight grows with the agreement of its answers on its own two views of the same images."""

    kind: Literal["self-agreement"] = "self-agreement"
    sharpness: float = Field(8.0, gt=0, le=1e6, description="the weight is multiplied by exp(sharpness x agreement)")

    def agreement(self, outputs: Outputs, num_views: int) -> Float[Tensor, ""]:
        """In 0..1; see `confidence.agreement`."""
        return agreement(outputs, num_views)


TrustConfig = Annotated[NoTrust | SelfAgreement, Field(discriminator="kind")]
