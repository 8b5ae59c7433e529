"""The loss of a student, as the `[exchange]` section describes it."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from peers.exchange.comparison import Batch, Centre, Comparison


class StudentLoss:
    """What students compare, the terms of their loss, and the running centres of their targets."""

    @property
    def comparison(self) -> Comparison:
        """Loss, target, views and weights of the terms."""
        raise NotImplementedError

    @property
    def has_own_terms(self) -> bool:
        """Whether a peer learns something where nobody teaches it."""
        return self.comparison.has_own_terms

    def exchanged(
        self, features: Float[Tensor, "samples features"], outputs: Float[Tensor, "samples outputs"]
    ) -> Batch:
        """See `Comparison.exchanged`."""
        return self.comparison.exchanged(features, outputs)

    def sent(self, exchanged: Batch) -> Batch:
        """See `Comparison.sent`."""
        return self.comparison.sent(exchanged)

    def loss_of(
        self,
        features: Float[Tensor, "samples features"],
        outputs: Float[Tensor, "samples outputs"],
        teachers: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
        labels: Int64[Tensor, " samples"],
        kept: Bool[Tensor, " samples"] | None = None,
    ) -> Float[Tensor, ""]:
        """The whole loss of a student on one batch: the distillation loss, and its own terms."""
        loss = self.exchange_loss(features, outputs, teachers, weights, centre, kept)
        return loss + self.own_loss(features, outputs, centre, labels) if self.has_own_terms else loss

    def exchange_loss(
        self,
        features: Float[Tensor, "samples features"],
        outputs: Float[Tensor, "samples outputs"],
        teachers: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
        kept: Bool[Tensor, " samples"] | None = None,
    ) -> Float[Tensor, ""]:
        """The distillation loss alone; see `distillation_loss`."""
        return self.distillation_loss(self.exchanged(features, outputs), teachers, weights, centre, kept)

    def own_loss(
        self,
        features: Float[Tensor, "samples features"],
        outputs: Float[Tensor, "samples outputs"],
        centre: Centre,
        labels: Int64[Tensor, " samples"],
    ) -> Float[Tensor, ""]:
        """A peer's own terms: the loss against its own second view, and the one on labels, each times its weight.

        Raises: ValueError if it has none.
        """
        comparison, terms = self.comparison, []
        if not comparison.has_own_terms:
            raise ValueError("exchange has no own terms: set exchange.self_loss or exchange.supervised above 0")
        if comparison.self_loss:
            student = comparison.exchanged(features, outputs)
            terms.append(comparison.self_loss * comparison.to_itself(student, centre))
        if comparison.supervised:
            terms.append(comparison.supervised * torch.nn.functional.cross_entropy(outputs, labels))
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def distillation_loss(
        self,
        student: Batch,
        teachers: Float[Tensor, "teachers samples dim"],
        weights: Float[Tensor, " teachers"],
        centre: Centre,
        kept: Bool[Tensor, " samples"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a student's `exchanged` outputs against those of its teachers; only the student gets gradients.

        `average = "outputs"` compares with the weighted mean of the teachers' outputs before the target's transform;
        `"losses"` averages one loss per teacher, as in the paper. Both have the same gradients for MSE, and for KL and
        cross-entropy on untransformed probabilities. `weights` sum to 1. Two views: see `Comparison`.

        kept: the samples of the messages that teachers answer for; the others are no target, and bring no gradient.
        """
        return self.comparison.to_teachers(student, teachers, weights, centre, kept)

    def updated_centre(
        self, centre: Centre, teachers: Float[Tensor, "teachers samples dim"], weights: Float[Tensor, " teachers"]
    ) -> Centre:
        """The running centre after a batch, as a new tensor; `centre` itself if the target has none."""
        return self.comparison.updated_centre(centre, teachers, weights)

    def updated_own_centre(
        self, centre: Centre, features: Float[Tensor, "samples features"], outputs: Float[Tensor, "samples outputs"]
    ) -> Centre:
        """The same after a batch from which a peer has learned by itself; `centre` if its own outputs have none."""
        return self.comparison.updated_own_centre(centre, self.exchanged(features, outputs))
