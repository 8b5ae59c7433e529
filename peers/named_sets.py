"""Reads the data sets that torchvision knows, and the IDX files of MNIST and Fashion-MNIST wherever they lie."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

TorchvisionKind = Literal["cifar10", "cifar100", "mnist", "fashion-mnist", "stl10", "svhn"]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # train images and labels, test images and labels

_SOURCES: dict[TorchvisionKind, tuple[str, str]] = {  # title, torchvision's class
    "cifar10": ("CIFAR-10", "CIFAR10"),
    "cifar100": ("CIFAR-100", "CIFAR100"),
    "mnist": ("MNIST", "MNIST"),
    "fashion-mnist": ("Fashion-MNIST", "FashionMNIST"),
    "stl10": ("STL-10", "STL10"),
    "svhn": ("SVHN", "SVHN"),
}
_IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read_torchvision(kind: TorchvisionKind, root: Path, download: bool) -> Arrays:
    """Images and labels of a data set that torchvision knows; MNIST's files may also lie in `root` itself.

    Raises:
        ValueError: the files are absent or broken, or the download failed.
    """
    if kind in ("mnist", "fashion-mnist"):
        return _read_idx_splits(kind, root, download)
    arrays: list[np.ndarray] = []
    for split in ("train", "test"):
        if kind in ("stl10", "svhn"):
            source = _open_torchvision(kind, root, download, split=split)
            pixels, labels = source.data, source.labels
        else:
            source = _open_torchvision(kind, root, download, train=split == "train")
            pixels, labels = source.data.transpose(0, 3, 1, 2), source.targets
        arrays += [np.ascontiguousarray(pixels), np.asarray(labels, dtype=np.int64)]
    train, train_labels, test, test_labels = arrays
    return train, train_labels, test, test_labels


def find_idx(folder: Path, names: Sequence[str]) -> list[Path]:
    """The file of each of `names` in `folder`, plain or with .gz; an empty list where any is missing."""
    found = [path for name in names for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    unique = {path.name.removesuffix(".gz"): path for path in reversed(found)}
    return [unique[name] for name in names] if len(unique) == len(names) else []


def read_idx(file: Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file, plain or gzipped.

    Raises:
        ValueError: the file is truncated or not IDX.
    Source: LeCun, Cortes and Burges, the MNIST database, file formats.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data.root: '{file}' is not a whole gzip file; fetch it again") from error
    num_axes = content[3] if content[:3] == b"\x00\x00\x08" else 0  # two zeros, 8 for bytes, the axes
    start = 4 + 4 * num_axes
    shape = np.frombuffer(content[4:start], dtype=">u4").tolist() if len(content) >= start else []
    if num_axes == 0 or len(content) - start != math.prod(shape):
        raise ValueError(f"data.root: '{file}' is not a whole IDX file of bytes; fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _read_idx_splits(kind: TorchvisionKind, root: Path, download: bool) -> Arrays:
    """MNIST's layout, in `root` itself or where torchvision keeps it."""
    name = _SOURCES[kind][1]
    folders = (root, root / name / "raw")
    files = next((found for folder in folders if (found := find_idx(folder, _IDX_NAMES))), [])
    if not files:
        if not download:
            raise _absent(kind, root, download)
        _open_torchvision(kind, root, download, train=True)
        files = find_idx(folders[1], _IDX_NAMES)
    train, train_labels, test, test_labels = (read_idx(file) for file in files)
    return train[:, None], train_labels.astype(np.int64), test[:, None], test_labels.astype(np.int64)


def _open_torchvision(kind: TorchvisionKind, root: Path, download: bool, **options: str | bool) -> Any:
    try:
        import torchvision  # here: an actor has no use for 160 MiB of it

        return getattr(torchvision.datasets, _SOURCES[kind][1])(root, download=download, **options)
    except (OSError, RuntimeError) as error:
        raise _absent(kind, root, download) from error


def _absent(kind: TorchvisionKind, root: Path, download: bool) -> ValueError:
    title, name = _SOURCES[kind]
    if download:
        return ValueError(f"data.download: could not fetch {title} into '{root}'; check the network, or put it there")
    fetch = f"torchvision.datasets.{name}('{root}', download=True)"
    if kind == "svhn":
        fetch = f"[torchvision.datasets.SVHN('{root}', s, download=True) for s in ('train', 'test')]"
    message = f"data.root: no {title} under '{root}'; set data.download = true, or run: "
    message += f'python -c "import torchvision; {fetch}"'
    if kind == "fashion-mnist":
        message += "; on Debian: apt-get install dataset-fashion-mnist, data.root = '/usr/share/datasets/fashion-mnist'"
    return ValueError(message)
