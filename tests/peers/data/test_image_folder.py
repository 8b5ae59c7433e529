from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from peers.base.seeds import stream
from peers.data.config import ImageFolderData
from peers.data.datasets import Dataset, limit
from peers.data.formats.holdout import held_out_share


def fill(folder: Path, seed: int = 0, size: tuple[int, int] = (4, 5), mode: str = "RGB", **counts: int) -> Path:
    """A folder for each class with so many random images."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for place in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{place}.png")
    return folder


def reference(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes as torchvision reads them."""
    found = ImageFolder(str(folder))
    return np.stack([np.asarray(image) for image, _ in found]).transpose(0, 3, 1, 2), np.array(found.targets)


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(ValueError) as caught:
        ImageFolderData(path=str(path), **options).load(0)
    assert str(caught.value).startswith("data.") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("names", [("train", "test"), ("training", "val"), ("Train", "Validation")])
def test_load__train_and_test_as_torchvision_reads_them(tmp_path: Path, names: tuple[str, str]) -> None:
    fill(tmp_path / names[0], newt=3, asp=4, bee=2)
    fill(tmp_path / names[1], 1, newt=2, bee=1)
    dataset = ImageFolderData(path=str(tmp_path)).load(3)
    images, labels = reference(tmp_path / names[0])
    assert np.array_equal(dataset.train_images, images) and np.array_equal(dataset.train_labels, labels)
    images, labels = reference(tmp_path / names[1])  # where the classes are 0 and 1, but asp is missing
    assert np.array_equal(dataset.test_images, images) and np.array_equal(dataset.test_labels, labels + 1)
    assert dataset.num_classes == 3


def test_load__test_before_validation(tmp_path: Path) -> None:
    for place, name in enumerate(("train", "val", "test")):
        fill(tmp_path / name, place, a=2, b=2)
    assert np.array_equal(ImageFolderData(path=str(tmp_path)).load(0).test_images, reference(tmp_path / "test")[0])


def test_load__classes_alone_hold_a_share_out(tmp_path: Path) -> None:
    fill(tmp_path, a=10, b=5)
    section = ImageFolderData(path=str(tmp_path), test_fraction=0.4)
    images, labels = reference(tmp_path)
    test = held_out_share(labels, 0.4, stream(8, "data"))
    expected = Dataset("x", images[~test], labels[~test], images[test], labels[test], 2)
    for options, subset in (
        ({}, expected),
        ({"train_limit": 4, "test_limit": 3}, limit(expected, 4, 3, stream(8, "data"))),
    ):
        dataset = section.model_copy(update=options).load(8)
        assert np.array_equal(dataset.train_images, subset.train_images)
        assert np.array_equal(dataset.test_images, subset.test_images)
        assert np.array_equal(dataset.test_labels, subset.test_labels)


def test_load__grey_stays_grey_and_sizes_are_made_one(tmp_path: Path) -> None:
    fill(tmp_path / "train", mode="L", a=2, b=2)
    fill(tmp_path / "test", mode="L", size=(9, 7), a=1, b=1)
    line = refusal(tmp_path)
    assert (
        line.startswith("data.image_size: '")
        and "0.png' is 7x9 pixels, the first image 5x4; set data.image_size" in line
    )
    assert ImageFolderData(path=str(tmp_path), image_size=3).load(0).shape == (1, 3, 3)
    fill(tmp_path / "test", size=(9, 7), c=1)
    with pytest.warns(UserWarning, match=r"1 of 3 test examples have a label that no training example has"):
        assert ImageFolderData(path=str(tmp_path), image_size=3).load(0).shape == (3, 3, 3)


def test_load__refuses(tmp_path: Path) -> None:
    assert "no folder '" in refusal(tmp_path / "absent") and "that can be read; give one of train/CLASS/*" in refusal(
        tmp_path / "absent"
    )
    assert "must have a folder of images for each class (Couldn't find any class folder in" in refusal(tmp_path)
    fill(tmp_path / "one", a=3)
    assert "must have folders of at least 2 classes, got 'a' alone; add some" in refusal(tmp_path / "one")
    (tmp_path / "one" / "b").mkdir()
    (tmp_path / "one" / "b" / "notes.txt").touch()
    assert "(Found no valid file for the classes b." in refusal(tmp_path / "one")
    (tmp_path / "one" / "b" / "0.png").write_bytes(b"no image")
    assert "data.path: '" in refusal(
        tmp_path / "one"
    ) and "b/0.png' is corrupt or not an image; drop or repair" in refusal(tmp_path / "one")
    (tmp_path / "one" / "b" / "0.png").unlink()
    (tmp_path / "one" / "b" / "0.png").symlink_to("gone")
    assert "b/0.png' cannot be read (No such file or directory); put it there" in refusal(tmp_path / "one")


def test_load__a_class_that_is_called_train_and_a_split_that_is_there_twice(tmp_path: Path) -> None:
    fill(tmp_path / "vehicles", train=2, bus=2, car=2)
    line = (
        "must have one folder for each split, or one for each class, got 'train' beside 'bus', 'car'; rename or remove"
    )
    assert line in refusal(tmp_path / "vehicles")
    for name in ("train", "val", "valid"):
        fill(tmp_path / "twice" / name, a=2, b=2)
    assert "got 'val', 'valid' for one split; rename or remove some" in refusal(tmp_path / "twice")
