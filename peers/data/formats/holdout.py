"""Chooses examples: those within a limit, and those that are held out as test examples."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from peers.base.seeds import child


def stratified_holdout(
    labels: Int64[np.ndarray, " examples"], num_test: int, rng: np.random.Generator
) -> Bool[np.ndarray, " examples"]:
    """True for `num_test` random examples; each class has its proportional share, rounded up or down."""
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    picked = (np.arange(num_test) * 2 + 1) * len(labels) // (2 * num_test)
    test = np.zeros(len(labels), dtype=np.bool_)
    test[by_class[picked]] = True
    return test


def held_out_share(
    labels: Int64[np.ndarray, " examples"], share: float, seed: np.random.SeedSequence
) -> Bool[np.ndarray, " examples"]:
    """True for a stratified share (of at least one example) that becomes the test examples."""
    num_test = max(1, round(share * len(labels)))
    return stratified_holdout(labels, num_test, np.random.default_rng(child(seed, 0)))


def chosen_rows(
    split: Literal["train", "test"], num: int, most: int, seed: np.random.SeedSequence
) -> Int64[np.ndarray, " chosen"] | slice:
    """The examples within a limit, ascending; if that is all of them, a slice, which needs no copy.

    Raises: ValueError, if the limit is larger than the data.
    """
    if most > num:
        raise ValueError(f"data.{split}_limit: must be at most the {num} {split} examples, got {most}; use 0 for all")
    if not most:
        return slice(None)
    rng = np.random.default_rng(child(seed, 1 if split == "train" else 2))
    return np.sort(rng.permutation(num)[:most])
