"""One random stream per purpose and peer, so that no draw ever depends on another."""

from typing import Literal

import numpy as np

Purpose = Literal[
    "weights",
    "batches",
    "flips",
    "topology",
    "roles",
    "data",
    "probe-images",
    "sgd-probe",
    "stranger",
    "shuffled",
    "single-teacher",
    "noise",
    "network",
    "returns",
    "views",
    "head",
    "partition",
    "public",
    "private",
    "liars",
    "lies",
    "probe-peers",
]
_KEYS: dict[Purpose, int] = {
    "weights": 0,
    "batches": 1,
    "flips": 2,
    "topology": 3,
    "roles": 4,
    "data": 5,
    "probe-images": 6,
    "sgd-probe": 7,
    "stranger": 8,
    "shuffled": 9,
    "single-teacher": 10,
    "noise": 11,
    "network": 12,
    "returns": 13,
    "views": 14,
    "head": 15,
    "partition": 16,
    "public": 17,
    "private": 18,
    "liars": 20,
    "lies": 21,
    "probe-peers": 30,
}


def stream(seed: int, purpose: Purpose, *indices: int) -> np.random.SeedSequence:
    """The seed of one purpose (and peer, round, ...) of a run: a pure function of its arguments."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(_KEYS[purpose], *indices))


def torch_seed(seed: int, purpose: Purpose, *indices: int) -> int:
    """The same stream as one integer, for `torch.Generator.manual_seed`."""
    return int(stream(seed, purpose, *indices).generate_state(1, np.uint64)[0] >> np.uint64(1))


def child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """An independent child stream; unlike `seed.spawn`, this does not modify `seed`."""
    return np.random.SeedSequence(entropy=seed.entropy, spawn_key=(*seed.spawn_key, *key))
