"""Lies that a peer makes without knowing what others say."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Outputs = Float[Tensor, "samples dim"]


def random(own: Outputs, sigma: float, distribution: bool, rng: np.random.Generator) -> Outputs:
    """Normal noise of standard deviation `sigma`; as a distribution, its softmax."""
    noise = torch.from_numpy(rng.normal(0.0, sigma, tuple(own.shape))).to(own)
    return torch.softmax(noise, dim=1) if distribution else noise


def sign_flip(own: Outputs, distribution: bool) -> Outputs:
    """The negative outputs; of distributions (1 - p) / (dim - 1), which reverses the order of the outputs, too."""
    return (1 - own) / (own.shape[1] - 1) if distribution else -own


def constant(own: Outputs, output: int, distribution: bool) -> Outputs:
    """1 at one output and 0 elsewhere; -1: no preference, which is the uniform distribution, or zeros.

    Raises: ValueError.
    """
    dim = own.shape[1]
    if output >= dim:
        raise ValueError(f"attack.output must be below the {dim} outputs, got {output}: lower it")
    if output < 0:
        return torch.full_like(own, 1 / dim if distribution else 0.0)
    lie = torch.zeros_like(own)
    lie[:, output] = 1.0
    return lie


def permuted_outputs(own: Outputs) -> Outputs:
    """Each output in the place of the next one: the same order in all rounds, and no output keeps its place."""
    return own.roll(1, dims=1)


def permuted_samples(own: Outputs, views: int, rng: np.random.Generator) -> Outputs:
    """The outputs of each sample in the place of another's, in one random cycle; all views of an image go together."""
    size = len(own) // views
    places = rng.permutation(size)
    order = np.empty(size, dtype=np.int64)
    order[places] = np.roll(places, 1)
    of_view = torch.from_numpy(order).to(own.device)
    return torch.cat([view.index_select(0, of_view) for view in own.chunk(views)])
