"""How a student pools its teachers' messages: `exchange.aggregation`, `exchange.memory`, `exchange.trust`."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from peers.base.section import Variant

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

    robust: whether it is another rule than the weighted mean, so that it needs all messages at once.
    """

    robust: ClassVar[bool] = True

    def needs(self) -> int:
        """The least number of teachers of a student, its own share among them, that the rule makes sense for."""
        return 1

    def pool(self, own: Outputs, stack: Stack, weights: Weights, distribution: bool) -> Pooled:
        """The pooled outputs.

        own: the student's own outputs as a reader would get them. weights: sum to 1; what a rule that has no use for
        them ignores. distribution: whether rows are distributions, so that the result is clipped at 0 and renormalised.
        Fewer teachers than `needs()`, as after dropouts: the largest number of liars that the rule can bear.
        """
        raise NotImplementedError


class Mean(Aggregation):
    """The weighted mean."""

    kind: Literal["mean"] = "mean"
    robust: ClassVar[bool] = False


class Median(Aggregation):
    """The median, entry by entry (Yin et al. 2018)."""

    kind: Literal["median"] = "median"


class TrimmedMean(Aggregation):
    """The mean of what is left, entry by entry, without the b largest and the b smallest (Yin et al. 2018)."""

    kind: Literal["trimmed-mean"] = "trimmed-mean"
    b: int = Field(1, ge=0, strict=True, description="entries left out on either side")


class GeometricMedian(Aggregation):
    """The point with the least sum of distances to all messages (Weiszfeld 1937; smoothed, Pillutla et al. 2022)."""

    kind: Literal["geometric-median"] = "geometric-median"
    per_sample: bool = Field(False, description="for each sample by itself, rather than for whole messages")
    nu: float = Field(0.1, gt=0, description="smoothing: the least distance that a weight is divided by")
    iterations: int = Field(3, ge=1, strict=True, description="steps of Weiszfeld's algorithm")


class _Selection(Aggregation):
    per_sample: bool = Field(False, description="distances for each sample by itself, rather than of whole messages")


class Krum(_Selection):
    """The message that is closest to its T - f - 2 nearest others (Blanchard et al. 2017)."""

    kind: Literal["krum"] = "krum"
    f: int = Field(1, ge=0, strict=True, description="liars among the teachers that the rule bears")


class MultiKrum(_Selection):
    """The mean of the m messages that are best by Krum's score (Blanchard et al. 2017)."""

    kind: Literal["multi-krum"] = "multi-krum"
    f: int = Field(1, ge=0, strict=True, description="liars among the teachers that the rule bears")
    m: int = Field(0, ge=0, strict=True, description="messages that are averaged; 0: all teachers but f")


class Nearest(_Selection):
    """The mean of the messages that are nearest to the student's own outputs, all but f (MoNNA, Farhadkhani 2023)."""

    kind: Literal["nearest"] = "nearest"
    f: int = Field(1, ge=0, strict=True, description="messages that are left out")


class SelfCentredClipping(_Selection):
    """The student's own outputs, moved by the mean of the differences of the others, each clipped at tau (He 2022)."""

    kind: Literal["self-centred-clipping"] = "self-centred-clipping"
    tau: float | Literal["adaptive"] = Field(
        "adaptive", description="largest length of a difference; adaptive: the second largest distance of a teacher"
    )


class Cronus(Aggregation):
    """For each sample the mean after outliers along the main direction of the covariance are dropped, twice (2019)."""

    kind: Literal["cronus"] = "cronus"
    alpha: float = Field(0.4, gt=0, lt=1, description="twice the share of messages that is dropped each time")


AggregationConfig = Annotated[
    Mean | Median | TrimmedMean | GeometricMedian | Krum | MultiKrum | Nearest | SelfCentredClipping | Cronus,
    Field(discriminator="kind"),
]


class NoTrust(Variant):
    """Every teacher has the weight that the topology gives it."""

    kind: Literal["none"] = "none"


class SelfAgreement(Variant):
    """A teacher's weight grows with the agreement of its answers on its own two views of the same images."""

    kind: Literal["self-agreement"] = "self-agreement"
    sharpness: float = Field(8.0, gt=0, description="the weight is multiplied by exp(sharpness x agreement)")

    def agreement(self, outputs: Outputs, num_views: int) -> Float[Tensor, ""]:
        """In 0..1; see the class."""
        raise NotImplementedError


TrustConfig = Annotated[NoTrust | SelfAgreement, Field(discriminator="kind")]


def uniform(num_teachers: int, device: torch.device) -> Weights:
    return torch.full((num_teachers,), 1 / num_teachers, device=device)
