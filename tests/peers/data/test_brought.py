"""Data that a function makes: repeatable, by a seed from the run's, where the function has a parameter for one."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from peers.data import brought
from peers.data.brought import ImportedData
from peers.data.datasets import Dataset

MOONS = {"target": "sklearn.datasets:make_moons", "args": {"n_samples": 50, "noise": 0.1}}


def by_place(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((20, 2), seed % 1000, dtype=np.float32), np.arange(20) % 2


def by_name(num: int = 20, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.full((num, 2), seed % 1000, dtype=np.float32), np.arange(num) % 2


def never(num: int = 20) -> tuple[np.ndarray, np.ndarray]:
    return np.full((num, 2), num, dtype=np.float32), np.arange(num) % 2


def loaded(data: ImportedData, seed: int) -> Dataset:
    return data.load(seed)


def test_load__scikit_learns_generators_repeat_and_follow_the_runs_seed() -> None:
    first, again, other = (loaded(ImportedData(**MOONS), seed).train_images for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_load__a_seed_in_args_is_the_one() -> None:
    data = ImportedData(target=MOONS["target"], args={**MOONS["args"], "random_state": 3})
    found = loaded(data, 0)
    both = np.concatenate([found.train_images, found.test_images])
    expected = make_moons(50, noise=0.1, random_state=3)[0].astype(np.float32)
    assert np.array_equal(np.sort(both, axis=0), np.sort(expected, axis=0))


@pytest.mark.parametrize("name", ["by_place", "by_name", "never"])
def test_load__only_what_asks_for_a_seed_gets_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brought, name, globals()[name], raising=False)
    values = [loaded(ImportedData(target=f"peers.data.brought:{name}"), seed).train_images[0, 0] for seed in (0, 0, 1)]
    assert values[0] == values[1]
    assert (values[0] != values[2]) == (name != "never")
    assert name != "never" or values[0] == 20
