"""The `[exchange]` section, and the distillation loss that it describes."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from peers.base.section import Section, Weight
from peers.exchange.comparison import Comparison
from peers.exchange.losses import (
    DISTRIBUTION_LOSSES,
    KL,
    VECTOR_LOSSES,
    BroughtLoss,
    DistributionLoss,
    LossConfig,
    VectorLoss,
    any_of,
)
from peers.exchange.student_loss import StudentLoss
from peers.exchange.targets import (
    CentredTarget,
    PlainTarget,
    StandardisedTarget,
    TargetConfig,
    Tempered,
)
from peers.exchange.wire import Wire, WireDtype
from peers.pooling.config import AggregationConfig, Mean, NoTrust, TrustConfig

Batch = Float[Tensor, "samples dim"]


class ExchangeConfig(StudentLoss, Section):
    what: Literal["probabilities", "logits", "features"] = Field(
        "logits", description="what a peer sends of each image: logits, their softmax, or the encoder's features"
    )
    dtype: WireDtype = Field("float32", description="number format of messages; int8 is scaled for each sample")
    top_k: int = Field(
        0,
        ge=0,
        strict=True,
        description="number of largest probabilities sent of each sample; what is left of its mass is spread evenly "
        "over the other outputs; 0: all; needs what = probabilities",
    )
    target: TargetConfig = Field(
        StandardisedTarget(temperature=0.5),
        description="transform of the teachers' outputs into the student's target; left out with "
        f"{any_of(VECTOR_LOSSES)}: standardise at temperature 1, or none where probabilities are sent",
    )
    loss: LossConfig = Field(KL(temperature=0.1), description="what a student minimises")
    average: Literal["outputs", "losses"] = Field(
        "outputs", description="what is averaged over a student's teachers: their outputs, or a loss for each of them"
    )
    delivery: Literal["per-edge", "shared-sum"] = Field(
        "per-edge",
        description="how messages reach students: one for each link; or, on a complete graph, the sum of a round's "
        "messages, from which a student takes its own away: O(n) instead of O(n^2), equal up to rounding",
    )
    roles: Literal["every-peer", "one-student"] = Field(
        "every-peer", description="who learns in a round: all whom the topology gives teachers, or a random one of them"
    )
    supervised: Weight = Field(
        0.0, description="weight of the cross-entropy on labels, added to the loss; 0: labels are not used"
    )
    refresh_every: int = Field(
        1,
        ge=0,
        strict=True,
        description="rounds between two renewals of the snapshot of itself that a peer teaches with; 1: it teaches as "
        "it is; 0: never renewed, it teaches as it was before the first round",
    )
    teacher_ema: float = Field(
        0.0, ge=0, lt=1, description="momentum of the moving average of its weights that a peer teaches with; 0: none"
    )

    teacher_anchor: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how far the weights that a peer teaches with have moved from its first ones to its moving average "
        "(its own, with teacher_ema = 0): (1 - a) x first + a x average",
    )
    self_loss: Weight = Field(
        0.0,
        description="weight of a term in which a peer's own outputs on a second view of the images are its target; "
        "every message then is about two views of each image. With KL both terms are multiplied by their temperatures, "
        "with a sinkhorn or sharpen target they are not",
    )
    self_target: TargetConfig | None = Field(
        None, description="transform of its own outputs in that term; left out: that of exchange.target"
    )
    target_self_share: float = Field(
        0.0, ge=0, lt=1, description="share of a peer's own second view in its target; the rest is its teachers'"
    )
    views: Literal[0, 1, 2] = Field(
        0,
        description="views of each image in a round; with two, the target of each is made of the other; 0: two where "
        "self_loss, target_self_share or trust need them, else one",
    )
    aggregation: AggregationConfig = Field(Mean(), description="how a student pools its teachers' messages")
    memory: Literal["none", "expguard"] = Field(
        "none",
        description="weights of teachers that follow their past: expguard, multiplied in every round by exp(-0.1 x "
        "(outlier score - least score of those heard)), and scaled so that the best has 1 (Roux et al. 2025)",
    )
    trust: TrustConfig = Field(NoTrust(), description="weights of teachers by what their messages say, without labels")
    confident_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the samples that a teacher labels: those with its highest maximal probability (IDKD, "
        "arXiv 2304.04326); a sample that nobody labels is not learned; 1: all",
    )

    @model_validator(mode="before")
    @classmethod
    def _target_of_the_loss(cls, values: object) -> object:
        """A missing target gets a default that suits the loss: vector losses use no temperature."""
        if not isinstance(values, dict) or "target" in values:
            return values
        loss = values.get("loss")
        kind = loss.get("kind") if isinstance(loss, dict) else getattr(loss, "kind", None)
        if kind not in (*VECTOR_LOSSES, "import", "given"):
            return values
        default = PlainTarget() if values.get("what") == "probabilities" else StandardisedTarget()
        return {**values, "target": default}

    @classmethod
    def unfitting(cls, values: dict[str, object], key: str) -> list[str]:
        """Settings of the section that conflict with the setting at `key`, which an override has just changed."""
        loss, target = values.get("loss"), values.get("target")
        if key not in ("loss", "loss.kind") or not isinstance(loss, dict) or not isinstance(target, dict):
            return []
        return ["target.temperature"] if loss.get("kind") in VECTOR_LOSSES and "temperature" in target else []

    @model_validator(mode="after")
    def _check(self) -> "ExchangeConfig":
        vector_loss = isinstance(self.loss, VectorLoss)
        if vector_loss and self.target.makes_probs:
            raise ValueError(
                f"exchange.target '{self.target.kind}' makes probabilities, which exchange.loss '{self.loss.kind}' "
                f"does not compare: use {any_of(DISTRIBUTION_LOSSES)}"
            )
        compares_sent = vector_loss or isinstance(self.loss, BroughtLoss)
        if compares_sent and self.what == "probabilities" and self.target.kind != "none":
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
        if self.delivery == "shared-sum" and self.average == "losses":
            raise ValueError(
                "exchange.delivery 'shared-sum' adds the outputs up, but exchange.average 'losses' compares with each "
                "teacher: set exchange.average to outputs, or exchange.delivery to per-edge"
            )
        if self.supervised and self.what == "features":
            raise ValueError("exchange.supervised needs class logits: set exchange.what to logits or probabilities")
        self._check_teacher()
        self._check_own_terms()
        return self

    def _check_teacher(self) -> None:
        if self.refresh_every != 1 and self.teacher_ema:
            raise ValueError(
                f"exchange.teacher_ema is {self.teacher_ema:g} and exchange.refresh_every is {self.refresh_every}, but "
                "a teacher is either a moving average or a snapshot: leave one of them out"
            )
        if self.refresh_every != 1 and self.teacher_anchor < 1:
            raise ValueError(
                f"exchange.teacher_anchor is {self.teacher_anchor:g} and exchange.refresh_every is "
                f"{self.refresh_every}, but a snapshot is not drawn back to the first weights: leave one of them out"
            )

    def _check_own_terms(self) -> None:
        if self.views == 1 and self.needs_two_views:
            raise ValueError(
                f"exchange.views is 1, but exchange.{self.needs_two_views} compares two views of each image: leave "
                "exchange.views out"
            )
        own = self.self_target
        if own is None:
            return
        if not self.self_loss and not self.target_self_share:
            raise ValueError(
                "exchange.self_target is the transform of a peer's own outputs, which it does not learn from: set "
                "exchange.self_loss or exchange.target_self_share above 0, or leave exchange.self_target out"
            )
        if isinstance(self.loss, VectorLoss) and (own.makes_probs or own.temperature != 1):
            raise ValueError(
                f"exchange.self_target: exchange.loss '{self.loss.kind}' compares vectors, without probabilities or "
                "temperature: use a kind without them, at temperature 1"
            )
        compares_sent = isinstance(self.loss, VectorLoss | BroughtLoss)
        if compares_sent and self.what == "probabilities" and own.kind != "none":
            raise ValueError(
                f"exchange.loss '{self.loss.kind}' on probabilities takes exchange.self_target 'none', got "
                f"'{own.kind}': set exchange.self_target to {{ kind = 'none' }}"
            )
        if isinstance(self.loss, BroughtLoss) and self.target_self_share and own.makes_probs != self.target.makes_probs:
            raise ValueError(
                f"exchange.target_self_share mixes probabilities with other outputs, as exchange.self_target is "
                f"'{own.kind}' and exchange.target '{self.target.kind}': use one kind for both"
            )

    @property
    def separate_teacher(self) -> bool:
        """Whether a peer teaches with other weights than those that it trains."""
        return self.refresh_every != 1 or self.teacher_ema > 0 or self.teacher_anchor < 1

    @property
    def num_views(self) -> Literal[1, 2]:
        """Views of each image in a round."""
        if self.views:
            return 2 if self.views == 2 else 1
        return 2 if self.needs_two_views else 1

    @property
    def needs_two_views(self) -> str:
        """The setting that needs two views of each image; empty: none does."""
        if self.self_loss:
            return "self_loss"
        if self.target_self_share:
            return "target_self_share"
        return "" if isinstance(self.trust, NoTrust) else "trust"

    @property
    def uses_labels(self) -> bool:
        """Whether students learn from labels too, so that their outputs are classes."""
        return self.supervised > 0

    @property
    def student_temperature(self) -> float:
        """The temperature at which the students' outputs become distributions, in losses and measures alike."""
        return self.loss.temperature if isinstance(self.loss, DistributionLoss) else 1.0

    @property
    def wire(self) -> Wire:
        """The format of messages."""
        return Wire(self.dtype, self.top_k)

    @property
    def keeps_centre(self) -> bool:
        return isinstance(self.target, CentredTarget) or self.comparison.keeps_own_centre

    def first_centre(self, width: int) -> Float[Tensor, "*own dim"]:
        """The running centre at the start: of the teachers' outputs; in a second row, if it is kept, of its own."""
        return torch.zeros((2, width) if self.comparison.keeps_own_centre else (width,))

    @property
    def comparison(self) -> Comparison:
        """See `StudentLoss`."""
        return Comparison(
            self.what,
            self.loss,
            self.target,
            own_target=self.self_target or self.target,
            own_share=self.target_self_share,
            self_loss=self.self_loss,
            supervised=self.supervised,
            by_teacher=self.average == "losses",
            num_views=self.num_views,
        )
