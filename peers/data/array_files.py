"""Reads arrays from .npz and .npy files."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from peers.base import memory
from peers.data.datasets import Dataset

_NAMES = (  # of one file: examples and labels of training and test
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
)


def load_arrays(path: str | Path, *, num_classes: int, test_fraction: float, seed: int) -> Dataset:
    """A data set from an .npz file, or from a folder of .npy files, with the names of its arrays told by `_NAMES`.

    num_classes: 0: found from the labels. Without arrays of test examples, a share of the examples is held out. The
    arrays are those that `Dataset.from_arrays` takes.

    Raises: ValueError, of one line.
    """
    path = Path(path)
    found = _in_folder(path) if path.is_dir() else _in_file(path)
    known = [names for names in _NAMES if set(names[:2]) <= found.keys()]
    if len(known) != 1:
        wanted = " or ".join(", ".join(names[:2]) for names in _NAMES[:2])
        have = ", ".join(list(found)[:8]) or "none"
        raise ValueError(
            f"data.path: '{path}' must have arrays {wanted} (and those of test, where there are some), and not both, "
            f"got {have}; rename them"
        )
    names = known[0]
    try:
        return Dataset.from_arrays(
            *(found.get(name) for name in names),
            name=path.resolve().stem,
            num_classes=num_classes or None,
            test_fraction=test_fraction,
            seed=seed,
        )
    except ValueError as error:
        message = str(error).removeprefix("dataset: ")
        for ours, theirs in zip(_NAMES[0], names, strict=True):
            message = message.replace(ours, theirs)
        raise ValueError(f"data.path: '{path}': {message}") from None


def _in_file(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(
            f"data.path: no file or folder '{path}'; give an .npz file (numpy.savez), or a folder of .npy files"
        )
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as packed:
            needed = sum(entry.file_size for entry in packed.infolist())
        memory.require(needed, f"data.path: the arrays of '{path}'", "save fewer examples")
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                if any(name in names for names in _NAMES):
                    arrays[name] = file[name]
            return arrays or dict.fromkeys(file.files, np.empty(0))
    except (OSError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _pickled(path, error) from error


def _in_folder(path: Path) -> Mapping[str, np.ndarray]:
    names = {file.stem: file for file in sorted(path.glob("*.npy"))}
    return {name: _read(file) if any(name in each for each in _NAMES) else np.empty(0) for name, file in names.items()}


def _read(file: Path) -> Any:
    try:
        mapped = np.lib.format.open_memmap(file, mode="r")
        memory.require(mapped.nbytes, f"data.path: the array of '{file}'", "save fewer examples")
        return np.array(mapped)
    except (OSError, EOFError) as error:
        raise _unreadable(file, error) from error
    except ValueError as error:
        raise _pickled(file, error) from error


def _unreadable(file: Path, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or [""])[0][:120]
    return ValueError(f"data.path: '{file}' is not a whole .npz or .npy file ({reason}); save it again")


def _pickled(file: Path, error: ValueError) -> ValueError:
    """The error of a file that only pickle could read, or of one that does not fit into memory."""
    if str(error).startswith("data.path: "):
        return error
    if "object" in str(error).lower():  # Object arrays cannot be loaded; Python objects in dtype
        return ValueError(
            f"data.path: '{file}' holds Python objects, which are not read; bring examples to one shape and labels to "
            "integers or strings, and save it again"
        )
    return _unreadable(file, error)
