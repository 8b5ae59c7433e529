"""Reads the data sets of torchvision, and the IDX files of MNIST and Fashion-MNIST from several places."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from peers.base import memory

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
    """Images and labels of a data set of torchvision; MNIST's files may also be in `root` itself.

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


def find_idx(folders: Sequence[Path], name: str) -> list[Path]:
    """All files of this name in any of `folders`, with or without .gz."""
    paths = (path for folder in folders for path in (folder / name, folder / f"{name}.gz"))
    return [path for path in paths if path.is_file()]


def read_idx(file: Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file, which may be gzipped.

    Raises:
        ValueError: the file is truncated or not IDX.
    Source: LeCun, Cortes and Burges, the MNIST database, file formats.
    """
    content = b""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            start = stream.read(4)  # two zeros, 8 for bytes, the number of axes
            num_axes = start[3] if start[:3] == b"\x00\x00\x08" and len(start) == 4 else 0
            sizes = stream.read(4 * num_axes)
            shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], dtype=">u4").tolist()
            if num_axes and len(shape) == num_axes:
                memory.require(math.prod(shape), f"data.root: the bytes of '{file}'", "fetch it again")
                content = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data.root: '{file}' is not a whole gzip file; fetch it again") from error
    if not num_axes or len(shape) != num_axes or len(content) != math.prod(shape):
        raise ValueError(f"data.root: '{file}' is not a whole IDX file of bytes; fetch it again")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_idx_splits(kind: TorchvisionKind, root: Path, download: bool) -> Arrays:
    """Read MNIST's four files from `root` itself, or from torchvision's folder below it."""
    folders = (root, root / _SOURCES[kind][1] / "raw")
    if not all(find_idx(folders, name) for name in _IDX_NAMES):
        if not download:
            raise _absent(kind, root, download)
        _open_torchvision(kind, root, download, train=True)
    train, train_labels, test, test_labels = (_read_alike(find_idx(folders, name)) for name in _IDX_NAMES)
    return train[:, None], train_labels.astype(np.int64), test[:, None], test_labels.astype(np.int64)


def _read_alike(files: Sequence[Path]) -> UInt8[np.ndarray, "..."]:
    """The array that all these files contain. Raises: ValueError, if they differ."""
    first, *others = files
    array = read_idx(first)
    for other in others:
        if not np.array_equal(read_idx(other), array):
            raise ValueError(f"data.root: '{first}' and '{other}' should be the same but differ; move one of them away")
    return array


def _open_torchvision(kind: TorchvisionKind, root: Path, download: bool, **options: str | bool) -> Any:
    try:
        import torchvision  # imported here: actors do not need its 160 MiB

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
