"""Classes from a column of labels."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from peers.base import memory
from peers.data.tables import num_rows, open_table, readable

_ROW_BYTES = 64  # bytes per row: the label as read and as a number, and permutations of the rows


def read_labels(files: Sequence[Path], column: str) -> tuple[Int64[np.ndarray, " rows"], int]:
    """The class of each row of all `files`, and the number of classes.

    Classes are the labels that occur, numbered from 0 in sorted order: integers by value (so 0, 1, .., C - 1 are
    unchanged), booleans as 0 and 1, strings by code point. Negative integers are refused because they usually mark
    images without a label. Floating-point numbers are refused as well.

    Raises:
        ValueError: a file is not Parquet, its column is absent, of another type, or holds a null or a negative number;
            or the rows do not fit into memory.
    """
    rows = num_rows(files)
    if not rows:
        raise ValueError(f"data.path: no rows in '{files[0]}'; give files with images")
    memory.require(_ROW_BYTES * rows, f"data.path: {rows:,} labels", "give fewer rows")
    parts = [_read(file, column) for file in files]
    if len({part.type for part in parts}) > 1:
        raise ValueError(
            f"data.label_column: '{column}' holds integers in some files and strings in others; make it one"
        )
    whole = pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)
    encoded = whole.dictionary_encode().unify_dictionaries().combine_chunks()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[encoded.indices.to_numpy()], len(order)


def check_classes(
    train: Int64[np.ndarray, " train"], test: Int64[np.ndarray, " test"], num_classes: int, column: str
) -> None:
    """Raises: ValueError, if no test image can be classified correctly. Warns, if only some can."""
    known = np.isin(test, train)
    if not known.any():
        raise ValueError(
            f"data.label_column: no test image has a label that a training image has ('{column}' has {num_classes:,} "
            f"different labels in {len(train) + len(test):,} rows); set it to the column of classes, not of ids"
        )
    if not known.all():
        warnings.warn(
            f"data.label_column: {(~known).sum():,} of {len(test):,} test images have a label in '{column}' that no "
            "training image has: no probe can be right about them",
            stacklevel=3,
        )


def _read(file: Path, column: str) -> Any:
    """The labels of one file, as unsigned 64-bit integers or strings."""
    parquet = open_table(file, column, "data.label_column")
    with readable(file):
        labels = parquet.read(columns=[column]).column(column)
    where = f"of '{file}'"
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    if labels.null_count:
        row = pc.index(labels.is_null(), True).as_py()
        raise ValueError(f"data.label_column: '{column}' is null in row {row} (from 0) {where}; drop the row")
    if pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
        return labels.cast(pa.large_string())
    if pa.types.is_boolean(labels.type):
        return labels.cast(pa.uint64())
    if not pa.types.is_integer(labels.type):
        raise ValueError(
            f"data.label_column: '{column}' must hold integers or strings, got {labels.type} in '{file}'; convert it, "
            "or name another column"
        )
    if len(labels) and pc.min(labels).as_py() < 0:
        row = pc.index(pc.less(labels, 0), True).as_py()
        raise ValueError(
            f"data.label_column: '{column}' is {labels[row]} in row {row} (from 0) {where}, and a negative number as a "
            "rule marks an image without a label; drop such rows, or number the classes from 0"
        )
    return labels.cast(pa.uint64())
