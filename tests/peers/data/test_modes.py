"""Images of every mode that Pillow knows, as `load_parquet` reads them: what is white must not become black."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.random import SeedSequence
from PIL import Image, ImageOps

from peers.base import memory
from peers.data import loading
from peers.data.formats import images
from peers.data.formats.decoding import Cell


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def table(path: Path, cell: bytes, *others: bytes) -> Path:
    """A table of four rows of one image, or of those that are given."""
    cells = [cell, *others] if others else [cell] * 4
    pq.write_table(pa.table({"image": cells, "label": [0] * len(cells)}), path / "x.parquet")
    return path / "x.parquet"


def read(path: Path, cell: bytes, **options: int) -> np.ndarray:
    """channel x height x width of the image."""
    pixels: np.ndarray = loading.load_parquet(table(path, cell), seed=SeedSequence(0), **options).train_images[0]
    return pixels


def refused(path: Path, *cells: bytes, **options: int) -> str:
    with pytest.raises(ValueError) as caught:
        loading.load_parquet(table(path, *cells), seed=SeedSequence(0), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- depth ----


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_load_parquet__sixteen_bits(tmp_path: Path, kind: str) -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    assert read(tmp_path, encoded(Image.fromarray(deep), kind)).tolist() == [[[0, 0, 1], [128, 255, 255]]]


def test_load_parquet__twelve_bits_and_white_as_zero(tmp_path: Path) -> None:
    twelve = encoded(Image.fromarray(np.full((1, 2), 0, dtype=np.uint16)), "TIFF")
    packed = twelve.replace(bytes.fromhex("0201 0300 0100 0000 1000"), bytes.fromhex("0201 0300 0100 0000 0c00"))
    assert packed != twelve  # BitsPerSample, tag 258, is now 12: two values in three bytes
    start = Image.open(io.BytesIO(twelve)).tag_v2[273][0]  # type: ignore[attr-defined]
    cell = packed[:start] + bytes([0xFF, 0xF8, 0x00]) + packed[start + 3 :]
    assert read(tmp_path, cell).tolist() == [[[255, 128]]]
    inverted = encoded(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)), "TIFF", tiffinfo={262: 0})
    assert read(tmp_path, inverted).tolist() == [[[255, 0]]]


def test_load_parquet__a_grey_map_of_12_bits(tmp_path: Path) -> None:
    assert read(tmp_path, b"P5\n2 1\n4095\n" + bytes([0x0F, 0xFF, 0x08, 0x00])).tolist() == [[[255, 128]]]


@pytest.mark.parametrize("top", [1, 255, 65535, 100_000])
def test_load_parquet__refuses_32_bit_integers(tmp_path: Path, top: int) -> None:
    image = Image.fromarray(np.array([[0, top]], dtype=np.int32))
    line = refused(tmp_path, encoded(image, "TIFF"))
    assert re.match(r"data\.image_column: row 0 \(from 0\) of '.*' is an image of 32-bit or signed integers", line)
    assert line.endswith("convert the images to 8 or 16 bits without a sign")


def test_load_parquet__floating_point(tmp_path: Path) -> None:
    unit = Image.fromarray(np.array([[0, 0.25, 0.5, 1]], dtype=np.float32))
    assert read(tmp_path, encoded(unit, "TIFF")).tolist() == [[[0, 64, 128, 255]]]
    for low, high in ((0, 255), (-0.5, 0.5)):
        line = refused(tmp_path, encoded(Image.fromarray(np.array([[low, high]], dtype=np.float32)), "TIFF"))
        assert f"is a floating-point image (mode F) of values from {low:g} to {high:g}; scale them to 0..1" in line
    not_a_number = Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32))
    assert "floating-point image (mode F) of values from nan to nan" in refused(tmp_path, encoded(not_a_number, "TIFF"))


def test_load_parquet__one_bit(tmp_path: Path) -> None:
    assert read(tmp_path, encoded(Image.fromarray(np.array([[False, True]])), "PNG")).tolist() == [[[0, 255]]]


# ---- colours ----


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_load_parquet__cmyk(tmp_path: Path, kind: str) -> None:
    cell = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    pixels = read(tmp_path, cell)
    assert pixels.shape == (3, 8, 8)
    assert np.abs(pixels[:, 4, 4].astype(int) - [255, 0, 0]).max() <= 3  # red


def test_load_parquet__lab(tmp_path: Path) -> None:
    pixels = read(tmp_path, encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert (pixels >= 253).all()  # L = 100: white


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize(
    ("image", "options", "pixels"),
    [
        (palette(), {"transparency": bytes([0, 128])}, [[[10, 40]], [[20, 50]], [[30, 60]]]),
        (Image.fromarray(np.array([[[9, 0], [90, 255]]], dtype=np.uint8)), {}, [[[9, 90]]]),
        (
            Image.fromarray(np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], dtype=np.uint8)),
            {},
            [[[1, 4]], [[2, 5]], [[3, 6]]],
        ),
        (Image.fromarray(np.array([[7, 8]], dtype=np.uint8)), {"transparency": 7}, [[[7, 8]]]),
    ],
)
def test_load_parquet__transparency_is_dropped(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], pixels: list[Any]
) -> None:
    assert read(tmp_path, encoded(image, "PNG", **options)).tolist() == pixels


def test_load_parquet__a_picture_in_the_transparency_alone(tmp_path: Path) -> None:
    ink = np.zeros((2, 2, 4), dtype=np.uint8)
    ink[0, 0, 3] = 255
    assert "has one colour, and its picture in the transparency alone" in refused(
        tmp_path, encoded(Image.fromarray(ink), "PNG")
    )


# ---- orientation, frames, sizes ----


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_parquet__stands_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    image = Image.fromarray(
        np.kron(np.array([[0, 100, 200], [50, 150, 250]], dtype=np.uint8), np.ones((8, 8), np.uint8))
    )
    exif = Image.Exif()
    exif[274] = orientation
    cell = encoded(image, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    seen = read(tmp_path, cell)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(cell))))
    assert np.array_equal(seen[0], upright)
    corner = {1: 0, 2: 200, 3: 250, 4: 50, 5: 0, 6: 50, 7: 250, 8: 200}[orientation]  # what the standard says
    assert abs(int(seen[0, 0, 0]) - corner) <= 2
    assert seen.shape[1:] == ((24, 16) if orientation >= 5 else (16, 24))


def test_load_parquet__first_frame_of_several(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (30, 200)]
    for kind in ("GIF", "TIFF"):
        cell = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert (read(tmp_path, cell) == 30).all()


def test_load_parquet__more_pixels_than_pillow_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    line = refused(tmp_path, encoded(Image.new("L", (10, 10)), "PNG"))
    assert "row 0 (from 0) of" in line and "is not opened (Image size (100 pixels) exceeds limit of 80 pixels" in line


# ---- memory ----


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images have been decoded so far."""
    count = [0]
    decode = images.decode

    def counted(cell: Cell, size: int) -> np.ndarray:
        count[0] += 1
        return decode(cell, size)

    monkeypatch.setattr(images, "decode", counted)
    return count


def test_load_parquet__refuses_images_that_the_memory_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    cell = encoded(Image.new("RGB", (200, 100)), "PNG")  # a few hundred bytes, 60,000 decoded
    decoding = 16 * 20_000  # of one image at a time
    monkeypatch.setattr(memory, "available", lambda: decoding + 5 * 60_000 - 1)
    line = refused(tmp_path, *[cell] * 5)
    assert line.startswith("data: 5 images of 200x100 pixels need 0.6 MiB of memory, and 0.6 MiB are left; set data.im")
    assert decoded == [0]
    assert refused(tmp_path, *[cell] * 5, image_size=200).endswith(
        "lower data.image_size, or set data.train_limit and data.test_limit"
    )
    assert read(tmp_path, cell, image_size=20).shape == (3, 20, 20)
    monkeypatch.setattr(memory, "available", lambda: decoding + 5 * 60_000)
    assert len(loading.load_parquet(table(tmp_path, *[cell] * 5), seed=SeedSequence(0)).train_images) == 4
    grey = encoded(Image.new("L", (200, 100)), "PNG")
    monkeypatch.setattr(memory, "available", lambda: decoding + 5 * 20_000)  # a third for greyscale images
    assert len(loading.load_parquet(table(tmp_path, *[grey] * 5), seed=SeedSequence(0)).train_images) == 4


def test_load_parquet__refuses_one_image_that_is_too_large_to_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    small, large = (encoded(Image.new("L", (size, size)), "PNG") for size in (8, 2100))
    monkeypatch.setattr(memory, "available", lambda: 2**26)
    line = refused(tmp_path, small, small, small, large, large, image_size=8)
    assert "is 2100x2100 pixels, which need 67.3 MiB of memory, and 64.0 MiB are left; scale it down" in line


def test_load_parquet__other_sizes_of_the_test_are_seen_before_anything_is_decoded(
    tmp_path: Path, decoded: list[int]
) -> None:
    for split, size in (("train", 8), ("test", 9)):
        cell = encoded(Image.new("L", (size, size)), "PNG")
        pq.write_table(pa.table({"image": [cell] * 3, "label": [0] * 3}), tmp_path / f"{split}.parquet")
    with pytest.raises(ValueError, match=r"row 0 \(from 0\) of '.*test\.parquet' is 9x9 pixels, the first image 8x8"):
        loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert decoded == [0]
