"""Deals examples out to peers: pure functions of labels and seeds. Parts are disjoint, and together all examples."""

import numpy as np
from jaxtyping import Float64, Int64

Labels = Int64[np.ndarray, " examples"]
Indices = Int64[np.ndarray, " _"]
Shares = Float64[np.ndarray, " peers"]

TRIES = 11  # the first and the ten repetitions of flwr-datasets


def evenly(num_examples: int, num_peers: int, rng: np.random.Generator) -> list[Indices]:
    """Parts at random, whose sizes differ by one at most."""
    return np.array_split(rng.permutation(num_examples), num_peers)


def by_shares(num_examples: int, shares: Shares, rng: np.random.Generator) -> list[Indices]:
    """Parts at random of these shares, which sum to 1; sizes are rounded such that they sum to all examples."""
    return np.split(rng.permutation(num_examples), _cuts(num_examples, shares))


def by_dirichlet(labels: Labels, num_peers: int, alpha: float, smallest: int, seed: int) -> list[Indices]:
    """Each class by shares from a Dirichlet distribution, drawn again until every part has `smallest` examples.

    Equal, index by index, to `DirichletPartitioner(num_peers, "label", alpha, smallest, seed=seed)` of flwr-datasets
    0.6.0, whose order of draws it follows.

    Raises: ValueError, if no draw leaves every part so many.
    Source: Hsu et al. 2019, arXiv 1909.06335.
    """
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        pieces = [_class_by_dirichlet(members, num_peers, alpha, rng) for members in _by_class(labels)]
        parts = [np.concatenate(of_peer) for of_peer in zip(*pieces, strict=True)]
        least = min(len(part) for part in parts)
        if least >= smallest:
            for part in parts:
                rng.shuffle(part)
            return parts
    raise ValueError(
        f"data.partition.alpha: {TRIES} draws of alpha {alpha:g} left a peer with fewer than {smallest} of the "
        f"{len(labels):,} examples ({least} in the last one): raise alpha, or lower data.partition.smallest or "
        "peers.count"
    )


def by_classes(labels: Labels, num_peers: int, k: int, rng: np.random.Generator) -> list[Indices]:
    """k classes for each part; the examples of a class are divided evenly among the parts that have it.

    Classes stand in a circle in random order, and each part takes the next k of it, so that all are taken about as
    often.

    Raises: ValueError, if there are fewer than k classes, or if a class would be in no part.
    """
    members = _by_class(labels)
    num_classes = len(members)
    if k > num_classes:
        raise ValueError(
            f"data.partition.k: must be at most the {num_classes} classes of the examples to deal out, got {k}: "
            "lower it"
        )
    if k * num_peers < num_classes:
        raise ValueError(
            f"data.partition.k: {num_peers} peers with {k} classes each hold {k * num_peers} of {num_classes} classes "
            "at most, and the others would be nobody's: raise k or peers.count"
        )
    circle = rng.permutation(num_classes)
    of_peer = [circle[np.arange(peer * k, (peer + 1) * k) % num_classes].tolist() for peer in range(num_peers)]
    parts: list[list[Indices]] = [[] for _ in range(num_peers)]
    for number, examples in enumerate(members):
        holders = [peer for peer in range(num_peers) if number in of_peer[peer]]
        pieces = np.array_split(rng.permutation(examples), len(holders))
        for peer, piece in zip(holders, pieces, strict=True):
            parts[peer].append(piece)
    return [rng.permutation(np.concatenate(of_part)) for of_part in parts]


def lognormal_shares(num_peers: int, sigma: float, rng: np.random.Generator) -> Shares:
    """Shares that sum to 1, whose logarithms have the standard deviation sigma before they are normalised."""
    logarithms = rng.normal(0, sigma, num_peers)
    drawn = np.exp(logarithms - logarithms.max())  # of a large sigma, too
    shares: Shares = drawn / drawn.sum()
    return shares


def capped(labels: Labels, part: Indices, most: int) -> Indices:
    """The first `most` examples of each class in a part, in its order."""
    kept = [np.flatnonzero(labels[part] == label)[:most] for label in np.unique(labels[part])]
    return part[np.sort(np.concatenate(kept))] if kept else part


def _by_class(labels: Labels) -> list[Indices]:
    """The examples of every class that occurs, in ascending order of the classes."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _class_by_dirichlet(members: Indices, num_peers: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    shares = rng.dirichlet(np.full(num_peers, alpha))
    return np.split(members, _cuts(len(members), shares))


def _cuts(num_examples: int, shares: Shares) -> Indices:
    """Where examples are cut into parts of these shares."""
    cuts: Indices = (np.cumsum(shares) * num_examples).astype(np.int64)[:-1]
    return cuts
