"""Which terms a student's loss has, in the run and in each control run, and on which batch each of them is."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control, loss_on_labels

Features = Float[Tensor, "samples features"]
Outputs = Float[Tensor, "samples outputs"]
Labels = Int64[Tensor, " samples"]
Loss = Float[Tensor, ""]


@dataclass(frozen=True)
class Terms:
    """The loss of a step: what messages say of a batch, and a peer's own terms on the same batch or on a private one.

    private: whether peers have private batches, which their own terms are on.
    """

    exchange: ExchangeConfig
    control: Control | None
    private: bool

    @property
    def from_messages(self) -> bool:
        """Whether students learn from messages (be it their own) about the round's batch."""
        if self.control is Control.SUPERVISED:
            return not self.private
        return self.control not in (Control.PRIVATE_ONLY, Control.POOLED)

    @property
    def own(self) -> bool:
        """Whether a student learns something of which no message speaks."""
        return self.private if self.control is Control.SUPERVISED else self.exchange.has_own_terms

    def of_messages(
        self,
        features: Features,
        outputs: Outputs,
        teachers: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
        centre: Float[Tensor, "*own dim"],
        labels: Labels,
        kept: Bool[Tensor, " samples"] | None = None,
    ) -> Loss:
        """The loss on a batch that messages are about: with own terms, unless these are on a private batch."""
        if self.control is Control.SUPERVISED:
            return loss_on_labels(outputs, labels)
        if self.private:
            return self.exchange.exchange_loss(features, outputs, teachers, weights, centre, kept)
        return self.exchange.loss_of(features, outputs, teachers, weights, centre, labels, kept)

    def of_itself(
        self, features: Features, outputs: Outputs, centre: Float[Tensor, "*own dim"], labels: Labels
    ) -> Loss:
        """The own terms alone, on a private batch, or on one about which a student has heard nothing."""
        if self.control is Control.SUPERVISED:
            return loss_on_labels(outputs, labels)
        return self.exchange.own_loss(features, outputs, centre, labels)
