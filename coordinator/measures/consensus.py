"""Measures of the peers' consensus, collapse and similarity, computed from outputs on shared examples.

`outputs` and `features` are (peers, examples, dim) with at least two peers and two examples; probs sum to 1 over dim.
Entropies and divergences are in nats. Sums are in float64 and loop over peers, to avoid temporary arrays of the size
of all peers' outputs (except for their probabilities).
If outputs are not finite (a diverged peer), the measures that use them are nan or inf, without a warning.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from peers.probing.spectra import unit_kernels

_QUIET = np.errstate(invalid="ignore", over="ignore")


@_QUIET
def probabilities(
    outputs: Float[np.ndarray, "peers examples dim"], temperature: float
) -> Float[np.ndarray, "peers examples dim"]:
    """softmax(outputs / temperature) over dim, in the outputs' dtype."""
    probs = np.empty_like(outputs)
    for peer, logits in enumerate(outputs):
        probs[peer] = special.softmax(logits / outputs.dtype.type(temperature), axis=1)
    return probs


# ---- consensus ----


@_QUIET
def consensus_distance(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Xi^2 = (1/n) sum_i |Z_i - mean Z|_F^2, summed over examples; not scale-invariant, so it falls if outputs shrink.

    The mean squared distance between two distinct peers is 2 n / (n - 1) times this.

    Source: Kong et al., 2021 (consensus control); here of outputs instead of weights.
    """
    mean = outputs.mean(axis=0, dtype=np.float64)
    return float(np.mean([np.square(peer - mean).sum() for peer in outputs]))


@_QUIET
def relative_consensus_distance(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Xi^2 divided by the peers' mean energy |Z_i|^2, both after centring outputs over dim (softmax ignores that mean).

    Scale-invariant and in [0, 1]: 0 is consensus, and independent peers have 1 - 1/n. nan if every output vector of
    every peer is constant over dim.
    """
    centred_mean = outputs.mean(axis=0, dtype=np.float64)
    centred_mean -= centred_mean.mean(axis=1, keepdims=True)
    distances, energies = [], []
    for peer in outputs:
        centred = peer - peer.mean(axis=1, keepdims=True, dtype=np.float64)
        energies.append(np.square(centred).sum())
        distances.append(np.square(centred - centred_mean).sum())
    energy = float(np.mean(energies))
    return float(np.mean(distances)) / energy if energy > 0 else float("nan")


def generalised_js(probs: Float[np.ndarray, "peers examples dim"]) -> float:
    """H(mean p) - mean H(p_i), mean over examples: 0 is consensus (or all uniform), ln(peers) is disjoint support.

    Source: Lin, 1991, equation 5.1 with equal weights.
    """
    mixture = _entropy(probs.mean(axis=0, dtype=np.float64)).mean()
    return max(float(mixture - mean_entropy(probs).mean()), 0.0)


def argmax_agreement(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Share of peer pairs with the same argmax, mean over examples; also 1 under collapse, unlike Fleiss' kappa."""
    num_peers, num_examples, dim = outputs.shape
    winners = outputs.argmax(axis=2) + dim * np.arange(num_examples)
    counts = np.unique(winners, return_counts=True)[1].astype(np.float64)
    return float((np.square(counts).sum() / num_examples - num_peers) / (num_peers * (num_peers - 1)))


def fleiss_kappa(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Chance-corrected argmax agreement: 1 is full, 0 is chance; nan if all argmaxes are the same output.

    Under that collapse, observed and chance agreement are both 1, so kappa is 0 / 0.

    Source: Fleiss, 1971.
    """
    counts = np.unique(outputs.argmax(axis=2), return_counts=True)[1]
    if len(counts) == 1:
        return float("nan")
    chance = float(np.square(counts / counts.sum()).sum())
    return (argmax_agreement(outputs) - chance) / (1.0 - chance)


@_QUIET
def edge_disagreement(
    probs: Float[np.ndarray, "peers examples dim"], edges: Int[np.ndarray, "edges 2"]
) -> Float[np.ndarray, " edges"]:
    """Total variation between the two peers of each edge, mean over examples: in [0, 1], at most sqrt(KL / 2)."""
    return np.array(
        [0.5 * np.abs(probs[i] - probs[j]).sum(axis=1, dtype=np.float64).mean() for i, j in edges], dtype=np.float64
    )


@_QUIET
def edge_squared_distance(
    outputs: Float[np.ndarray, "peers examples dim"], edges: Int[np.ndarray, "edges 2"]
) -> Float[np.ndarray, " edges"]:
    """|Z_i - Z_j|_F^2 for each edge, summed over examples like the consensus distance."""
    return np.array([np.square(outputs[i] - outputs[j]).sum(dtype=np.float64) for i, j in edges], dtype=np.float64)


# ---- collapse ----


def marginal_entropy(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """H(E_x p) of each peer: 0 if all examples have the same one-hot output; at most ln(dim)."""
    return _entropy(probs.mean(axis=1, dtype=np.float64))


def mean_entropy(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """E_x H(p) of each peer: 0 if outputs are one-hot, ln(dim) if they are uniform."""
    return np.array([_entropy(peer).mean() for peer in probs])


def mutual_information(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """Mutual information of input and output, H(E_x p) - E_x H(p), of each peer: 0 under one-hot or uniform collapse.

    Source: Bridle, Heading and MacKay, 1991; Krause, Perona and Gomes, 2010.
    """
    information: Float[np.ndarray, " peers"] = marginal_entropy(probs) - mean_entropy(probs)
    return information.clip(min=0.0)


@_QUIET
def scaled_information(outputs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """Mutual information of softmax(outputs / std), with outputs centred over dim and std over examples and dim.

    Unlike mutual information at a fixed temperature, it does not fall if outputs merely shrink, as a student's do if
    its target is the mean of many teachers. It is 0 if all inputs have the same output.
    """
    centred = outputs - outputs.mean(axis=2, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
    return mutual_information(probabilities(centred / np.where(scale > 0, scale, 1), 1.0))


# ---- spectra and similarity, from Gram matrices ----


@_QUIET
def linear_cka(grams: Float[np.ndarray, "peers examples examples"]) -> Float[np.ndarray, "peers peers"]:
    """Linear CKA (centred kernel alignment) of all pairs of peers, in [0, 1]; nan for peers with constant features.

    Takes Gram matrices, centred or not; they are centred here. Biased towards 1 with fewer examples than
    dimensions (use ten times as many), and dominated by the top components.

    Source: Kornblith et al., 2019, linear CKA.
    """
    flat = unit_kernels(grams).reshape(len(grams), -1)
    similarity: Float[np.ndarray, "peers peers"] = flat @ flat.T
    return similarity


@_QUIET
def mean_cka(kernel_sum: Float[np.ndarray, "examples examples"], num_peers: int) -> float:
    """Mean linear CKA over all pairs, from the sum of all peers' `unit_kernels`: O(peers) instead of O(peers^2).

    The squared norm of the sum contains each pair twice, and each peer's product with itself, which is 1.
    """
    return float((np.square(kernel_sum).sum() - num_peers) / (num_peers * (num_peers - 1)))


def _entropy(probs: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
    entropies: Float[np.ndarray, " rows"] = special.entr(probs.astype(np.float64)).sum(axis=1)
    return entropies
