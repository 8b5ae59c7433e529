"""Which samples a network is sure of, and whether it answers alike on two views of the same images."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.base.balancing import balanced
from peers.base.means import roomy, wide


def confident(outputs: Float[Tensor, "samples dim"], share: float, distribution: bool) -> Bool[Tensor, " samples"]:
    """The share of the samples with the highest maximal probability (at least one; of equal ones the first).

    Logits and features are turned into distributions by softmax.
    Source: Aketi et al., 2023 (IDKD, arXiv 2304.04326), where a threshold is calibrated instead.
    """
    with torch.no_grad():
        probs = wide(outputs) if distribution else torch.softmax(wide(outputs), dim=1)
        count = max(1, round(share * len(probs)))
        surest = probs.amax(dim=1).sort(descending=True, stable=True).indices[:count]
        return torch.zeros_like(probs[:, 0], dtype=torch.bool).scatter(0, surest, True)


EPSILON, ITERATIONS = 0.05, 3  # of the balancing, as customary (SwAV)


def agreement(outputs: Float[Tensor, "samples dim"], num_views: int) -> Float[Tensor, ""]:
    """How far balanced answers on two views of the same images are the same, beyond chance: in 0 to 1.

    outputs: of one view after the other. Each view's are balanced over its samples (Sinkhorn), which gives
    distributions p_i and q_i. Cohen's kappa of them is (mean p_i.q_i - mean p.mean q) / (1 - mean p.mean q), clipped at
    0: 1 for sure, equal answers that use all outputs; 0 for views that answer independently, for the same answer to
    every image, and for a network that is sure of nothing.

    Why balanced: the largest outputs of fresh networks agree to 0.3 to 0.5 beyond chance on CIFAR-10 at 16x16, even
    where noise hides the images. Why not relative to how sure the answers are: a network that hardly tells images apart
    would score high by tiny differences. It is no measure of what is known: peers that see chroma alone agree with
    themselves more (0.24 after 400 rounds) than those that see luminance (0.15), and know less.
    """
    with torch.no_grad():
        first, second = (balanced(view, EPSILON, ITERATIONS).exp() for view in roomy(outputs).chunk(num_views)[:2])
        observed = (first * second).sum(dim=1).mean()
        expected = (first.mean(dim=0) * second.mean(dim=0)).sum()
        return ((observed - expected) / (1 - expected).clamp_min(1e-12)).clamp(0, 1)
