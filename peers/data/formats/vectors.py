"""Reads vectors, series and other arrays of numbers from columns of tables."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int64

from peers.base import memory
from peers.data.formats.arrays import Examples
from peers.data.formats.shapes import Shape, sizes
from peers.data.formats.tables import Source, num_rows, open_table, shown, within

Rows = Int64[np.ndarray, " _"]


def holds_vectors(kind: Any) -> bool:
    """Whether a column of this Arrow type holds lists of numbers of any depth, or tensors."""
    if isinstance(
        kind, pa.BaseExtensionType
    ):  # such as pyarrow's own tensors, or the arrays of Hugging Face's datasets
        return holds_vectors(kind.storage_type)
    return _is_list(kind) and (holds_vectors(kind.value_type) or _is_number(kind.value_type))


def read_vectors(sources: Sequence[Source], rows: Rows, column: str) -> Examples:
    """The ascending `rows` of a column of lists of one length, nested or not, counted over all `sources`.

    Bytes stay uint8 (pixels); all other numbers become float32.

    Raises: ValueError, if a list or a number is missing, lists differ in length, or a number is not finite.
    """
    field, start, done = "data.image_column", 0, 0
    made: np.ndarray | None = None
    for source in sources:
        table = open_table(source, column, field)
        end = start + table.num_rows
        wanted = within(rows, start, end) - start
        for first, part in table.parts(column, wanted):
            local = within(wanted, first, first + len(part)) - first
            where = f"{field}: '{column}'"
            dense = _dense(part.take(pa.array(local)), where, local + first, shown(source))
            if made is None:
                memory.require(len(rows) * dense[0].nbytes, f"data: {len(rows):,} examples", "set data.train_limit")
                made = np.empty((len(rows), *dense.shape[1:]), dense.dtype)
            if (dense.dtype, dense.shape[1:]) != (made.dtype, made.shape[1:]):
                raise ValueError(
                    f"{where} must hold arrays of one type and size, got {dense.dtype} of {sizes(dense.shape[1:])} in "
                    f"row {local[0] + first} (from 0) of {shown(source)}, before it {made.dtype} of "
                    f"{sizes(made.shape[1:])}; cut or pad them to one size"
                )
            made[done : done + len(dense)] = dense
            done += len(dense)
        start = end
    assert made is not None, "rows are those of the sources"
    return made[:, None] if made.dtype == np.uint8 and made.ndim == 3 else made


def read_columns(sources: Sequence[Source], rows: Rows, columns: Sequence[str]) -> Float32[np.ndarray, "rows features"]:
    """The ascending `rows` of several columns of numbers, as vectors. Raises: ValueError, as `read_vectors` does."""
    field = "data.feature_columns"
    memory.require(4 * len(rows) * len(columns), f"data: {len(rows):,} vectors", "set data.train_limit")
    made = np.empty((len(rows), len(columns)), np.float32)
    start = done = 0
    for source in sources:
        end = start + num_rows([source])
        wanted = within(rows, start, end) - start
        for place, column in enumerate(columns):
            values = open_table(source, column, field).column(column)
            if not _is_number(values.type):
                raise ValueError(
                    f"{field}: '{column}' must hold numbers, got {values.type} in {shown(source)}; number its values, "
                    "or leave it out"
                )
            chosen = values.take(pa.array(wanted)).combine_chunks()
            where = f"{field}: '{column}'"
            made[done : done + len(wanted), place] = _numbers(chosen, where, wanted, shown(source), 1)
        done += len(wanted)
        start = end
    return made


def _dense(array: Any, where: str, rows: Rows, source: str) -> np.ndarray:
    """Lists of equal lengths as one array; rows: the number of each, for error messages. Raises: ValueError."""
    tensor = array.type if isinstance(array.type, pa.FixedShapeTensorType) else None
    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    shape: Shape = ()
    for lengths, missing in _levels(array):
        per_row = int(np.prod(shape)) if shape else 1
        if missing is not None:
            raise ValueError(f"{where} is null in row {rows[missing // per_row]} (from 0) of {source}; drop the row")
        other = np.flatnonzero(lengths != lengths[0])
        if len(other) or not lengths[0]:
            row = rows[(other[0] if len(other) else 0) // per_row]
            raise ValueError(
                f"{where} must hold arrays of one size, got {lengths[other[0]] if len(other) else 0} values in row "
                f"{row} (from 0) of {source}"
                + (f", in the first {lengths[0]}" if len(other) else "")
                + "; cut or pad them to one size"
            )
        shape = (*shape, int(lengths[0]))
    while _is_list(array.type):
        array = array.flatten()
    values = _numbers(array, where, rows, source, len(array) // len(rows))
    if tensor is None:
        return values.reshape(len(rows), *shape)
    order = tensor.permutation or range(len(tensor.shape))  # of axes in memory
    in_memory = values.reshape(len(rows), *tensor.shape)
    return in_memory.transpose(0, *(1 + place for place in order))


def _levels(array: Any) -> Iterator[tuple[Int64[np.ndarray, " lists"], int | None]]:
    """For each level of nested lists: the length of every list, and the place of a null among them."""
    while _is_list(array.type):
        missing = pc.index(array.is_null(), True).as_py() if array.null_count else None
        yield pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), missing
        array = array.flatten()


def _numbers(array: Any, where: str, rows: Rows, source: str, per_row: int) -> np.ndarray:
    """Numbers as uint8 or float32. Raises: ValueError, if one is null or not finite."""
    if array.null_count:
        row = rows[pc.index(array.is_null(), True).as_py() // per_row]
        raise ValueError(f"{where} has a null in row {row} (from 0) of {source}; fill it, or drop the row")
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    if values.dtype == np.uint8:
        return values
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        bad = int(finite.argmin())
        raise ValueError(
            f"{where} must be finite, got {numbers[bad]} in row {rows[bad // per_row]} (from 0) of {source}; fill it, "
            "or drop the row"
        )
    return numbers


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in is_number)
