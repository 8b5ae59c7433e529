from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers.base import memory
from peers.data.config import ArraysData
from peers.data.datasets import Dataset

VALUES = np.random.default_rng(0).normal(size=(20, 2, 6))
LABELS = np.arange(20) % 4
ARRAYS = (VALUES[:12], LABELS[:12], VALUES[12:], LABELS[12:])
OURS = ("train_images", "train_labels", "test_images", "test_labels")


def equal(first: Dataset, second: Dataset) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in OURS)


def save(path: Path, packed: bool, arrays: dict[str, Any]) -> str:
    """An .npz file, or a folder of .npy files."""
    if packed:
        np.savez(path / "mine.npz", **arrays)
        return str(path / "mine.npz")
    (path / "mine").mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(path / "mine" / f"{name}.npy", array)
    return str(path / "mine")


def refusal(path: str, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        ArraysData(path=path, **options).load(0)
    assert str(caught.value).startswith("data.path: ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "names", [OURS, ("x_train", "y_train", "x_test", "y_test"), ("X_train", "y_train", "X_test", "y_test")]
)
def test_load__every_spelling_as_from_arrays(tmp_path: Path, packed: bool, names: tuple[str, ...]) -> None:
    path = save(tmp_path, packed, {**dict(zip(names, ARRAYS, strict=True)), "notes": np.zeros(3)})
    loaded = ArraysData(path=path).load(5)
    assert equal(loaded, Dataset.from_arrays(*ARRAYS)) and (loaded.name, loaded.num_classes) == ("mine", 4)
    limited = ArraysData(path=path, train_limit=7, num_classes=9)
    assert equal(limited.load(5), limited.limited(loaded, 5)) and limited.load(5).num_classes == 9


@pytest.mark.parametrize("packed", [True, False])
def test_load__without_test_arrays_a_share_is_held_out(tmp_path: Path, packed: bool) -> None:
    path = save(tmp_path, packed, {"x_train": VALUES.astype(np.float32), "y_train": LABELS.astype(str)})
    loaded = ArraysData(path=path, test_fraction=0.4).load(6)
    assert (
        equal(loaded, Dataset.from_arrays(VALUES, LABELS, test_fraction=0.4, seed=6)) and len(loaded.test_labels) == 8
    )


def test_load__compressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "mine.npz", **dict(zip(OURS, ARRAYS, strict=True)))
    assert equal(ArraysData(path=str(tmp_path / "mine.npz")).load(0), Dataset.from_arrays(*ARRAYS))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"images": VALUES}, "must have arrays train_images, train_labels or x_train, y_train (and those of test"),
        ({}, "and not both, got none; rename them"),
        (
            {"x_train": VALUES, "y_train": LABELS, "train_images": VALUES, "train_labels": LABELS},
            "and not both, got train_images, train_labels, x_train, y_train; rename them",
        ),
        (
            {"x_train": VALUES, "y_train": LABELS[:9]},
            "y_train must have a label for each of the 20 x_train, got 9; drop",
        ),
        ({"x_train": VALUES, "y_train": LABELS, "x_test": VALUES}, "y_test are missing; give them, or neither"),
        (
            {"x_train": VALUES, "y_train": LABELS + 1},
            "labels that are integers must be 0..3, all of which occur, got 4",
        ),
        (
            {"x_train": np.array([[1], [1, 2]], object), "y_train": LABELS},
            "holds Python objects, which are not read; bring",
        ),
    ],
)
def test_load__refuses(tmp_path: Path, packed: bool, arrays: dict[str, Any], line: str) -> None:
    (tmp_path / "mine").mkdir()
    path = save(tmp_path, packed, dict(sorted(arrays.items())))
    assert f"'{path}" in refusal(path) and line in refusal(path)


def test_load__files_that_are_not_whole(tmp_path: Path) -> None:
    assert "no file or folder" in refusal(str(tmp_path / "absent.npz"))
    packed = Path(save(tmp_path, True, {"x_train": VALUES, "y_train": LABELS}))
    whole = packed.read_bytes()
    for broken in (b"", b"text", whole[: len(whole) // 2], whole[:400] + bytes(200) + whole[600:]):
        packed.write_bytes(broken)
        assert "is not a whole .npz or .npy file (" in refusal(str(packed))
    folder = Path(save(tmp_path, False, {"x_train": VALUES, "y_train": LABELS}))
    whole = (folder / "x_train.npy").read_bytes()
    for broken in (b"", b"text", whole[:300]):
        (folder / "x_train.npy").write_bytes(broken)
        assert "x_train.npy' is not a whole .npz or .npy file (" in refusal(str(folder))


def test_load__more_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((100, 1000), np.float32)
    np.savez_compressed(tmp_path / "x.npz", x_train=zeros, y_train=np.arange(100) % 2)
    folder = save(tmp_path, False, {"x_train": zeros, "y_train": np.arange(100) % 2})
    assert (tmp_path / "x.npz").stat().st_size < 10_000
    monkeypatch.setattr(memory, "available", lambda: 2**18)
    assert "need 0.4 MiB of memory, and 0.2 MiB are left; save fewer examples" in refusal(str(tmp_path / "x.npz"))
    assert "need 0.4 MiB of memory, and 0.2 MiB are left; save fewer examples" in refusal(folder)
