"""The parts of a student's objective: average of the teachers, target transforms, vector and distribution losses.

All functions are pure and compute in float32 at least, whatever the dtype of messages. The target of a loss never
receives gradients. Divergences are in nats, summed over outputs and averaged over the batch.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from peers.base.balancing import balanced
from peers.base.means import weighted_mean, wide


def average_teachers(
    outputs: Float[Tensor, "teachers batch dim"], weights: Float[Tensor, " teachers"]
) -> Float[Tensor, "batch dim"]:
    """Mean of the teachers' outputs, weighted by `weights` (not all zero; need not sum to 1).

    They are added in their order; see `weighted_mean`.
    """
    shares = wide(weights)
    return weighted_mean(wide(outputs), shares / shares.sum())


def probs_to_logits(probs: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Logits whose softmax is `probs`: the logarithm, with probs clamped to the smallest normal number (-87.3)."""
    probs = wide(probs)
    return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()


def centre(logits: Float[Tensor, "batch dim"], running_centre: Float[Tensor, " dim"]) -> Float[Tensor, "batch dim"]:
    """Teacher logits minus a running mean. Centring alone drives targets to uniform, so combine it with sharpening.

    Source: Caron et al., 2021 (DINO), section 3.1.
    """
    return wide(logits) - wide(running_centre)


def update_centre(
    running_centre: Float[Tensor, " dim"], batch_mean: Float[Tensor, " dim"], momentum: float
) -> Float[Tensor, " dim"]:
    """Exponential moving average of the teacher logits' batch mean; returned as a new tensor.

    Source: Caron et al., 2021 (DINO), equation 4.
    """
    return momentum * wide(running_centre) + (1.0 - momentum) * wide(batch_mean)


def standardise(logits: Float[Tensor, "batch dim"], eps: float = 1e-6) -> Float[Tensor, "batch dim"]:
    """Teacher logits with zero mean and unit (biased) standard deviation per dimension over the batch.

    `eps` is added to the standard deviation, so a constant dimension becomes 0 and a small scale is not distorted.
    """
    logits = wide(logits)
    centred = logits - logits.mean(dim=0)
    return centred / (centred.square().mean(dim=0).sqrt() + eps)


def sinkhorn(logits: Float[Tensor, "batch dim"], epsilon: float, iterations: int) -> Float[Tensor, "batch dim"]:
    """Balanced target probs: each row sums to 1, each column tends to batch / dim with the iterations.

    Entropic optimal transport with regularisation `epsilon` (in logit units), scaled in the log domain, so a small
    `epsilon` neither overflows nor empties a column. The rows are scaled last; 3 iterations are customary.

    Source: Cuturi, 2013, algorithm 1; Caron et al., 2020 (SwAV), section 3.1.
    """
    return torch.softmax(balanced(wide(logits), epsilon, iterations), dim=1)


def sharpen(logits: Float[Tensor, "batch dim"], scale: float) -> Float[Tensor, "batch dim"]:
    """softmax(p / scale) of the distributions p that these logits are of.

    Source: Itahara et al. 2020, arXiv 2008.06180, equation 6 (entropy reduction aggregation).
    """
    return torch.softmax(torch.softmax(wide(logits), dim=-1) / scale, dim=-1)


def mse(student: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Mean squared difference over batch and dimensions; it is not scale-invariant: shrinking both lowers it."""
    return (wide(student) - wide(target).detach()).square().mean()


def salient(student: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Squared difference of each sample's most divergent dimension, mean over the batch.

    Source: arXiv 2604.18390, 2026 (DINOHerd), salient loss; the batch mean is assumed.
    """
    return (wide(student) - wide(target).detach()).square().amax(dim=1).mean()


def cosine(student: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """1 - cosine similarity, mean over the batch: in [0, 2]; a zero vector counts as orthogonal."""
    return 1.0 - F.cosine_similarity(wide(student), wide(target).detach(), dim=1).mean()


def kl(
    student_logits: Float[Tensor, "batch dim"],
    target_probs: Float[Tensor, "batch dim"],
    temperature: float,
    target_temperature: float | None = None,
) -> Float[Tensor, ""]:
    """KL(target || softmax(student / temperature)) in nats, batch mean; a target prob of 0 contributes 0.

    If the temperature of the targets is given, the loss is multiplied by `target_temperature * temperature` (T^2 if
    both are T), which keeps gradients comparable across temperatures.

    Source: Hinton, Vinyals and Dean, 2015, section 2.
    """
    target = wide(target_probs).detach()
    log_student = torch.log_softmax(wide(student_logits) / temperature, dim=1)
    divergence = (torch.xlogy(target, target) - target * log_student).sum(dim=1).mean()
    return divergence if target_temperature is None else divergence * (target_temperature * temperature)


def cross_entropy(
    student_logits: Float[Tensor, "batch dim"], target_probs: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(student / temperature) under soft targets in nats, batch mean: KL + target entropy."""
    log_student = torch.log_softmax(wide(student_logits) / temperature, dim=1)
    return -(wide(target_probs).detach() * log_student).sum(dim=1).mean()


def js(
    student_logits: Float[Tensor, "batch dim"], target_probs: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """Jensen-Shannon divergence of target and softmax(student / temperature), batch mean: in [0, ln 2] nats.

    Source: Lin, 1991, equation 4.1 with equal weights.
    """
    target = wide(target_probs).detach()
    log_student = torch.log_softmax(wide(student_logits) / temperature, dim=1)
    log_mixture = torch.logaddexp(target.log(), log_student) - math.log(2.0)
    to_target = torch.xlogy(target, target) - target * log_mixture
    to_student = log_student.exp() * (log_student - log_mixture)
    return 0.5 * (to_target + to_student).sum(dim=1).mean()
