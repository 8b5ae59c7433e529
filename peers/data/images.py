"""Reads images from Parquet tables, and converts every format that Pillow opens to 8-bit grey or RGB."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8
from PIL import ExifTags, Image, ImageOps

from peers.base import memory
from peers.data.datasets import Dataset
from peers.data.tables import open_table, readable

_GREY_MODES = {"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_SIXTEEN_BITS = {"PNG", "PPM"}  # formats in which Pillow uses mode I for 16 bits
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value
_DECODING_BYTES = 16  # bytes per pixel while an image is decoded: Pillow's four, and copies
_LARGE = 2**22  # pixels from which a single image's memory is checked
_BATCH_ROWS = 512

Cell = tuple[bytes | None, str]
"""An encoded image, and its location for error messages."""


class Header(NamedTuple):
    """Properties of an image from its header, without decoding; height and width after EXIF rotation."""

    height: int
    width: int
    grey: bool
    where: str


def read_header(files: Sequence[Path], row: int, column: str) -> Header:
    """The header of one row's image, counted over all `files`. Raises: ValueError, as `read_images` does."""
    cell, where = next(_cells(files, np.array([row], dtype=np.int64), column))
    image = _opened(cell, where)
    turned = image.format != "TIFF" and 5 <= _orientation(image, where) <= 8  # Pillow already swaps the sizes of TIFF
    width, height = reversed(image.size) if turned else image.size
    return Header(height, width, image.mode in _GREY_MODES, where)


def check_images(
    files: Sequence[Path], rows: tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]], column: str, size: int
) -> tuple[int, int]:
    """(height, width) of all images, from the headers of the first image of each split, without decoding.

    Raises: ValueError, if the two splits differ in size, or if the images do not fit into memory.
    """
    first, first_test = (read_header(files, int(split_rows[0]), column) for split_rows in rows)
    like = (size, size) if size else (first.height, first.width)
    count, channels = len(rows[0]) + len(rows[1]), 1 if first.grey and first_test.grey else 3
    advice = f"{'lower' if size else 'set'} data.image_size, or set data.train_limit and data.test_limit"
    decoding_bytes = _DECODING_BYTES * first.height * first.width
    _require_memory(count, channels, like, decoding_bytes, advice)
    if not size:
        check_size((first_test.height, first_test.width), like, first_test.where)
    return like


def resize_dataset(dataset: Dataset, size: int) -> Dataset:
    """The data set with all images resized as those of Parquet files are; size 0: the data set itself.

    Raises: ValueError, if the resized images do not fit into memory.
    """
    channels, height, width = dataset.shape
    if not size or (height, width) == (size, size):
        return dataset
    count = len(dataset.train_images) + len(dataset.test_images)
    advice = "lower data.image_size, or set data.train_limit and data.test_limit"
    _require_memory(count, channels, (size, size), _DECODING_BYTES * max(height * width, size * size), advice)
    train, test = (_resize_all(split, size) for split in (dataset.train_images, dataset.test_images))
    return replace(dataset, train_images=train, test_images=test)


def _resize_all(
    images: UInt8[np.ndarray, "rows channel height width"], size: int
) -> UInt8[np.ndarray, "rows channel size size"]:
    """Images of one channel (greyscale) or three (RGB), each resized."""
    resized = np.empty((*images.shape[:2], size, size), dtype=np.uint8)
    for position, pixels in enumerate(images):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        resized[position] = _channels_first(_resize(image, size))
    return resized


def _require_memory(count: int, channels: int, size: tuple[int, int], extra_bytes: int, advice: str) -> None:
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
    files: Sequence[Path],
    rows: Int64[np.ndarray, " rows"],
    column: str,
    size: int,
    like: tuple[int, int] | None = None,
) -> UInt8[np.ndarray, "rows channel height width"]:
    """Pixels of the ascending `rows`, counted over all `files`: one channel if all of them are greyscale, else RGB.

    Images are rotated as their EXIF orientation says; of several frames or pages, the first is used. 16-bit grey (and
    12-bit TIFF) is scaled to 8 bits; colour is converted by Pillow. Floating-point images must be in 0..1; 32-bit and
    signed integers are refused, because their range of values is not known. CMYK, LAB and palettes become RGB by
    Pillow's rules. Transparency is dropped, as in torchvision's loaders; an image with one colour whose content is only
    in its transparency is refused. Images are decoded one at a time.

    Args:
        files: Parquet files, read as one table.
        rows: the rows to decode.
        column: a column of encoded images (JPEG, PNG, ...), as binary or as a struct with a field `bytes`.
        size: width and height to crop and resize to, in pixels; 0: all images have one size already.
        like: (height, width) that the images must have; None: that of the first image.

    Raises:
        ValueError: the column is absent or of another type; an image is null, corrupt, of another size, too large for
            the memory, or has values of unknown range.
    """
    images = np.empty((0, 1, 0, 0), dtype=np.uint8)
    for position, (cell, where) in enumerate(_cells(files, rows, column)):
        pixels = _decode(cell, size, where)
        like = like or (pixels.shape[1], pixels.shape[2])
        check_size((pixels.shape[1], pixels.shape[2]), like, where)
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


def _cells(files: Sequence[Path], rows: Int64[np.ndarray, " rows"], column: str) -> Iterator[Cell]:
    """The encoded image of each row in `rows`; row groups without such rows are not read."""
    start = 0
    for file in files:
        parquet = open_table(file, column, "data.image_column")
        with readable(file):
            _check_image_type(parquet.schema_arrow.field(column).type, file, column)
        first = start
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            if len(_within(rows, first, end)):
                batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column])
                while first < end and (batch := _next(batches, file)) is not None:
                    for row in _within(rows, first, first + len(batch)).tolist():
                        cell = batch.column(0)[row - first].as_py()
                        encoded = cell["bytes"] if isinstance(cell, dict) else cell
                        yield encoded, f"row {row - start} (from 0) of '{file}'"
                    first += len(batch)
            first = end
        start = first


def _within(rows: Int64[np.ndarray, " rows"], first: int, end: int) -> Int64[np.ndarray, " some"]:
    low, high = np.searchsorted(rows, [first, end])
    return rows[low:high]


def _next(batches: Iterator[Any], file: Path) -> Any:
    with readable(file):
        return next(batches, None)


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
    image = _opened(cell, where)
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # Pillow's readers raise many types of errors on broken bytes
        raise _corrupt(where) from error
    image = _eight_bits(image, where)
    return _channels_first(_resize(image, size))


def _resize(image: Image.Image, size: int) -> Image.Image:
    """The image cropped to a square around its centre and resized (bilinear, antialiased); size 0: as it is."""
    if not size or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _channels_first(image: Image.Image) -> UInt8[np.ndarray, "channel height width"]:
    pixels = np.asarray(image)
    return pixels[None] if image.mode == "L" else pixels.transpose(2, 0, 1)


def _opened(cell: bytes | None, where: str) -> Image.Image:
    """Open an image without decoding it. Raises: ValueError, if it is unreadable or too large for the memory."""
    if cell is None:
        raise ValueError(f"data.image_column: {where} has no image (null); drop the row")
    try:
        image: Image.Image = Image.open(io.BytesIO(cell))
    except Image.DecompressionBombError as error:
        reason = str(error).split(",")[0]
        raise ValueError(f"data.image_column: {where} is not opened ({reason}); scale it down") from error
    except Exception as error:  # as above
        raise _corrupt(where) from error
    width, height = image.size
    if not width * height:
        raise ValueError(f"data.image_column: {where} has no pixels ({width}x{height}); drop the row")
    if width * height > _LARGE:
        needed = _DECODING_BYTES * width * height
        memory.require(needed, f"data.image_column: {where} is {width}x{height} pixels, which", "scale it down")
    return image


def _corrupt(where: str) -> ValueError:
    return ValueError(f"data.image_column: {where} is corrupt or not an image; drop or repair the row")


def _orientation(image: Image.Image, where: str) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # as above
        raise _corrupt(where) from error


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    """The image converted to mode L or RGB."""
    grey = image.mode in _GREY_MODES
    if image.mode.startswith(("I", "F")):
        return _scaled(image, where)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = _without_alpha(image, where)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _scaled(image: Image.Image, where: str) -> Image.Image:
    """Scale an image of 12, 16 or floating-point bits to 8 bits; Pillow would clip its values."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "F":
        if not ((values >= 0) & (values <= 1)).all():  # also refuses NaN
            low, high = values.min(), values.max()
            raise ValueError(
                f"data.image_column: {where} is a floating-point image (mode F) of values from {low:g} to {high:g}; "
                "scale them to 0..1, or convert the images to 8 bits"
            )
        return Image.fromarray(np.rint((1 - values if inverted else values) * 255).astype(np.uint8))
    if image.mode == "I" and image.format not in _SIXTEEN_BITS:
        raise ValueError(
            f"data.image_column: {where} is an image of 32-bit or signed integers (mode I): nothing tells what "
            "is black and what is white in it; convert the images to 8 or 16 bits without a sign"
        )
    bits = min(tags.get(_BITS, (16,))[0], 16)
    return Image.fromarray(((2**bits - 1 - values if inverted else values) >> (bits - 8)).astype(np.uint8))


def _without_alpha(image: Image.Image, where: str) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")  # Pillow's only conversion of La
    *colours, alpha = (channel.getextrema() for channel in image.convert("RGBA").split())
    if alpha[0] != alpha[1] and all(low == high for low, high in colours):
        raise ValueError(
            f"data.image_column: {where} has one colour, and its picture in the transparency alone; put the images on "
            "a background"
        )
    image.info.pop("transparency", None)  # Pillow would warn about it
    return image
