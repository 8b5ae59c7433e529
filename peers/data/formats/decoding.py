"""Decodes images: every format that Pillow opens becomes 8-bit grey or RGB."""

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from peers.base import memory

_GREY_MODES = {"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_SIXTEEN_BITS = {"PNG", "PPM"}  # formats in which Pillow uses mode I for 16 bits
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value
DECODING_BYTES = 16  # bytes per pixel while an image is decoded: Pillow's four, and copies
_LARGE = 2**22  # pixels from which a single image's memory is checked


class Cell(NamedTuple):
    """An encoded image, where it lies, and the setting that names this place, for error messages.

    encoded: None where there is no image.
    """

    encoded: bytes | None
    where: str
    field: str = "data.image_column"


class Header(NamedTuple):
    """Properties of an image from its header, without decoding; height and width after EXIF rotation."""

    height: int
    width: int
    grey: bool
    where: str


def read_header(cell: Cell) -> Header:
    """The header of an encoded image. Raises: ValueError, as `decode` does."""
    image = _opened(cell)
    turned = image.format != "TIFF" and 5 <= _orientation(image, cell) <= 8  # Pillow already swaps the sizes of TIFF
    width, height = reversed(image.size) if turned else image.size
    return Header(height, width, image.mode in _GREY_MODES, cell.where)


def decode(cell: Cell, size: int) -> UInt8[np.ndarray, "channel height width"]:
    """Pixels of one encoded image, with one channel if it is greyscale, else three.

    Images are rotated as their EXIF orientation says; of several frames or pages, the first is used. 16-bit grey (and
    12-bit TIFF) is scaled to 8 bits; colour is converted by Pillow. Floating-point images must be in 0..1; 32-bit and
    signed integers are refused, because their range of values is not known. CMYK, LAB and palettes become RGB by
    Pillow's rules. Transparency is dropped, as in torchvision's loaders; an image with one colour whose content is only
    in its transparency is refused.

    size: width and height to crop and resize to, in pixels; 0: the image's own.

    Raises: ValueError, if the image is null, corrupt, too large for the memory, or has values of unknown range.
    """
    image = _opened(cell)
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # Pillow's readers raise many types of errors on broken bytes
        raise _corrupt(cell) from error
    return channels_first(resize(_eight_bits(image, cell), size))


def pixels_of(image: Image.Image, where: str) -> UInt8[np.ndarray, "channel height width"]:
    """Pixels of an image that Pillow has opened, as `decode` gives them. Raises: ValueError."""
    return channels_first(_eight_bits(image, Cell(None, where, "dataset")))


def resize(image: Image.Image, size: int) -> Image.Image:
    """The image cropped to a square around its centre and resized (bilinear, antialiased); size 0: as it is."""
    if not size or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "channel height width"]:
    pixels = np.asarray(image)
    return pixels[None] if image.mode == "L" else pixels.transpose(2, 0, 1)


def _opened(cell: Cell) -> Image.Image:
    """Open an image without decoding it. Raises: ValueError, if it is unreadable or too large for the memory."""
    if cell.encoded is None:
        raise ValueError(f"{cell.field}: {cell.where} has no image (null); drop it")
    try:
        image: Image.Image = Image.open(io.BytesIO(cell.encoded))
    except Image.DecompressionBombError as error:
        reason = str(error).split(",")[0]
        raise ValueError(f"{cell.field}: {cell.where} is not opened ({reason}); scale it down") from error
    except Exception as error:  # as above
        raise _corrupt(cell) from error
    width, height = image.size
    if not width * height:
        raise ValueError(f"{cell.field}: {cell.where} has no pixels ({width}x{height}); drop it")
    if width * height > _LARGE:
        needed = DECODING_BYTES * width * height
        memory.require(needed, f"{cell.field}: {cell.where} is {width}x{height} pixels, which", "scale it down")
    return image


def _corrupt(cell: Cell) -> ValueError:
    return ValueError(f"{cell.field}: {cell.where} is corrupt or not an image; drop or repair it")


def _orientation(image: Image.Image, cell: Cell) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # as above
        raise _corrupt(cell) from error


def _eight_bits(image: Image.Image, cell: Cell) -> Image.Image:
    """The image converted to mode L or RGB."""
    grey = image.mode in _GREY_MODES
    if image.mode.startswith(("I", "F")):
        return _scaled(image, cell)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = _without_alpha(image, cell)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _scaled(image: Image.Image, cell: Cell) -> Image.Image:
    """Scale an image of 12, 16 or floating-point bits to 8 bits; Pillow would clip its values."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "F":
        if not ((values >= 0) & (values <= 1)).all():  # also refuses NaN
            low, high = values.min(), values.max()
            raise ValueError(
                f"{cell.field}: {cell.where} is a floating-point image (mode F) of values from {low:g} to {high:g}; "
                "scale them to 0..1, or convert the images to 8 bits"
            )
        return Image.fromarray(np.rint((1 - values if inverted else values) * 255).astype(np.uint8))
    if image.mode == "I" and image.format not in _SIXTEEN_BITS:
        raise ValueError(
            f"{cell.field}: {cell.where} is an image of 32-bit or signed integers (mode I): nothing tells what "
            "is black and what is white in it; convert the images to 8 or 16 bits without a sign"
        )
    bits = min(tags.get(_BITS, (16,))[0], 16)
    return Image.fromarray(((2**bits - 1 - values if inverted else values) >> (bits - 8)).astype(np.uint8))


def _without_alpha(image: Image.Image, cell: Cell) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")  # Pillow's only conversion of La
    *colours, alpha = (channel.getextrema() for channel in image.convert("RGBA").split())
    if alpha[0] != alpha[1] and all(low == high for low, high in colours):
        raise ValueError(
            f"{cell.field}: {cell.where} has one colour, and its picture in the transparency alone; put the images on "
            "a background"
        )
    image.info.pop("transparency", None)  # Pillow would warn about it
    return image
