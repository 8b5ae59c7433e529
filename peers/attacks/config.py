"""The settings of liars: `peers.adversaries`, who they are, and what they send in place of their outputs."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from peers.attacks import local, omniscient
from peers.attacks.brought import ImportedAttack
from peers.attacks.scene import Attack as Attack
from peers.attacks.scene import Omniscient, Outputs
from peers.attacks.scene import Scene as Scene
from peers.base.section import Factor, Section


class Random(Attack):
    """Independent normal noise; of distributions, its softmax."""

    kind: Literal["random"] = "random"
    sigma: Factor = Field(1.0, description="standard deviation")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return local.random(scene.own, self.sigma, scene.distribution, rng)


class SignFlip(Attack):
    """The negative outputs; of distributions, (1 - p) / (dim - 1)."""

    kind: Literal["sign-flip"] = "sign-flip"

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return local.sign_flip(scene.own, scene.distribution)


class Constant(Attack):
    """Always the same output, or the uniform distribution (zeros)."""

    kind: Literal["constant"] = "constant"
    output: int = Field(-1, ge=-1, strict=True, description="index of the output that is 1; -1: uniform")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return local.constant(scene.own, self.output, scene.distribution)


class PermutedOutputs(Attack):
    """The outputs in another order, the same for all samples and rounds."""

    kind: Literal["permuted-outputs"] = "permuted-outputs"

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return local.permuted_outputs(scene.own)


class PermutedSamples(Attack):
    """Each sample's outputs in the place of another's."""

    kind: Literal["permuted-samples"] = "permuted-samples"

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return local.permuted_samples(scene.own, scene.views, rng)


class FreeRider(Attack):
    """Its first message for ever: outputs about other images; or, as a checkpoint, a teacher that is never renewed."""

    kind: Literal["free-rider"] = "free-rider"
    keeps_first: ClassVar[bool] = True

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return scene.own if scene.first is None else scene.first.to(scene.own)


class ALIE(Omniscient):
    """A little is enough: the honest mean less z standard deviations (Baruch et al. 2019)."""

    kind: Literal["alie"] = "alie"
    z: Factor = Field(1.5, description="standard deviations")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.a_little_is_enough(scene.honest, scene.weights, self.z, scene.distribution)


class IPM(Omniscient):
    """Inner product manipulation: the honest mean times -epsilon (Xie et al. 2020)."""

    kind: Literal["ipm"] = "ipm"
    epsilon: Factor = Field(2.0, description="factor")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.inner_product(scene.honest, scene.weights, self.epsilon, scene.distribution)


class Copycat(Omniscient):
    """Repeats one honest peer (Mimic, Karimireddy et al. 2022)."""

    kind: Literal["copycat"] = "copycat"
    peer: int = Field(0, ge=0, strict=True, description="place of the honest peer among those that the student hears")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return scene.honest[min(self.peer, len(scene.honest) - 1)]


class LMA(Omniscient):
    """One-hot at the output that the honest mean finds least likely (Roux et al. 2025)."""

    kind: Literal["lma"] = "lma"
    needs_outputs: ClassVar[bool] = True

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.least_likely(scene.honest, scene.weights, scene.distribution)


class CPA(Omniscient):
    """One-hot at the output that is least similar to the honest mean's top one (Roux et al. 2025)."""

    kind: Literal["cpa"] = "cpa"
    needs_outputs: ClassVar[bool] = True

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.least_similar(scene.honest, scene.weights, scene.distribution)


class HIPS(Omniscient):
    """For each sample the honest peer's own outputs that harm most (Roux et al. 2025)."""

    kind: Literal["hips"] = "hips"
    needs_outputs: ClassVar[bool] = True

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.most_harmful(scene.honest, scene.weights, scene.lies_weight, scene.distribution)


class Dissensus(Omniscient):
    """Pushes the student away from its honest neighbours (He et al. 2022)."""

    kind: Literal["dissensus"] = "dissensus"
    epsilon: Factor = Field(1.0, description="strength")

    def made(self, scene: Scene, rng: np.random.Generator) -> Outputs:
        return omniscient.dissensus(
            scene.honest, scene.weights, scene.student, self.epsilon, scene.lies_weight, scene.distribution
        )


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
    | Dissensus
    | ImportedAttack,
    Field(discriminator="kind"),
]


class Adversaries(Section):
    """Some peers that lie in the same way. They learn as all others do; only what they send is false."""

    peers: tuple[int, ...] = Field(min_length=1, description="indices of the peers")
    attack: AttackConfig = Field(description="what they send")
    from_round: int = Field(0, ge=0, strict=True, description="the first round in which they lie")
    share: float = Field(1.0, gt=0, le=1, description="share of rounds in which each of them lies, drawn at random")
