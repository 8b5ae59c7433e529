"""Reads images that lie in a folder for each class, as torchvision's ImageFolder does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peers.data.datasets import Dataset
from peers.data.formats import images
from peers.data.formats.arrays import Labels, check_known, check_share
from peers.data.formats.holdout import chosen_rows, held_out_share
from peers.data.formats.splits import SPLIT_OF

Found = list[tuple[Path, str]]
"""Files of images, each with the name of its class."""


def load_image_folder(
    path: str | Path,
    *,
    image_size: int,
    train_limit: int,
    test_limit: int,
    test_fraction: float,
    seed: np.random.SeedSequence,
) -> Dataset:
    """Images of path/train/CLASS/* and path/test/CLASS/* (or validation), or of path/CLASS/* with some held out.

    Classes are the names of the folders, in sorted order. The folders of splits may have any of the names that Parquet
    files may have. Only images within the limits are decoded.

    Raises: ValueError, of one line.
    """
    root = Path(path)
    train, test = _splits(root)
    found = [*_in_classes(train), *(_in_classes(test) if test else ())]
    names = sorted({name for _, name in found})
    number = {name: place for place, name in enumerate(names)}
    classes: Labels = np.array([number[name] for _, name in found], dtype=np.int64)
    if len(names) < 2:
        raise ValueError(
            f"data.path: '{train}' must have folders of at least 2 classes, got '{names[0]}' alone; add some"
        )
    if test:
        is_test = np.arange(len(found)) >= len(_in_classes(train))
    else:
        check_share(test_fraction, len(found))
        is_test = held_out_share(classes, test_fraction, seed)
    check_known(classes[~is_test], classes[is_test])
    rows, test_rows = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    rows = rows[chosen_rows("train", len(rows), train_limit, seed)]
    test_rows = test_rows[chosen_rows("test", len(test_rows), test_limit, seed)]
    cells = images.file_cells([file for file, _ in found], "data.path")
    like = images.check_images(cells, (rows, test_rows), image_size)
    pixels, test_pixels = images.read_splits(cells, rows, test_rows, image_size, like)
    return Dataset(root.resolve().name, pixels, classes[rows], test_pixels, classes[test_rows], len(names))


def _splits(root: Path) -> tuple[Path, Path | None]:
    """The folder of the training images, and that of the test images, if there is one. Raises: ValueError."""
    try:
        folders = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:
        raise ValueError(
            f"data.path: no folder '{root}' that can be read; give one of train/CLASS/* and test/CLASS/*, or of CLASS/*"
        ) from None
    by_split: dict[str, list[Path]] = {}
    for folder in folders:
        by_split.setdefault(SPLIT_OF.get(folder.name.lower(), ""), []).append(folder)
    if not by_split.get("train"):
        return root, None
    twice = next((same for split, same in by_split.items() if split and len(same) > 1), None)
    if others := twice or by_split.get(""):
        shown = ", ".join(f"'{each.name}'" for each in others[:3])
        raise ValueError(
            f"data.path: '{root}' must have one folder for each split, or one for each class, got "
            + (f"{shown} for one split" if twice else f"'{by_split['train'][0].name}' beside {shown}")
            + "; rename or remove some"
        )
    test = by_split.get("test") or by_split.get("validation")
    return by_split["train"][0], test[0] if test else None


def _in_classes(folder: Path) -> Found:
    """The images of a folder of classes, by class and name. Raises: ValueError, if a class has none."""
    from torchvision.datasets import ImageFolder  # imported here: actors do not need its 160 MiB

    try:
        found = ImageFolder(str(folder))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"data.path: '{folder}' must have a folder of images for each class ({reason}); add or remove folders"
        ) from None
    names: Sequence[str] = found.classes
    return [(Path(file), names[place]) for file, place in found.samples]
