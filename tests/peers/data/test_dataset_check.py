from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from peers.data import dataset_check, loading
from peers.data.datasets import Dataset


def dataset(**values: Any) -> Dataset:
    """Eight training and four test images of two classes, with whatever is wrong about them."""
    made = loading.load_synthetic(8, 4, 2, (1, 3, 3), SeedSequence(0))
    for name, value in values.items():
        object.__setattr__(made, name, value)  # past the types that tests check
    return made


def test_check__takes_what_the_sources_give() -> None:
    spare = dataset(num_classes=7)  # some of which do not occur
    for sound in (dataset(), spare, loading.load_digits(SeedSequence(0))):
        before = dataset_check.digest_of(sound)
        dataset_check.check(sound)
        assert dataset_check.digest_of(sound) == before


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"num_classes": 2.0}, "dataset: num_classes must be an int, got 2.0; convert it"),
        (
            {"num_classes": 1},
            "dataset: labels must be in 0..0 for num_classes = 1, got 0 to 1; number the",
        ),
        ({"test_labels": np.array([0, 1, -1, 1])}, "dataset: labels must be in 0..1 for num_classes = 2, got -1 to 1;"),
        (
            {"train_labels": np.zeros(8, np.int32)},
            "train_labels must hold int64 on 1 axis, got int32 of shape (8,)",
        ),
        ({"train_labels": np.zeros((8, 1), np.int64)}, "must hold int64 on 1 axis, got int64 of shape (8, 1); convert"),
        ({"train_labels": np.zeros(7, np.int64)}, "a label for each of the 8 train images, got 7; drop what has"),
        (
            {"train_images": np.zeros((8, 1, 3, 3))},
            "train_images must hold uint8 or float32 on 2 axes or more, got float64 of shape",
        ),
        (
            {"test_images": np.zeros((4, 3, 3), np.uint8)},
            "test_images must be of 1x3x3 like the training images, got 3x3; bring them",
        ),
        (
            {"test_images": np.zeros(4, np.uint8)},
            "test_images must hold uint8 or float32 on 2 axes or more, got uint8 of shape (4,)",
        ),
        (
            {"test_images": np.zeros((4, 1, 3, 3), np.float32)},
            "test_images must hold uint8 like train_images, got float32; convert one of them",
        ),
        (
            {"train_images": np.where(np.arange(8) == 5, np.inf, 0).astype(np.float32)[:, None]},
            "train_images must be finite, got inf in example 5 (from 0); fill or drop it",
        ),
        (
            {"test_images": np.zeros((4, 1, 4, 3), np.uint8)},
            "test_images must be of 1x3x3 like the training",
        ),
        (
            {"test_images": np.zeros((0, 1, 3, 3), np.uint8)},
            "test_images must hold uint8 or float32 on 2 axes or more, got uint8 of shape",
        ),
        ({"train_images": torch.zeros(8, 1, 3, 3)}, "dataset: train_images must be a NumPy array, got Tensor"),
    ],
)
def test_check__refuses(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError) as caught:
        dataset_check.check(dataset(**values))
    assert str(caught.value).startswith("dataset: ") and line in str(caught.value) and "\n" not in str(caught.value)


def test_check__refuses_what_is_no_dataset() -> None:
    values = tuple(getattr(dataset(), field.name) for field in fields(Dataset))
    with pytest.raises(ValueError, match=r"^dataset: must be a Dataset, got tuple; make one: Dataset\.from_arrays"):
        dataset_check.check(values)  # type: ignore[arg-type]
