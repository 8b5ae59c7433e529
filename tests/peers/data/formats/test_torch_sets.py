from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, Subset, TensorDataset

from peers.base import memory
from peers.data.datasets import Dataset

SERIES = torch.randn(10, 2, 7, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(10) % 2


class Items(TorchDataset[Any]):
    """A list as a torch data set."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


def equal(first: Dataset, second: Dataset) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_from_torch__tensors_as_from_arrays() -> None:
    whole = TensorDataset(SERIES, CLASSES)
    assert equal(Dataset.from_torch(whole, seed=3), Dataset.from_arrays(SERIES, CLASSES, seed=3))
    split = Dataset.from_torch(Subset(whole, [4, 1, 2]), Subset(whole, [0, 9]), name="halves", num_classes=5)
    expected = Dataset.from_arrays(SERIES[[4, 1, 2]], CLASSES[[4, 1, 2]], SERIES[[0, 9]], CLASSES[[0, 9]])
    assert equal(split, expected) and (split.name, split.num_classes) == ("halves", 5)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_from_torch__pillow_images_as_torchvision_reads_them(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 4), dtype=np.uint8)
    pictures = [Image.fromarray(each, "RGBA").convert(mode) for each in pixels]
    made = Dataset.from_torch(Items([(picture, place % 2) for place, picture in enumerate(pictures)]), seed=1)
    kept = "L" if mode in ("L", "1") else "RGB"
    theirs = torch.stack([torchvision.transforms.functional.pil_to_tensor(each.convert(kept)) for each in pictures])
    assert equal(made, Dataset.from_arrays(theirs, CLASSES[:6], seed=1)) and made.train_images.dtype == np.uint8


def test_from_torch__a_torchvision_data_set_with_a_transform() -> None:
    fake = torchvision.datasets.FakeData(8, (3, 6, 6), 2, transform=torchvision.transforms.ToTensor())
    made = Dataset.from_torch(fake, fake)
    assert np.array_equal(made.train_images, torch.stack([image for image, _ in fake]).numpy())
    assert made.train_labels.tolist() == [int(label) for _, label in fake] and made.train_images.max() <= 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (Endless(), "train must be a map-style torch data set (with a length and items), got Endless; collect it"),
        (7, "train must be a map-style torch data set (with a length and items), got int; collect it in arrays"),
        (Items([]), "train must have items, got none; add some"),
        (TensorDataset(SERIES), "train item 0 must be (example, label), got 1 values; wrap the data set in one of"),
        (Items([{"image": SERIES[0], "label": 0}]), "train item 0 must be (example, label), got dict; wrap"),
        (
            Items([(SERIES[0], 0), (SERIES[1, :, :5], 1)]),
            "train item 1 is float32 of shape (2, 5), item 0 float32 of (2, 7); bring all to one shape in",
        ),
        (
            Items([(SERIES[0], 0), (SERIES[1].byte(), 1)]),
            "train item 1 is uint8 of shape (2, 7), item 0 float32 of (2, 7); bring",
        ),
        (Items([(None, 0)] * 3), "train item 0 must be an array, got NoneType; give a NumPy or torch array"),
        (Items([(SERIES[0], None), (SERIES[1], 1)]), "train_labels must be integers or strings, got None in example 0"),
        (
            Items([(SERIES[0].long(), place) for place in (0, 1)]),
            "train_images must be uint8 (pixels, 0 to 255) or float",
        ),
    ],
)
def test_from_torch__refuses(given: Any, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        Dataset.from_torch(given)
    assert str(caught.value).startswith("dataset: ") and line in str(caught.value) and "\n" not in str(caught.value)


def test_from_torch__an_error_of_the_users_own_names_the_item_and_keeps_its_cause() -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            return self.items[index] if index < 2 else self.items[99]

    with pytest.raises(ValueError, match=r"^dataset: train item 2 cannot be read \(IndexError: list index") as caught:
        Dataset.from_torch(Broken([(SERIES[0], 0)] * 4))
    assert isinstance(caught.value.__cause__, IndexError)


def test_from_torch__more_items_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**10)
    with pytest.raises(ValueError, match=r"^dataset: 50 train items need .* of memory, and .* are left; give fewer$"):
        Dataset.from_torch(Items([(SERIES[0], 0)] * 50))
