"""Entropic optimal transport between samples and outputs, which targets and the agreement of views both need."""

import torch
from jaxtyping import Float
from torch import Tensor


def balanced(logits: Float[Tensor, "samples dim"], epsilon: float, iterations: int) -> Float[Tensor, "samples dim"]:
    """Logarithms of distributions that use all outputs equally: rows of sum 1, columns that tend to samples / dim.

    epsilon: regularisation, in units of the logits. Scaled in the log domain, so that a small one neither overflows nor
    empties a column; the rows are scaled last.
    Source: Cuturi, 2013, algorithm 1.
    """
    log_plan = logits / epsilon
    for _ in range(iterations):
        log_plan = torch.log_softmax(torch.log_softmax(log_plan, dim=0), dim=1)
    return log_plan
