"""Classes from a column of labels."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from peers.base import memory
from peers.data.formats.tables import Source, num_rows, open_table, shown

_ROW_BYTES = 64  # bytes per row: the label as read and as a number, and permutations of the rows


def read_labels(sources: Sequence[Source], column: str, num_classes: int = 0) -> tuple[Int64[np.ndarray, " rows"], int]:
    """The class of each row of all `sources`, and the number of classes.

    Classes are the labels that occur, numbered from 0 in sorted order: integers by value (so 0, 1, .., C - 1 are
    unchanged), booleans as 0 and 1, strings by code point. Negative integers are refused because they usually mark
    examples without a label. Floating-point numbers are refused as well.

    num_classes: if it is known, integers are classes already, and stay as they are; 0: not known.

    Raises:
        ValueError: a file cannot be read, its column is absent, of another type, or holds a null or a negative number,
            or one that is no class; or the rows do not fit into memory.
    """
    rows = num_rows(sources)
    if not rows:
        raise ValueError(f"data.path: no rows in {shown(sources[0])}; give files with examples")
    memory.require(_ROW_BYTES * rows, f"data.path: {rows:,} labels", "give fewer rows")
    parts = [_read(source, column) for source in sources]
    if len({part.type for part in parts}) > 1:
        raise ValueError(
            f"data.label_column: '{column}' holds integers in some files and strings in others; make it one"
        )
    whole = pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)
    if num_classes and whole.type == pa.uint64():
        if (high := pc.max(whole).as_py()) >= num_classes:
            raise ValueError(
                f"data.label_column: '{column}' must be in 0..{num_classes - 1}, of the {num_classes} classes that the "
                f"files name, got {high}; save the data set anew"
            )
        return whole.to_numpy().astype(np.int64), num_classes
    encoded = whole.dictionary_encode().unify_dictionaries().combine_chunks()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[encoded.indices.to_numpy()], len(order)


def check_classes(
    train: Int64[np.ndarray, " train"], test: Int64[np.ndarray, " test"], num_classes: int, column: str
) -> None:
    """Raises: ValueError, if no test example can be classified correctly. Warns, if only some can."""
    known = np.isin(test, train)
    if not known.any():
        raise ValueError(
            f"data.label_column: no test example has a label that a training example has ('{column}' has "
            f"{num_classes:,} different labels in {len(train) + len(test):,} rows); set it to the column of classes, "
            "not of ids"
        )
    if not known.all():
        warnings.warn(
            f"data.label_column: {(~known).sum():,} of {len(test):,} test examples have a label in '{column}' that no "
            "training example has: no probe can be right about them",
            stacklevel=3,
        )


def _read(source: Source, column: str) -> Any:
    """The labels of one source, as unsigned 64-bit integers or strings."""
    labels = open_table(source, column, "data.label_column").column(column)
    where = f"of {shown(source)}"
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
            f"data.label_column: '{column}' must hold integers or strings, got {labels.type} in {shown(source)}; "
            "convert it, or name another column"
        )
    if len(labels) and pc.min(labels).as_py() < 0:
        row = pc.index(pc.less(labels, 0), True).as_py()
        raise ValueError(
            f"data.label_column: '{column}' is {labels[row]} in row {row} (from 0) {where}, and a negative number as a "
            "rule marks an example without a label; drop such rows, or number the classes from 0"
        )
    return labels.cast(pa.uint64())
