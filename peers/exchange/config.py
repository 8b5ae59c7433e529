"""The `[exchange]` section, and the distillation loss that it describes."""

from typing import Annotated, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor

from peers.base.section import Section
from peers.exchange import objectives
from peers.exchange.wire import Wire, WireDtype

Batch = Float[Tensor, "batch dim"]
Centre = Float[Tensor, " dim"]
Temperature = Annotated[float, Field(gt=0)]


# ---- target transforms: what a teacher's outputs become before a student sees them ----


class Tempered(Section):
    """A transform of the outputs themselves, and a softmax at a temperature where the loss wants a distribution."""

    temperature: Temperature = 1.0
    makes_probs: ClassVar[bool] = False

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return outputs

    def probs(self, logits: Batch, centre: Centre) -> Batch:
        return torch.softmax(self.vector(logits, centre) / self.temperature, dim=-1)


class PlainTarget(Tempered):
    kind: Literal["none"] = "none"


class CentredTarget(Tempered):
    """DINO's running centre. Source: Caron et al. 2021."""

    kind: Literal["centre"] = "centre"
    temperature: Temperature = 0.04
    momentum: float = Field(0.9, ge=0, lt=1)

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return objectives.centre(outputs, centre)


class StandardisedTarget(Tempered):
    """Every output to mean 0 and standard deviation 1 over the batch."""

    kind: Literal["standardise"] = "standardise"

    def vector(self, outputs: Batch, centre: Centre) -> Batch:
        return objectives.standardise(outputs)


class SinkhornTarget(Section):
    """Balanced assignments. Sources: Cuturi 2013; Caron et al. 2020 (SwAV)."""

    kind: Literal["sinkhorn"] = "sinkhorn"
    epsilon: float = Field(0.05, gt=0)
    iterations: int = Field(3, ge=1)
    makes_probs: ClassVar[bool] = True
    temperature: ClassVar[None] = None

    def probs(self, logits: Batch, centre: Centre) -> Batch:
        return objectives.sinkhorn(logits, self.epsilon, self.iterations)


TargetConfig = Annotated[PlainTarget | CentredTarget | StandardisedTarget | SinkhornTarget, Field(discriminator="kind")]


# ---- losses ----


class VectorLoss(Section):
    """Compares the exchanged vectors themselves."""

    kind: Literal["mse", "salient", "cosine"]

    def __call__(self, student: Batch, target: Batch) -> Float[Tensor, ""]:
        loss = {"mse": objectives.mse, "salient": objectives.salient, "cosine": objectives.cosine}[self.kind]
        return loss(student, target)


class DistributionLoss(Section):
    """Compares distributions: the student's softmax at `temperature` with the target's probabilities.

    kl is multiplied by both temperatures (Hinton's T^2 where they are equal), except on sinkhorn targets, which have
    none; cross-entropy and js are not. It matters to SGD, clipping and `supervised`, not to Adam.
    """

    kind: Literal["kl", "cross-entropy", "js"]
    temperature: Temperature = 1.0

    def __call__(
        self, student_logits: Batch, target_probs: Batch, target_temperature: float | None
    ) -> Float[Tensor, ""]:
        if self.kind == "kl":
            return objectives.kl(student_logits, target_probs, self.temperature, target_temperature)
        loss = objectives.cross_entropy if self.kind == "cross-entropy" else objectives.js
        return loss(student_logits, target_probs, self.temperature)


VECTOR_LOSSES = get_args(VectorLoss.model_fields["kind"].annotation)
LossConfig = Annotated[VectorLoss | DistributionLoss, Field(discriminator="kind")]


class ExchangeConfig(Section):
    what: Literal["probabilities", "logits", "features"] = "logits"
    dtype: WireDtype = "float32"
    top_k: int = Field(0, ge=0, strict=True, description="largest probabilities of a sample that are sent; 0: all")
    target: TargetConfig = StandardisedTarget(temperature=0.5)
    loss: LossConfig = DistributionLoss(kind="kl", temperature=0.1)
    pool: Literal["outputs", "losses"] = Field("outputs", description="mean over teachers of outputs or of losses")
    pooling: Literal["per-edge", "shared-sum"] = Field(
        "per-edge", description="shared-sum: a round's messages are added up once, on a complete graph"
    )
    roles: Literal["every-peer", "one-student"] = "every-peer"
    supervised: float = Field(0.0, ge=0, description="weight of the cross-entropy on labels")
    refresh_every: int = Field(
        1,
        ge=0,
        strict=True,
        description="a peer teaches with a snapshot of itself renewed every so many rounds; 0: never",
    )
    teacher_ema: float = Field(
        0.0, ge=0, lt=1, description="a peer teaches with the moving average of its weights, of this momentum"
    )

    @model_validator(mode="before")
    @classmethod
    def _target_of_the_loss(cls, values: object) -> object:
        """The target, where it is left out, is one that the loss takes: vectors have no temperature."""
        if not isinstance(values, dict) or "target" in values:
            return values
        loss = values.get("loss")
        kind = loss.get("kind") if isinstance(loss, dict) else getattr(loss, "kind", None)
        if kind not in VECTOR_LOSSES:
            return values
        default = PlainTarget() if values.get("what") == "probabilities" else StandardisedTarget()
        return {**values, "target": default}

    @classmethod
    def unfitting(cls, values: dict[str, object], key: str) -> list[str]:
        """Settings of the section that do not go with the one at `key`, which was just changed by an override."""
        loss, target = values.get("loss"), values.get("target")
        if key not in ("loss", "loss.kind") or not isinstance(loss, dict) or not isinstance(target, dict):
            return []
        return ["target.temperature"] if loss.get("kind") in VECTOR_LOSSES and "temperature" in target else []

    @model_validator(mode="after")
    def _check(self) -> "ExchangeConfig":
        if self.refresh_every != 1 and self.teacher_ema:
            raise ValueError(
                f"exchange.teacher_ema is {self.teacher_ema:g} and exchange.refresh_every is {self.refresh_every}, but "
                "a teacher is either a moving average or a snapshot: leave one of them out"
            )
        vector_loss = isinstance(self.loss, VectorLoss)
        if vector_loss and self.target.makes_probs:
            raise ValueError(
                f"exchange.target '{self.target.kind}' makes probabilities, which exchange.loss '{self.loss.kind}' "
                "does not compare: use kl, cross-entropy or js"
            )
        if vector_loss and self.what == "probabilities" and self.target.kind != "none":
            raise ValueError(
                f"exchange.loss '{self.loss.kind}' on probabilities takes exchange.target 'none', "
                f"got '{self.target.kind}': set exchange.target to {{ kind = 'none' }}"
            )
        if vector_loss and isinstance(self.target, Tempered) and self.target.temperature != 1:
            raise ValueError(
                f"exchange.target.temperature is {self.target.temperature:g}, which exchange.loss '{self.loss.kind}' "
                "does not use: set exchange.target.temperature to 1"
            )
        if self.top_k and self.what != "probabilities":
            raise ValueError(
                f"exchange.top_k is {self.top_k}, which is for distributions, but exchange.what is '{self.what}': set "
                "it to probabilities, or exchange.top_k to 0"
            )
        if self.pooling == "shared-sum" and self.pool == "losses":
            raise ValueError(
                "exchange.pooling 'shared-sum' adds the outputs up, but exchange.pool 'losses' compares with each "
                "teacher: set exchange.pool to outputs, or exchange.pooling to per-edge"
            )
        if self.supervised and self.what == "features":
            raise ValueError("exchange.supervised needs class logits: set exchange.what to logits or probabilities")
        return self

    @property
    def separate_teacher(self) -> bool:
        """Whether a peer teaches with other weights than those it studies with."""
        return self.refresh_every != 1 or self.teacher_ema > 0

    @property
    def student_temperature(self) -> float:
        """The temperature at which the students' outputs become distributions, in losses and measures alike."""
        return self.loss.temperature if isinstance(self.loss, DistributionLoss) else 1.0

    def exchanged(self, features: Float[Tensor, "batch features"], outputs: Float[Tensor, "batch outputs"]) -> Batch:
        """Which result of a forward pass peers exchange and are compared by: its features, or its outputs (logits)."""
        return features if self.what == "features" else outputs

    def sent(self, exchanged: Batch) -> Batch:
        """The form in which that is sent: softmax probabilities, or as it is."""
        return torch.softmax(exchanged, dim=-1) if self.what == "probabilities" else exchanged

    @property
    def wire(self) -> Wire:
        """The format of messages."""
        return Wire(self.dtype, self.top_k)

    @property
    def keeps_centre(self) -> bool:
        return isinstance(self.target, CentredTarget)

    def loss_of(
        self,
        features: Float[Tensor, "batch features"],
        outputs: Float[Tensor, "batch outputs"],
        teachers: Float[Tensor, "teachers batch dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
        labels: Int64[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """What a student minimises: the distillation loss, plus `supervised` times the cross-entropy on labels."""
        loss = self.distillation_loss(self.exchanged(features, outputs), teachers, weights, centre)
        if self.supervised:
            loss = loss + self.supervised * torch.nn.functional.cross_entropy(outputs, labels)
        return loss

    def distillation_loss(
        self,
        student: Batch,
        teachers: Float[Tensor, "teachers batch dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
    ) -> Float[Tensor, ""]:
        """The loss of a student's `exchanged` outputs against those of its teachers; only the student gets gradients.

        `pool = "outputs"` compares with the weighted mean of the teachers' outputs, taken before the target's
        transform; `"losses"` averages one loss per teacher (the paper's). The gradients agree for MSE, and for KL and
        cross-entropy on probabilities that are not transformed. `weights` sum to 1.
        """
        teachers = teachers.detach()
        if self.pool == "outputs":
            return self._loss_to(student, objectives.average_teachers(teachers, weights), centre)
        losses = [self._loss_to(student, teacher, centre) for teacher in teachers]
        return (torch.stack(losses) * weights).sum()

    def _loss_to(self, student: Batch, target: Batch, centre: Centre) -> Float[Tensor, ""]:
        if isinstance(self.loss, VectorLoss):
            assert not isinstance(self.target, SinkhornTarget)
            return self.loss(self.sent(student), self.target.vector(target, centre))
        return self.loss(student, self.target.probs(self._logits(target), centre), self.target.temperature)

    def updated_centre(
        self, centre: Centre, teachers: Float[Tensor, "teachers batch dim"], weights: Float[Tensor, " teachers"]
    ) -> Centre:
        """The running centre after a batch, as a new tensor; the old one if the target has no centre."""
        if not isinstance(self.target, CentredTarget):  # as keeps_centre says
            return centre
        if self.pool == "outputs":  # the centre of the very logits that it is subtracted from
            batch_mean = self._logits(objectives.average_teachers(teachers, weights)).mean(dim=0)
        else:
            means = torch.stack([self._logits(teacher).mean(dim=0) for teacher in teachers])
            batch_mean = (means * weights[:, None]).sum(dim=0)
        return objectives.update_centre(centre, batch_mean, self.target.momentum)

    def _logits(self, received: Batch) -> Batch:
        return objectives.probs_to_logits(received) if self.what == "probabilities" else received
