"""Vectors, series and images from tables: Parquet, Arrow, and tables in memory."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from PIL import Image

from peers.base import memory
from peers.base.seeds import stream
from peers.data.config import ParquetData
from peers.data.datasets import Dataset, limit

VALUES = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = np.arange(12) % 3


def column(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.list_(pa.float32()))


def write_feather(table: pa.Table, path: Path) -> None:
    pa.feather.write_feather(table, path, compression="lz4", chunksize=5)


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=5)


FORMATS: dict[str, Callable[[pa.Table, Path], None]] = {
    "x.feather": write_feather,
    "x.arrow": write_stream,
    "x.parquet": write_parquet,
}


def equal(first: Dataset, second: Dataset) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def refusal(columns: dict[str, Any], **options: Any) -> str:
    """The one line with which a table is refused."""
    with pytest.raises(ValueError) as caught:
        Dataset.from_arrow(pa.table({"label": LABELS, **columns}), **options)
    assert "\n" not in str(caught.value) and "data." not in str(caught.value)
    return str(caught.value)


# ---- what is taken ----


@pytest.mark.parametrize("name", FORMATS)
def test_load__a_file_of_any_format_as_the_arrays_in_it(tmp_path: Path, name: str) -> None:
    table = pa.table({"x": column(VALUES), "label": LABELS})
    FORMATS[name](table, tmp_path / name)
    loaded = ParquetData(path=str(tmp_path / name), image_column="x").load(7)
    assert equal(loaded, Dataset.from_arrays(VALUES, LABELS, seed=7)) and loaded.num_classes == 3
    assert equal(loaded, Dataset.from_arrow(table, image_column="x", seed=7))
    limited = ParquetData(path=str(tmp_path / name), image_column="x", train_limit=4, test_limit=1).load(7)
    assert equal(limited, limit(loaded, 4, 1, stream(7, "data")))


@pytest.mark.parametrize("name", FORMATS)
def test_load__images_of_any_format(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 3, 5), dtype=np.uint8)
    cells = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        cells.append(buffer.getvalue())
    table = pa.table({"image": cells, "label": LABELS})
    FORMATS[name](table, tmp_path / name)
    loaded = ParquetData(path=str(tmp_path / name)).load(2)
    assert equal(loaded, Dataset.from_arrays(pixels, LABELS, seed=2))
    assert equal(loaded, Dataset.from_arrow(table.to_reader(), seed=2))
    small = ParquetData(path=str(tmp_path / name), image_size=2).load(2)
    assert equal(small, Dataset.from_arrow(table, image_size=2, seed=2)) and small.shape == (1, 2, 2)


def test_load__train_and_test_files_of_arrow(tmp_path: Path) -> None:
    write_feather(pa.table({"x": column(VALUES[:8]), "label": LABELS[:8]}), tmp_path / "train.feather")
    write_stream(pa.table({"x": column(VALUES[8:]), "label": LABELS[8:]}), tmp_path / "test.arrow")
    loaded = ParquetData(path=str(tmp_path), image_column="x").load(0)
    assert equal(loaded, Dataset.from_arrays(VALUES[:8], LABELS[:8], VALUES[8:], LABELS[8:]))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pa.FixedSizeListArray.from_arrays(VALUES.ravel(), 4), VALUES),
        (pa.array(VALUES.tolist(), pa.large_list(pa.float64())), VALUES),
        (pa.array((VALUES * 100).astype(int).tolist(), pa.list_(pa.int64())), (VALUES * 100).astype(int)),
        (pa.array(VALUES.reshape(12, 2, 2).tolist(), pa.list_(pa.list_(pa.float32()))), VALUES.reshape(12, 2, 2)),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(VALUES.reshape(12, 2, 2).copy()), VALUES.reshape(12, 2, 2)),
        (
            pa.FixedShapeTensorArray.from_numpy_ndarray(VALUES.reshape(12, 2, 1, 2).transpose(0, 1, 3, 2)),
            VALUES.reshape(12, 2, 1, 2).transpose(0, 1, 3, 2),
        ),
        (pa.array([[[1, 2]] * 3] * 12, pa.list_(pa.list_(pa.uint8()))), np.tile([[[[1, 2]] * 3]], (12, 1, 1, 1))),
        (pa.array([[1, 2]] * 12, pa.list_(pa.uint8())), np.tile([1, 2], (12, 1))),
        (pa.chunked_array([column(VALUES[:5]), column(VALUES[5:5]), column(VALUES[5:])]), VALUES),
        (column(np.vstack([VALUES[:3], VALUES]))[3:], VALUES),  # a slice, whose offsets do not begin at 0
    ],
)
def test_from_arrow__lists_of_every_type(cells: Any, expected: np.ndarray) -> None:
    table = pa.table({"image": cells, "label": LABELS})
    made = Dataset.from_arrow(table, table, seed=1)
    wide = expected.astype(np.float32)
    assert made.train_images.dtype == (np.uint8 if "uint8" in str(table["image"].type) else np.float32)
    assert np.array_equal(made.train_images, wide) and np.array_equal(made.test_images, wide)
    held_out = Dataset.from_arrow(table, seed=1)  # of which some rows are taken
    assert equal(held_out, Dataset.from_arrays(expected.astype(made.train_images.dtype), LABELS, seed=1))


def test_from_arrow__columns_of_numbers() -> None:
    wine = sklearn.datasets.load_wine()
    names = [f"x{place}" for place in range(13)]
    table = pa.table({**dict(zip(names, wine.data.T, strict=True)), "label": wine.target_names[wine.target]})
    made = Dataset.from_arrow(table, feature_columns=names[::-1], seed=5)
    assert equal(made, Dataset.from_arrays(wine.data[:, ::-1], wine.target, seed=5))
    mixed = pa.table({"a": [True, False] * 2, "b": pa.array([1, 200, 3, 4], pa.uint8()), "label": [0, 1] * 2})
    assert Dataset.from_arrow(mixed, mixed, feature_columns=["b", "a"]).train_images.tolist() == [
        [1, 1], [200, 0], [3, 1], [4, 0],
    ]  # fmt: skip


# ---- what is refused ----


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (
            [*VALUES[:7].tolist(), [1.0, 2.0], *VALUES[8:].tolist()],
            r"arrays of one size, got 2 values in row 7 \(from 0\)",
        ),
        (
            [*VALUES[:7].tolist(), None, *VALUES[8:].tolist()],
            r"image_column: 'image' is null in row 7 \(from 0\) of the",
        ),
        (
            [*VALUES[:7].tolist(), [0.0, 1.0, None, 2.0], *VALUES[8:].tolist()],
            r"has a null in row 7 \(from 0\) of the tab",
        ),
        (
            [*VALUES[:7].tolist(), [0.0, np.inf, 1.0, 2.0], *VALUES[8:].tolist()],
            r"must be finite, got inf in row 7 \(from",
        ),
        ([[[0.0], [1.0]]] * 6 + [[[0.0], [1.0, 2.0]]] * 6, r"arrays of one size, got 2 values in row 6 \(from 0\)"),
        ([[0.0, 1.0]] * 5 + [[]] * 7, r"arrays of one size, got 0 values in row 5 \(from 0\)"),
        ([[]] * 12, r"must hold encoded images .* or vectors \(lists of numbers\), got list<.*: null>"),
        (pa.array([[]] * 12, pa.list_(pa.float32())), r"arrays of one size, got 0 values in row 0 \(from 0\)"),
        (
            ["a"] * 12,
            r"must hold encoded images .*, got string in the table; name another column, or set feature_columns",
        ),
        (
            VALUES[:, 0],
            r"must hold encoded images .*, got float in the table; name another column, or set feature_columns",
        ),
    ],
)
def test_from_arrow__refuses_lists(cells: Any, line: str) -> None:
    table = {"image": cells}
    with pytest.raises(ValueError) as caught:
        Dataset.from_arrow(pa.table({"label": LABELS, **table}), pa.table({"label": LABELS, **table}))
    assert re.search(line, str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "options", "line"),
    [
        ({"a": VALUES[:, 0]}, {}, "image_column: no column 'image' in the table; set it to one of label, a"),
        (
            {"a": VALUES[:, 0]},
            {"feature_columns": ["b"]},
            "feature_columns: no column 'b' in the table; set it to one of",
        ),
        (
            {"a": ["x"] * 12},
            {"feature_columns": ["a"]},
            "feature_columns: 'a' must hold numbers, got string in the table;",
        ),
        (
            {"a": [*range(11), None]},
            {"feature_columns": ["a"]},
            "'a' has a null in row 11 (from 0) of the table; fill it",
        ),
        (
            {"a": [*VALUES[1:, 0], np.nan]},
            {"feature_columns": ["a"]},
            "'a' must be finite, got nan in row 11 (from 0) of",
        ),
        (
            {"a": range(12)},
            {"feature_columns": ["a", "label"]},
            "must not have 'label', which holds the labels; leave it",
        ),
        ({"a": range(12)}, {"feature_columns": ["a", "a"]}, "must name each column once, got 'a' twice; leave one out"),
        (
            {"image": column(VALUES)},
            {"image_size": 4},
            "image_size: resizes images, got vectors of 4 values; set it to 0",
        ),
        ({"image": column(VALUES)}, {"test_fraction": 0.0}, "test_fraction must be above 0 and below 1"),
        (
            {"image": column(VALUES), "label": [1] * 12},
            {},
            "label_column: 'label' must hold at least 2 classes, got 1; add",
        ),
        (
            {"image": column(VALUES), "label": [0.5] * 12},
            {},
            "label_column: 'label' must hold integers or strings, got dou",
        ),
        (
            {"image": column(VALUES), "label": [*LABELS[1:], None]},
            {},
            "label_column: 'label' is null in row 11 (from 0) of",
        ),
    ],
)
def test_from_arrow__refuses(columns: dict[str, Any], options: dict[str, Any], line: str) -> None:
    assert line in refusal(columns, **options)


def test_from_arrow__refuses_what_is_no_table() -> None:
    for given, line in (
        (
            {"image": []},
            r"^table: must be a pyarrow Table, RecordBatch or RecordBatchReader, got dict; use pyarrow\.Tab",
        ),
        (pa.table({"image": column(VALUES[:0]), "label": LABELS[:0]}), r"^table: must have rows, got none; add some$"),
    ):
        with pytest.raises(ValueError, match=line):
            Dataset.from_arrow(given)
    twice = pa.Table.from_arrays([pa.array(LABELS)] * 2, names=["label", "label"])
    with pytest.raises(ValueError, match=r"the table cannot be read \(.*\); build it again"):
        Dataset.from_arrow(twice)


def test_from_arrow__train_and_test_vectors_of_unequal_length() -> None:
    train, test = (pa.table({"image": column(VALUES[:, :size]), "label": LABELS}) for size in (4, 3))
    with pytest.raises(ValueError, match=r"float32 vectors of 4 values to train on and float32 vectors of 3 values to"):
        Dataset.from_arrow(train, test)


def test_load__damaged_files(tmp_path: Path) -> None:
    for name, write in FORMATS.items():
        write(pa.table({"x": column(VALUES), "label": LABELS}), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        kind = "Parquet" if name.endswith("parquet") else "Arrow"
        with pytest.raises(
            ValueError, match=rf"^data\.path: '.*{name}' is not a readable {kind} file \(.*\); export it"
        ):
            ParquetData(path=str(tmp_path / name), image_column="x").load(0)


def test_load__more_vectors_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((1000, 1000), np.float32)
    labels = np.arange(1000) % 2
    pq.write_table(
        pa.table({"x": pa.FixedSizeListArray.from_arrays(values.ravel(), 1000), "label": labels}), tmp_path / "x.pq"
    )
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    with pytest.raises(
        ValueError, match=r"^data: 800 examples need 3\.1 MiB of memory, and 1\.0 MiB are left; set data\.tr"
    ):
        ParquetData(path=str(tmp_path / "x.pq"), image_column="x").load(0)
