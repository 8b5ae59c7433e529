"""Reads encoded images from columns of tables or from files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8

from peers.base import memory
from peers.data.formats.decoding import DECODING_BYTES, Cell, decode, read_header
from peers.data.formats.tables import Source, open_table, shown, within

Rows = Int64[np.ndarray, " _"]
Cells = Callable[[Rows], Iterator[Cell]]
"""The encoded images of the rows that are asked for, which ascend."""


def table_cells(sources: Sequence[Source], column: str) -> Cells:
    """The images of a column: binary (JPEG, PNG, ...), or structs with a field `bytes`, or a `path` where that is null.

    Rows are counted over all `sources`.
    """

    def cells(rows: Rows) -> Iterator[Cell]:
        start = 0
        for source in sources:
            table = open_table(source, column, "data.image_column")
            _check_image_type(table.schema.field(column).type, source, column)
            end = start + table.num_rows
            wanted = within(rows, start, end) - start
            for first, part in table.parts(column, wanted):
                for row in within(wanted, first, first + len(part)).tolist():
                    where = f"row {row} (from 0) of {shown(source)}"
                    yield Cell(_encoded(part[row - first].as_py(), source, where), where)
            start = end

    return cells


def file_cells(files: Sequence[Path], field: str) -> Cells:
    """The images of these files, one a row; `field` is the setting that names their folder."""

    def cells(rows: Rows) -> Iterator[Cell]:
        for row in rows.tolist():
            yield Cell(_content(files[row], field, f"'{files[row]}'"), f"'{files[row]}'", field)

    return cells


def check_images(cells: Cells, rows: tuple[Rows, Rows], size: int) -> tuple[int, int]:
    """(height, width) of all images, from the headers of the first image of each split, without decoding.

    Raises: ValueError, if the two splits differ in size, or if the images do not fit into memory.
    """
    first, first_test = (read_header(next(cells(split_rows[:1]))) for split_rows in rows)
    like = (size, size) if size else (first.height, first.width)
    count, channels = len(rows[0]) + len(rows[1]), 1 if first.grey and first_test.grey else 3
    advice = f"{'lower' if size else 'set'} data.image_size, or set data.train_limit and data.test_limit"
    require_memory(count, channels, like, DECODING_BYTES * first.height * first.width, advice)
    if not size:
        check_size((first_test.height, first_test.width), like, first_test.where)
    return like


def require_memory(count: int, channels: int, size: tuple[int, int], extra_bytes: int, advice: str) -> None:
    """Raises: ValueError, if `count` images of (height, width) `size` and `extra_bytes` do not fit into memory."""
    height, width = size
    subject = f"data: {count:,} images of {width}x{height} pixels"
    memory.require(extra_bytes + count * channels * height * width, subject, advice)


def check_size(found: tuple[int, int], like: tuple[int, int], where: str) -> None:
    """Raises: ValueError, if an image's (height, width) differs from that of the first image."""
    if found != like:
        raise ValueError(
            f"data.image_size: {where} is {found[1]}x{found[0]} pixels, the first image {like[1]}x{like[0]}; set "
            "data.image_size to bring all to one size"
        )


def read_images(
    cells: Cells, rows: Rows, size: int, like: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "rows channel height width"]:
    """Pixels of the ascending `rows`: one channel if all of them are greyscale, else RGB; decoded one at a time.

    Args:
        cells: the encoded images; what becomes of each format, `decoding.decode` says.
        rows: the rows to decode.
        size: width and height to crop and resize to, in pixels; 0: all images have one size already.
        like: (height, width) that the images must have; None: that of the first image.

    Raises:
        ValueError: an image is null, corrupt, of another size, too large for the memory, or has values of unknown
            range; a column is absent or of another type.
    """
    images = np.empty((0, 1, 0, 0), dtype=np.uint8)
    for position, cell in enumerate(cells(rows)):
        pixels = decode(cell, size)
        like = like or (pixels.shape[1], pixels.shape[2])
        check_size((pixels.shape[1], pixels.shape[2]), like, cell.where)
        if position == 0:
            images = np.empty((len(rows), len(pixels), *like), dtype=np.uint8)
        elif len(pixels) > images.shape[1]:
            images = in_colour(images)
        images[position] = pixels  # one grey channel is broadcast to all three
    return images


def in_colour(images: UInt8[np.ndarray, "rows channel height width"]) -> UInt8[np.ndarray, "rows 3 height width"]:
    """The same images with three channels. Raises: ValueError, if they do not fit into memory."""
    if images.shape[1] == 3:
        return images
    memory.require(3 * images.nbytes, f"data: {len(images):,} images, of which some have colours,", "convert them")
    return np.repeat(images, 3, axis=1)


def read_splits(
    cells: Cells, train: Rows, test: Rows, size: int, like: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "train channel height width"], UInt8[np.ndarray, "test channel height width"]]:
    """`read_images` of both splits, in colour if either is. Raises: ValueError."""
    pixels, test_pixels = (read_images(cells, rows, size, like) for rows in (train, test))
    if pixels.shape[1] != test_pixels.shape[1]:
        pixels, test_pixels = in_colour(pixels), in_colour(test_pixels)
    return pixels, test_pixels


def _encoded(cell: Any, source: Source, where: str) -> bytes | None:
    """The bytes of a cell; Hugging Face's `datasets` may keep an image's path in their place. Raises: ValueError."""
    if not isinstance(cell, dict):
        encoded: bytes | None = cell
        return encoded
    if cell["bytes"] is None and cell.get("path"):
        folder = source.parent if isinstance(source, Path) else Path()
        return _content(folder / cell["path"], "data.image_column", f"{where} names '{cell['path']}', which")
    inner: bytes | None = cell["bytes"]
    return inner


def _content(file: Path, field: str, where: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{field}: {where} cannot be read ({error.strerror}); put it there") from error


def _check_image_type(kind: Any, source: Source, column: str) -> None:
    fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    cell = fields.get("bytes", kind)
    if not (pa.types.is_binary(cell) or pa.types.is_large_binary(cell)):
        raise ValueError(
            f"data.image_column: '{column}' must hold encoded images (binary, or a struct with binary 'bytes') or "
            f"vectors (lists of numbers), got {kind} in {shown(source)}; name another column, or set "
            "data.feature_columns to columns of numbers"
        )
