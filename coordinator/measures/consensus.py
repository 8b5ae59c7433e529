"""How far peers agree, whether they collapsed, and how similar they are, from outputs on shared examples.

`outputs` and `features` are (peers, examples, dim) with at least two peers and two examples; probs sum to 1 over dim.
Entropies and divergences are in nats. Sums are in float64, one peer at a time: no second array of all peers' outputs
is made but their probabilities.
Outputs that are not finite (a diverged peer) make the measures they enter nan or inf, without a warning.
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
    """Xi^2 = (1/n) sum_i |Z_i - mean Z|_F^2, summed over examples; raw, so it falls when outputs merely shrink.

    The mean squared distance of two distinct peers is 2 n / (n - 1) times this.

    Source: Kong et al., 2021 (consensus control), on outputs instead of weights.
    """
    mean = outputs.mean(axis=0, dtype=np.float64)
    return float(np.mean([np.square(peer - mean).sum() for peer in outputs]))


@_QUIET
def relative_consensus_distance(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Xi^2 over the peers' mean energy |Z_i|^2, both less each example's mean over dim, which softmax does not see.

    In [0, 1], whatever the outputs' scale: 0 is consensus, 1 - 1/n is what independent peers have; nan if no peer's
    outputs differ within an example.
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
    """H(mean p) - mean H(p_i), mean over examples: 0 is consensus, ln(peers) is disjoint; 0 as well if all are flat.

    Source: Lin, 1991, equation 5.1 with equal weights.
    """
    mixture = _entropy(probs.mean(axis=0, dtype=np.float64)).mean()
    return max(float(mixture - mean_entropy(probs).mean()), 0.0)


def argmax_agreement(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Share of peer pairs with the same largest output, mean over examples: 1 under collapse, so see Fleiss' kappa."""
    num_peers, num_examples, dim = outputs.shape
    winners = outputs.argmax(axis=2) + dim * np.arange(num_examples)
    counts = np.unique(winners, return_counts=True)[1].astype(np.float64)
    return float((np.square(counts).sum() / num_examples - num_peers) / (num_peers * (num_peers - 1)))


def fleiss_kappa(outputs: Float[np.ndarray, "peers examples dim"]) -> float:
    """Argmax agreement beyond chance: 1 is full, 0 is chance; nan if all peers choose one output on all examples.

    Under that collapse observed and chance agreement are both 1 and kappa is 0 / 0.

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
    """Total variation between an edge's two peers, mean over examples: in [0, 1], at most sqrt(KL / 2)."""
    return np.array(
        [0.5 * np.abs(probs[i] - probs[j]).sum(axis=1, dtype=np.float64).mean() for i, j in edges], dtype=np.float64
    )


@_QUIET
def edge_squared_distance(
    outputs: Float[np.ndarray, "peers examples dim"], edges: Int[np.ndarray, "edges 2"]
) -> Float[np.ndarray, " edges"]:
    """|Z_i - Z_j|_F^2 of each edge, summed over examples, as the consensus distance is."""
    return np.array([np.square(outputs[i] - outputs[j]).sum(dtype=np.float64) for i, j in edges], dtype=np.float64)


# ---- collapse ----


def marginal_entropy(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """H(E_x p) of each peer: 0 if every example gets the same one-hot output, at most ln(dim)."""
    return _entropy(probs.mean(axis=1, dtype=np.float64))


def mean_entropy(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """E_x H(p) of each peer: 0 if outputs are one-hot, ln(dim) if they are uniform."""
    return np.array([_entropy(peer).mean() for peer in probs])


def mutual_information(probs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """H(E_x p) - E_x H(p) of each peer, between input and output: 0 under one-hot and under uniform collapse.

    Source: Bridle, Heading and MacKay, 1991; Krause, Perona and Gomes, 2010.
    """
    information: Float[np.ndarray, " peers"] = marginal_entropy(probs) - mean_entropy(probs)
    return information.clip(min=0.0)


@_QUIET
def scaled_information(outputs: Float[np.ndarray, "peers examples dim"]) -> Float[np.ndarray, " peers"]:
    """Mutual information of softmax(outputs / their standard deviation over examples and dim), rows centred.

    Unlike that at a fixed temperature it does not fall when outputs merely shrink, as a student's do if its target is
    the mean of many teachers; it is 0 where all inputs have one output.
    """
    centred = outputs - outputs.mean(axis=2, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
    return mutual_information(probabilities(centred / np.where(scale > 0, scale, 1), 1.0))


# ---- spectra and similarity, from Gram matrices ----


@_QUIET
def linear_cka(grams: Float[np.ndarray, "peers examples examples"]) -> Float[np.ndarray, "peers peers"]:
    """Linear centred kernel alignment of every two peers, in [0, 1]; nan beside a peer with constant features.

    Takes centred or uncentred Gram matrices: they are centred here. Biased towards 1 with fewer examples than
    dimensions (use ten times as many), and dominated by the top components.

    Source: Kornblith et al., 2019, linear CKA.
    """
    flat = unit_kernels(grams).reshape(len(grams), -1)
    similarity: Float[np.ndarray, "peers peers"] = flat @ flat.T
    return similarity


@_QUIET
def mean_cka(kernel_sum: Float[np.ndarray, "examples examples"], num_peers: int) -> float:
    """Mean over all pairs of the linear CKA, from the sum of all peers' `unit_kernels`: O(peers), not O(peers^2).

    The squared norm of the sum holds every pair twice, and each peer's own product, which is 1.
    """
    return float((np.square(kernel_sum).sum() - num_peers) / (num_peers * (num_peers - 1)))


def _entropy(probs: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
    entropies: Float[np.ndarray, " rows"] = special.entr(probs.astype(np.float64)).sum(axis=1)
    return entropies
