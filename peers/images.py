"""Reads Parquet tables of encoded images and their labels."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64, Shaped, UInt8
from PIL import Image, ImageOps

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_MOST_CLASSES = 65_536
_BATCH_ROWS = 512


def split_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Parquet files of the training and of the test split, each in name order; no test files: hold some rows out.

    A file's split is how its name begins, or its folder's: train, test or (where there is no test) validation.
    The folder itself goes before the folders in it.

    Raises:
        ValueError: there is no such path, or no training file in it.
    """
    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise ValueError(
            f"data.path: no file or folder '{path}'; give a .parquet file, or a folder of train*.parquet, test*.parquet"
        )
    for pattern in ("*.parquet", "*/*.parquet"):
        found: dict[str, list[Path]] = {"train": [], "test": [], "validation": []}
        for file in sorted(path.glob(pattern)):
            folder = file.parent.name if file.parent != path else ""
            named = [split for name in (file.name, folder) for split in found if name.startswith(split)]
            if named:
                found[named[0]].append(file)
        if found["train"]:
            return found["train"], found["test"] or found["validation"]
    raise ValueError(
        f"data.path: no train*.parquet in '{path}' or one folder below; rename the files, or give one .parquet file"
    )


def num_rows(files: Sequence[Path]) -> int:
    """Rows of all `files`, which must be Parquet."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def read_labels(files: Sequence[Path], column: str) -> Shaped[np.ndarray, " rows"]:
    """Labels of all rows of `files`, int64 or strings.

    Raises:
        ValueError: a file is not Parquet, or its column is absent, of another type, or holds a null.
    """
    parts = [_read_labels(file, column) for file in files]
    if len({part.dtype.kind for part in parts}) > 1:
        raise ValueError(
            f"data.label_column: '{column}' holds integers in some files and strings in others; make it one"
        )
    if not sum(len(part) for part in parts):
        raise ValueError(f"data.path: no rows in '{files[0]}'; give files with images")
    return np.concatenate(parts)


def number_labels(labels: Shaped[np.ndarray, " rows"]) -> tuple[Int64[np.ndarray, " rows"], int]:
    """Labels as integers, and the number of classes: integers stay as they are, strings are numbered in sorted order.

    Raises:
        ValueError: an integer is negative or too large to be a class.
    """
    if labels.dtype.kind == "U":
        classes, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64), len(classes)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise ValueError(
            f"data.label_column: integers must be in 0..{_MOST_CLASSES - 1}, got {low} to {high}; use strings"
        )
    return labels.astype(np.int64), high + 1


def read_images(
    files: Sequence[Path],
    rows: Int64[np.ndarray, " rows"],
    column: str,
    size: int,
    like: tuple[int, int] | None = None,
) -> tuple[UInt8[np.ndarray, "rows channel height width"], bool]:
    """Pixels of the ascending `rows`, counted over all `files`, as RGB, and whether all of them are greyscale.

    Args:
        files: Parquet files, read as one table.
        rows: rows to decode; the others are skipped.
        column: bytes of a JPEG, PNG, ..., or a struct with a field `bytes`.
        size: width and height to crop and resize to, in pixels; 0: all images have one size already.
        like: (height, width) that the images must have; None: that of the first.

    Raises:
        ValueError: a column is absent or of another type; an image is null, corrupt or of another size.
    """
    images = np.empty((0, 3, 0, 0), dtype=np.uint8)
    all_grey = True
    for position, (file, row, cell) in enumerate(_cells(files, rows, column)):
        where = f"row {row} (from 0) of '{file}'"
        pixels = _decode(cell, size, where)
        like = like or (pixels.shape[1], pixels.shape[2])
        if pixels.shape[1:] != like:
            raise ValueError(
                f"data.image_size: {where} is {pixels.shape[2]}x{pixels.shape[1]} pixels, the first image "
                f"{like[1]}x{like[0]}; set data.image_size to bring all to one size"
            )
        if position == 0:
            images = np.empty((len(rows), 3, *like), dtype=np.uint8)
        images[position] = pixels  # one grey channel fills all three
        all_grey &= len(pixels) == 1
    return images, all_grey


def _read_labels(file: Path, column: str) -> Shaped[np.ndarray, " rows"]:
    parquet = _open(file, column, "data.label_column")
    with _readable(file):
        labels = parquet.read(columns=[column]).column(column)
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    if labels.null_count:
        row = labels.is_null().to_pylist().index(True)
        raise ValueError(f"data.label_column: '{column}' is null in row {row} (from 0) of '{file}'; drop the row")
    if pa.types.is_integer(labels.type):
        with _readable(file):
            return np.asarray(labels.to_pylist(), dtype=np.int64)
    if pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
        return np.asarray(labels.to_pylist(), dtype=np.str_)
    raise ValueError(f"data.label_column: '{column}' must hold integers or strings, got {labels.type} in '{file}'")


def _cells(
    files: Sequence[Path], rows: Int64[np.ndarray, " rows"], column: str
) -> Iterator[tuple[Path, int, bytes | None]]:
    """File, row in that file, and encoded image of each of `rows`; row groups without any are not read."""
    start = 0
    for file in files:
        parquet = _open(file, column, "data.image_column")
        with _readable(file):
            _check_image_type(parquet.schema_arrow.field(column).type, file, column)
        first = start
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            if len(_within(rows, first, end)):
                batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column])
                while (batch := _next(batches, file)) is not None:
                    for row in _within(rows, first, first + len(batch)).tolist():
                        cell = batch.column(0)[row - first].as_py()
                        yield file, row - start, cell["bytes"] if isinstance(cell, dict) else cell
                    first += len(batch)
            first = end
        start = first


def _within(rows: Int64[np.ndarray, " rows"], first: int, end: int) -> Int64[np.ndarray, " some"]:
    low, high = np.searchsorted(rows, [first, end])
    return rows[low:high]


def _next(batches: Iterator[Any], file: Path) -> Any:
    with _readable(file):
        return next(batches, None)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Damaged pages, doubled columns, numbers out of range: whatever the file does to its reader, in one line."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, OverflowError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(f"data.path: '{file}' is not a readable Parquet file ({reason}); export it again") from error


def _open(file: Path, column: str, field: str) -> Any:
    with _readable(file):
        parquet = pq.ParquetFile(file)
    columns = parquet.schema_arrow.names
    if column not in columns:
        raise ValueError(f"{field}: no column '{column}' in '{file}'; set it to one of {', '.join(columns)}")
    return parquet


def _check_image_type(kind: Any, file: Path, column: str) -> None:
    fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    cell = fields.get("bytes", kind)
    if not (pa.types.is_binary(cell) or pa.types.is_large_binary(cell)):
        raise ValueError(
            f"data.image_column: '{column}' must hold encoded images (binary, or a struct with binary 'bytes'), "
            f"got {kind} in '{file}'"
        )


def _decode(cell: bytes | None, size: int, where: str) -> UInt8[np.ndarray, "channel height width"]:
    """Pixels of one encoded image, with one channel if it is greyscale, else three."""
    if cell is None:
        raise ValueError(f"data.image_column: {where} has no image (null); drop the row")
    try:
        image: Image.Image = Image.open(io.BytesIO(cell))
        image.load()
    except Exception as error:  # Pillow's readers raise whatever the broken bytes lead them to
        raise ValueError(f"data.image_column: {where} is corrupt or not an image; drop or repair the row") from error
    grey = image.mode in _GREY_MODES
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip, not scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("L" if grey else "RGB")
    if size and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
