"""Chooses public examples: those that messages are about, which no peer holds for itself."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

Labels = Int64[np.ndarray, " examples"]
Indices = Int64[np.ndarray, " _"]


def random_share(num_examples: int, share: float, rng: np.random.Generator) -> Indices:
    """A random share, ascending."""
    return np.sort(rng.permutation(num_examples)[: round(share * num_examples)])


def of_classes(labels: Labels, classes: Sequence[int]) -> Indices:
    """All examples of these classes, ascending. Raises: ValueError, if a class does not occur, or none is left."""
    known = np.unique(labels).tolist()
    for number in classes:
        if number not in known:
            raise ValueError(
                f"data.public.classes: there are no training examples of class {number}, but of "
                f"{', '.join(map(str, known[:20]))}{', ...' if known[20:] else ''}: name some of these"
            )
    if len(set(classes)) == len(known):
        raise ValueError(
            f"data.public.classes: names all {len(known)} classes, so that no example is left for the peers: leave "
            "some out"
        )
    return np.flatnonzero(np.isin(labels, list(classes)))
