from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import torch

from peers.base import memory
from peers.base.seeds import child, stream
from peers.data import dataset_check
from peers.data.datasets import Dataset
from peers.data.formats.holdout import stratified_holdout

VECTORS = np.random.default_rng(0).normal(size=(12, 5))
CLASSES = np.arange(12) % 3


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def refusal(*arguments: Any, **options: Any) -> str:
    """The one line with which arrays are refused."""
    with pytest.raises(ValueError) as caught:
        Dataset.from_arrays(*arguments, **options)
    line = str(caught.value)
    assert line.startswith("dataset: ") and "\n" not in line and len(line) < 300
    return line


# ---- what is taken ----


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pixels(6, 3, 4, 5), pixels(6, 3, 4, 5)),
        (pixels(6, 4, 5), pixels(6, 4, 5)[:, None]),  # grey images
        (pixels(6, 9), pixels(6, 9)),
        (VECTORS[:6], VECTORS[:6].astype(np.float32)),
        (VECTORS[:6].astype(">f8"), VECTORS[:6].astype(np.float32)),
        (VECTORS[:6].astype(np.float16), VECTORS[:6].astype(np.float16).astype(np.float32)),
        (VECTORS[:6].tolist(), VECTORS[:6].astype(np.float32)),
        (VECTORS[:6].reshape(6, 5, 1), VECTORS[:6].reshape(6, 5, 1).astype(np.float32)),  # series stay as they are
        (VECTORS.reshape(6, 1, 2, 5, 1, 1), VECTORS.reshape(6, 1, 2, 5, 1, 1).astype(np.float32)),
        (torch.tensor(VECTORS[:6], requires_grad=True), VECTORS[:6].astype(np.float32)),
        (torch.tensor(VECTORS[:6]).bfloat16(), torch.tensor(VECTORS[:6]).bfloat16().float().numpy()),
        (torch.tensor(pixels(6, 3, 4, 5)), pixels(6, 3, 4, 5)),
        (pd.DataFrame(VECTORS[:6]), VECTORS[:6].astype(np.float32)),
    ],
)
def test_from_arrays__examples(given: Any, expected: np.ndarray) -> None:
    labels = [0, 1, 0, 1, 1, 0]
    dataset = Dataset.from_arrays(given, labels, given, labels)
    assert dataset.train_images.dtype == expected.dtype and np.array_equal(dataset.train_images, expected)
    assert np.array_equal(dataset.test_images, expected) and dataset.shape == expected.shape[1:]
    dataset_check.check(dataset)


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ([0, 2, 1, 1, 0, 2], [0, 2, 1, 1, 0, 2]),
        (np.array([0, 2, 1, 1, 0, 2], np.uint8)[:, None], [0, 2, 1, 1, 0, 2]),
        (torch.tensor([0, 2, 1, 1, 0, 2]), [0, 2, 1, 1, 0, 2]),
        ([True, False] * 3, [1, 0] * 3),
        (["newt", "asp", "bee"] * 2, [2, 0, 1] * 2),
        (pd.Series(["newt", "asp", "bee"] * 2, dtype="category"), [2, 0, 1] * 2),
        (np.array(["b", "a"] * 3, dtype=object), [1, 0] * 3),
        (np.array([1, 0] * 3, dtype=object), [1, 0] * 3),
        (["10", "9"] * 3, [0, 1] * 3),
    ],
)
def test_from_arrays__labels(labels: Any, numbers: list[int]) -> None:
    dataset = Dataset.from_arrays(VECTORS[:6], labels, VECTORS[6:], labels)
    assert dataset.train_labels.tolist() == dataset.test_labels.tolist() == numbers
    assert (dataset.train_labels.dtype, dataset.num_classes) == (np.int64, max(numbers) + 1)


def test_from_arrays__labels_of_both_splits_are_numbered_together() -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 test examples have a label that no training example has"):
        dataset = Dataset.from_arrays(VECTORS[:2], ["b", "d"], VECTORS[2:4], ["c", "b"])
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist(), dataset.num_classes) == ([0, 2], [1, 0], 3)


def test_from_arrays__with_their_number_integers_stay_as_they_are() -> None:
    dataset = Dataset.from_arrays(VECTORS[:4], [7, 2, 7, 2], VECTORS[4:6], [2, 7], num_classes=10)
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist(), dataset.num_classes) == (
        [7, 2, 7, 2],
        [2, 7],
        10,
    )
    assert Dataset.from_arrays(VECTORS[:4], [*"baba"], VECTORS[4:6], [*"ab"], num_classes=4).num_classes == 4


def test_from_arrays__holds_out_a_share_of_each_class_as_a_run_of_this_seed_does() -> None:
    values, labels = sklearn.datasets.load_wine(return_X_y=True)
    dataset = Dataset.from_arrays(values, labels, test_fraction=0.25, seed=3)
    test = stratified_holdout(labels, round(len(labels) * 0.25), np.random.default_rng(child(stream(3, "data"), 0)))
    assert np.array_equal(dataset.test_images, values[test].astype(np.float32))
    assert np.array_equal(dataset.train_images, values[~test].astype(np.float32))
    assert np.array_equal(dataset.train_labels, labels[~test]) and np.array_equal(dataset.test_labels, labels[test])
    assert (np.abs(np.bincount(dataset.test_labels) - np.bincount(labels) * 0.25) <= 1).all()
    assert repr(dataset) == (
        f"Dataset('mine': {(~test).sum()} training and {test.sum()} test vectors of 13 values, float32, 3 classes)"
    )


# ---- what is refused ----


@pytest.mark.parametrize(
    ("images", "line"),
    [
        ([[1.0, 2.0], [3.0]] * 6, "train_images must be an array, got list that is none (unequal shapes); bring all"),
        (
            np.array([None] * 12)[:, None],
            "train_images must be one array of numbers, got objects; bring all examples to",
        ),
        (np.zeros(12), "none of them empty, got shape (12,); use array[:, None] for examples of a single value"),
        (np.zeros((12, 0)), "none of them empty, got shape (12, 0); use"),
        (np.zeros((0, 3)), "none of them empty, got shape (0, 3); use"),
        ("abc", "train_images must be an array, got str; give a NumPy or torch array"),
        (3.0, "train_images must be an array, got float; give"),
        (np.zeros((12, 3), np.int64), 'floating-point numbers, got int64; use .astype("uint8") for pixels, .astype('),
        (np.zeros((12, 3), bool), "floating-point numbers, got bool; use"),
        (np.zeros((12, 3), complex), "floating-point numbers, got complex128; use"),
        (np.full((12, 3), "a"), "floating-point numbers, got <U1; use"),
        (
            np.zeros((12, 32, 32, 3), np.uint8),
            "channels first, got (12, 32, 32, 3), which looks like channels last; use",
        ),
        (np.zeros((12, 8, 6, 1)), "must have their channels first, got (12, 8, 6, 1), which looks like channels last"),
        (
            np.where(np.arange(12) == 7, np.nan, 0)[:, None],
            "train_images as float32 must be finite, got nan in example 7",
        ),
        (np.full((12, 2), 1e39), "train_images as float32 must be finite, got inf in example 0 (from 0); fill or drop"),
        (np.ma.masked_equal(np.eye(12), 1), "train_images must not have masked values; fill them, or drop these"),
        (torch.eye(12).to_sparse(), "train_images must be an array, got Tensor that is none ("),
    ],
)
def test_from_arrays__refuses_examples(images: Any, line: str) -> None:
    assert line in refusal(images, CLASSES)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (None, "train_labels are missing; give them, or neither images nor labels"),
        (
            CLASSES[:11],
            "train_labels must have a label for each of the 12 train_images, got 11; drop what has no partner",
        ),
        (CLASSES + 1, "must be 0..2, all of which occur, got 3 different ones from 1 to 3; give num_classes to keep"),
        (CLASSES * 5, "must be 0..2, all of which occur, got 3 different ones from 0 to 10; give num_classes"),
        (CLASSES * 0, "labels must be of at least 2 classes, got 0 alone; add others"),
        (["a"] * 12, "labels must be of at least 2 classes, got a alone; add others"),
        (
            CLASSES - 1,
            "train_labels must not be negative, got -1 in example 0 (from 0), and a negative number as a rule",
        ),
        (CLASSES * 1.0, 'train_labels must be integers or strings, got float64; use .astype("int64") or .astype(str)'),
        (np.where(CLASSES == 1, np.nan, CLASSES), "train_labels are missing (nan) in example 1 (from 0); drop it, or"),
        (
            [0, 1, None] * 4,
            "train_labels must be integers or strings, got None in example 2 (from 0); drop it, or label",
        ),
        (
            pd.Series([0, 1, pd.NA] * 4),
            "must be integers or strings, got <NA> in example 2 (from 0); drop it, or label",
        ),
        (np.array(["a", np.nan, "b"] * 4, object), "must be integers or strings, got nan in example 1 (from 0); drop"),
        (
            np.array([0.5, "a", "b"] * 4, object),
            "must be integers or strings, got 0.5 in example 0 (from 0); convert it",
        ),
        (np.array([0, "a", "b"] * 4, object), "train_labels hold strings and integers; make them one"),
        (np.array([2**70, 1, 0] * 4, object), "train_labels must be below 2**63; give strings for ids"),
        (np.eye(3)[CLASSES], "one axis of labels, got shape (12, 3); use .argmax(axis=1) for one-hot labels"),
        (np.zeros((12, 1, 1)), "one axis of labels, got shape (12, 1, 1); give one label an example"),
    ],
)
def test_from_arrays__refuses_labels(labels: Any, line: str) -> None:
    assert line in refusal(VECTORS, labels)


@pytest.mark.parametrize(
    ("test", "options", "line"),
    [
        ((VECTORS, None), {}, "test_labels are missing; give them, or neither"),
        ((None, CLASSES), {}, "test_images are missing; give them, or neither"),
        (
            (VECTORS[:, :4], CLASSES),
            {},
            "test_images must be of shape (5,) like train_images, got (4,); convert one of",
        ),
        (
            (pixels(12, 5), CLASSES),
            {},
            "test_images must be of dtype float32 like train_images, got uint8; convert one",
        ),
        ((VECTORS, CLASSES.astype(str)), {}, "train_labels and test_labels hold strings here and integers there; make"),
        ((VECTORS, CLASSES), {"num_classes": 2}, "labels must be in 0..1 for num_classes = 2, got 2; raise it"),
        (
            (VECTORS, CLASSES),
            {"num_classes": True},
            "num_classes must be a whole number of at least 2, got True; correct",
        ),
        ((VECTORS, CLASSES), {"num_classes": 1}, "num_classes must be a whole number of at least 2, got 1; correct it"),
        (
            (),
            {"test_fraction": 1.0},
            "test_fraction must be above 0 and below 1, and leave examples on both sides, got 1.0",
        ),
        ((), {"seed": -1}, "seed must be a whole number from 0 on, got -1; give that of the run"),
        ((), {"test_fraction": 0.99}, "leave examples on both sides, got 0.99 of 12 examples; change it, or give test"),
    ],
)
def test_from_arrays__refuses_parts_that_do_not_fit(test: tuple[Any, ...], options: dict[str, Any], line: str) -> None:
    assert line in refusal(VECTORS, CLASSES, *test, **options)


def test_from_arrays__refuses_strings_beyond_their_number_and_test_examples_of_other_classes() -> None:
    assert "labels must be of at most num_classes = 2 classes, got 3; raise it" in refusal(
        VECTORS, CLASSES.astype(str), num_classes=2
    )
    assert "no test example has a label that a training example has; shuffle the examples" in refusal(
        VECTORS, np.arange(12), seed=1
    )


def test_from_arrays__refuses_a_copy_that_the_memory_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.zeros((4, 2**18))
    monkeypatch.setattr(memory, "available", lambda: 2**22 - 1)
    assert "train_images of shape (4, 262144) need 4.0 MiB of memory, and 4.0 MiB are left; give float32" in refusal(
        large, [0, 1, 0, 1]
    )
    assert Dataset.from_arrays(large.astype(np.float32), [0, 1, 0, 1]).shape == (2**18,)


def test_from_arrays__is_what_it_was_for_any_order_in_memory() -> None:
    images = pixels(9, 6, 7, 3)
    first = Dataset.from_arrays(np.moveaxis(images, -1, 1), np.arange(9) % 2, seed=4)
    again = Dataset.from_arrays(np.ascontiguousarray(np.moveaxis(images, -1, 1)), np.arange(9) % 2, seed=4)
    assert dataset_check.digest_of(first) == dataset_check.digest_of(again)
