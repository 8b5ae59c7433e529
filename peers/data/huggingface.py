"""Reads data sets that Hugging Face's `datasets` saved to disk, without that package.

Source: datasets.Dataset.save_to_disk: a folder of Arrow streams named by state.json, with the types of the columns in
dataset_info.json; datasets.DatasetDict.save_to_disk: such a folder for each split named by dataset_dict.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from peers.data.datasets import Dataset
from peers.data.formats.splits import SPLIT_OF
from peers.data.formats.table_arrays import Columns, read_tables


def load_saved(
    path: str | Path,
    columns: Columns,
    *,
    train_limit: int,
    test_limit: int,
    test_fraction: float,
    seed: np.random.SeedSequence,
) -> Dataset:
    """A data set from a folder that `save_to_disk` wrote, of one split or of several.

    Labels of the type ClassLabel stay as they are, and tell the number of classes. The validation split serves as the
    test split if there is no other; without both, a share of the rows is held out.

    Raises: ValueError, of one line.
    """
    root = Path(path)
    train, test = _splits(root)
    whole = read_tables(
        _tables(train),
        _tables(test) if test else [],
        columns,
        limits=(train_limit, test_limit),
        test_fraction=test_fraction,
        seed=seed,
        num_classes=_num_classes(train, columns.label),
    )
    return Dataset(root.resolve().name, *whole)


def _splits(root: Path) -> tuple[Path, Path | None]:
    """The folder of the training split, and that of the test split, if there is one. Raises: ValueError."""
    if (root / "state.json").is_file():
        return root, None
    if not (root / "dataset_dict.json").is_file():
        raise ValueError(
            f"data.path: '{root}' has no state.json or dataset_dict.json; give the folder that save_to_disk wrote"
        )
    names = _json(root / "dataset_dict.json").get("splits", [])
    by_split: dict[str, str] = {}
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and Path(name).name == name:
            by_split.setdefault(SPLIT_OF.get(name.lower(), name), name)
    if "train" not in by_split:
        raise ValueError(
            f"data.path: '{root}' must have a split named train, got {', '.join(by_split) or 'none'}; give the folder "
            "of one of them, whose test rows are held out"
        )
    test = by_split.get("test") or by_split.get("validation")
    return root / by_split["train"], root / test if test else None


def _tables(folder: Path) -> list[Path]:
    """The Arrow files of a split, in order. Raises: ValueError."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise ValueError(
            f"data.path: '{folder}' chooses rows by a file of indices; call flatten_indices(), and save it again"
        )
    entries = state.get("_data_files")
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise ValueError(f"data.path: '{folder / 'state.json'}' names no data files of this folder; save it again")
    return [folder / str(name) for name in names]


def _num_classes(folder: Path, column: str) -> int:
    """The number of classes of a column of ClassLabel; 0 for another type, or if nothing tells its type."""
    if not (folder / "dataset_info.json").is_file():
        return 0
    features = _json(folder / "dataset_info.json").get("features")
    feature = features.get(column) if isinstance(features, dict) else None
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return 0
    names = feature.get("names")
    return len(names) if isinstance(names, list) else 0


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(f"data.path: '{file}' cannot be read as JSON ({reason}); save the data set again") from error
    if not isinstance(found, dict):
        raise ValueError(f"data.path: '{file}' must hold an object of JSON; save the data set again")
    return found
