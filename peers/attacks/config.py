"""The settings of liars: `peers.adversaries`, who they are, and what they send in place of their outputs."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from peers.base.section import Section, Variant

Outputs = Float[Tensor, "samples dim"]


@dataclass(frozen=True)
class Scene:
    """What an attack is made of.

    own: what the liar would have sent. honest: the honest messages that the attacked student hears of these samples,
    its own among them where it pools itself; empty for an attack that is not omniscient. weights: of the honest ones in
    the student's pool. student: the student's own outputs. distribution: whether rows are distributions. liars: how many
    of the student's teachers lie. lies_weight: their weight in its pool. views: the samples are this many views of the
    same images, one after the other. first: the liar's first message of all.
    """

    own: Outputs
    honest: Float[Tensor, "honest samples dim"]
    weights: Float[Tensor, " honest"]
    student: Outputs
    distribution: bool
    liars: int = 1
    lies_weight: float = 0.0
    views: int = 1
    first: Outputs | None = None


class Attack(Variant):
    """What a liar sends: a pure function.

    omniscient: whether it sees the honest messages, so that it is made where the student pools them; else it is made
    where the liar publishes. on_logits: whether it is also for logits and features. keeps_first: whether it needs the
    liar's first message.
    """

    omniscient: ClassVar[bool] = False
    keeps_first: ClassVar[bool] = False

    def lie(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        """The lie; of the form of `scene.own`, and distributions where those are."""
        raise NotImplementedError


class Random(Attack):
    """Independent normal noise; of distributions, its softmax."""

    kind: Literal["random"] = "random"
    sigma: float = Field(1.0, gt=0, description="standard deviation")


class SignFlip(Attack):
    """The negative outputs; of distributions, (1 - p) / (dim - 1)."""

    kind: Literal["sign-flip"] = "sign-flip"


class Constant(Attack):
    """Always the same output, or the uniform distribution (zeros)."""

    kind: Literal["constant"] = "constant"
    output: int = Field(-1, ge=-1, strict=True, description="index of the output that is 1; -1: uniform")


class PermutedOutputs(Attack):
    """The outputs in another order, the same for all samples and rounds."""

    kind: Literal["permuted-outputs"] = "permuted-outputs"


class PermutedSamples(Attack):
    """Each sample's outputs in the place of another's."""

    kind: Literal["permuted-samples"] = "permuted-samples"


class FreeRider(Attack):
    """Its first message for ever. It is our never-renewed teacher, and may help."""

    kind: Literal["free-rider"] = "free-rider"
    keeps_first: ClassVar[bool] = True


class Omniscient(Attack):
    omniscient: ClassVar[bool] = True


class ALIE(Omniscient):
    """A little is enough: the honest mean less z standard deviations (Baruch et al. 2019)."""

    kind: Literal["alie"] = "alie"
    z: float = Field(1.5, gt=0, description="standard deviations")


class IPM(Omniscient):
    """Inner product manipulation: the honest mean times -epsilon (Xie et al. 2020)."""

    kind: Literal["ipm"] = "ipm"
    epsilon: float = Field(2.0, gt=0, description="factor")


class Copycat(Omniscient):
    """Repeats one honest peer (Mimic, Karimireddy et al. 2022)."""

    kind: Literal["copycat"] = "copycat"
    peer: int = Field(0, ge=0, strict=True, description="place of the honest peer among those that the student hears")


class LMA(Omniscient):
    """One-hot at the output that the honest mean finds least likely (Roux et al. 2025)."""

    kind: Literal["lma"] = "lma"


class CPA(Omniscient):
    """One-hot at the output that is least similar to the honest mean's top one (Roux et al. 2025)."""

    kind: Literal["cpa"] = "cpa"


class HIPS(Omniscient):
    """For each sample the honest peer's own outputs that harm most (Roux et al. 2025)."""

    kind: Literal["hips"] = "hips"


class Dissensus(Omniscient):
    """Pushes the student away from its honest neighbours (He et al. 2022)."""

    kind: Literal["dissensus"] = "dissensus"
    epsilon: float = Field(1.0, gt=0, description="strength")


AttackConfig = Annotated[
    Random
    | SignFlip
    | Constant
    | PermutedOutputs
    | PermutedSamples
    | FreeRider
    | ALIE
    | IPM
    | Copycat
    | LMA
    | CPA
    | HIPS
    | Dissensus,
    Field(discriminator="kind"),
]


class Adversaries(Section):
    """Some peers that lie in the same way. They learn as all others do; only what they send is false."""

    peers: tuple[int, ...] = Field(min_length=1, description="indices of the peers")
    attack: AttackConfig = Field(description="what they send")
    from_round: int = Field(0, ge=0, strict=True, description="the first round in which they lie")
    share: float = Field(1.0, gt=0, le=1, description="share of rounds in which each of them lies, drawn at random")
