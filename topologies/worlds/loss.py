"""Which messages are lost: each by itself, or in bursts."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from topologies.worlds.section import Probability, Variant


class _Loss(Variant):
    """What becomes of the attempts to send a message."""

    retries: int = Field(0, ge=0, le=100, description="how often a lost message is sent again")
    retry_after: float = Field(
        1.0, gt=0, le=3600, description="seconds after which the sender takes a message for lost and sends it again"
    )

    @property
    @abstractmethod
    def share(self) -> float:
        """The share of messages that are lost in the long run, after all retries."""


class NoLoss(Variant):
    """Every message arrives."""

    kind: Literal["none"] = "none"
    constant: ClassVar[bool] = True

    @property
    def share(self) -> float:
        return 0.0


class BernoulliLoss(_Loss):
    """Every message is lost with the same probability, in each direction by itself.

    So the mean of all peers drifts, since what one hears of the other may be lost in one direction only.
    """

    kind: Literal["bernoulli"] = "bernoulli"
    probability: float = Field(description="probability of each message to be lost, below 1")

    @model_validator(mode="after")
    def _below_one(self) -> "BernoulliLoss":
        check_share(self.probability, "probability")
        return self

    @property
    def share(self) -> float:
        return float(self.probability ** (self.retries + 1))

    @classmethod
    def example(cls) -> "BernoulliLoss":
        return cls(probability=0.2)


class GilbertElliottLoss(_Loss):
    """Losses in bursts: each link is good or bad, and may change with every message.

    A retry of a message meets the state in which the message was. Source: Gilbert, 1960; Elliott, 1963; as netem's
    gemodel.
    """

    kind: Literal["gilbert-elliott"] = "gilbert-elliott"
    p: Probability = Field(description="probability of a good link to be bad at the next message")
    r: Probability = Field(
        description="probability of a bad link to be good at the next message; a burst has 1/r on average"
    )
    bad: Probability = Field(1.0, description="probability of a message to be lost on a bad link")
    good: Probability = Field(0.0, description="probability of a message to be lost on a good link")

    @model_validator(mode="after")
    def _way_back(self) -> "GilbertElliottLoss":
        if self.r == 0:
            raise ValueError(
                "network.loss.r: must be above 0, got 0, since a link that is bad would stay bad for ever; set it to "
                "1 / the mean number of messages in a burst"
            )
        if self.p and self.p == self.r == 1:
            raise ValueError(
                "network.loss.p: p and r must not both be 1, since the link would alternate for ever; lower one of them"
            )
        check_share(self.share, "bad")
        return self

    @property
    def bad_share(self) -> float:
        """The share of messages that meet a bad link."""
        return self.p / (self.p + self.r)

    @property
    def share(self) -> float:
        attempts = self.retries + 1
        return float(self.bad_share * self.bad**attempts + (1 - self.bad_share) * self.good**attempts)

    @classmethod
    def example(cls) -> "GilbertElliottLoss":
        return cls(p=0.05, r=0.25)


LossConfig = Annotated[NoLoss | BernoulliLoss | GilbertElliottLoss, Field(discriminator="kind")]


def check_share(share: float, field: str) -> None:
    """Refuse a share of lost messages outside [0, 1). Raises: ValueError."""
    if not 0 <= share < 1:
        advice = "no message would ever arrive; lower it" if share >= 1 else "raise it"
        raise ValueError(f"network.loss.{field}: must be from 0 to below 1, got {share:g}; {advice}")
