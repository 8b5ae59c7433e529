"""Computed from Gram matrices of features: effective ranks, and the kernels for similarity (CKA)."""

import numpy as np
from jaxtyping import Float

RANKME_EPS = 1e-7
_QUIET = np.errstate(invalid="ignore", over="ignore")


@_QUIET
def centre_gram(
    grams: Float[np.ndarray, "peers examples examples"],
) -> Float[np.ndarray, "peers examples examples"]:
    """The Gram matrices of the features after subtracting their mean over examples."""
    rows = grams.mean(axis=1, keepdims=True)
    centred: Float[np.ndarray, "peers examples examples"] = grams - rows
    centred -= rows.transpose(0, 2, 1)
    centred += rows.mean(axis=2, keepdims=True)
    return centred


def rankme(grams: Float[np.ndarray, "peers examples examples"]) -> Float[np.ndarray, " peers"]:
    """Effective rank of each peer: exp of the entropy of its normalised singular values, at most min(examples, dim).

    Takes *uncentred* Gram matrices, as in its definition. Use more examples than dimensions, and compare only within
    one network: a random network already has a high rank. It is 0 for all-zero features, nan for non-finite features.

    Source: Garrido et al., 2023 (its epsilon on the nonzero singular values only).
    """
    return np.array([_rankme(peer) for peer in grams])


@_QUIET
def participation_ratio(grams: Float[np.ndarray, "peers examples examples"]) -> Float[np.ndarray, " peers"]:
    """(sum l)^2 / sum l^2 over each Gram matrix's eigenvalues l; 0 for a zero matrix.

    For *centred* Gram matrices (`centre_gram`), it is the effective number of principal components.
    """
    traces = np.trace(grams, axis1=1, axis2=2)
    squares = np.einsum("pij,pij->p", grams, grams)
    ratios: Float[np.ndarray, " peers"] = np.square(traces) / np.where(squares == 0.0, 1.0, squares)
    return ratios


@_QUIET
def unit_kernels(grams: Float[np.ndarray, "peers examples examples"]) -> Float[np.ndarray, "peers examples examples"]:
    """Centred Gram matrices of norm 1, whose inner products are the linear CKA; nan for constant features.

    Source: Kornblith et al., 2019, linear CKA.
    """
    kernels = centre_gram(grams)
    norms = np.linalg.norm(kernels.reshape(len(grams), -1), axis=1)
    floor = 1e-12 * np.linalg.norm(grams, axis=(1, 2))  # rounding error of centring constant features
    kernels /= np.where(norms > floor, norms, np.nan)[:, None, None]
    return kernels


def _rankme(peer: Float[np.ndarray, "examples examples"]) -> float:
    if not np.isfinite(peer).all():
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(peer)
    noise = len(peer) * np.finfo(np.float64).eps * eigenvalues[-1]
    singular = np.sqrt(eigenvalues[eigenvalues > max(noise, 0.0)])
    if len(singular) == 0:
        return 0.0
    shares = singular / singular.sum() + RANKME_EPS
    return float(np.exp(-(shares * np.log(shares)).sum()))
