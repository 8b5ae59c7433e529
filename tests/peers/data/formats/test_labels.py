import re
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from peers.base import memory
from peers.data.formats import labels


def column(path: Path, *parts: pa.Array) -> list[Path]:
    """A file for each part of a column `label`."""
    for place, part in enumerate(parts):
        pq.write_table(pa.table({"label": part}), path / f"{place}.parquet")
    return [path / f"{place}.parquet" for place in range(len(parts))]


@pytest.mark.parametrize(
    ("parts", "numbers", "num_classes"),
    [
        ([pa.array([2, 0, 1]), pa.array([3, 1])], [2, 0, 1, 3, 1], 4),  # 0..C - 1 stay
        ([pa.array([60_000, 17, 17, 65_535])], [1, 0, 0, 2], 3),
        ([pa.array([2**63 + 5, 7], pa.uint64()), pa.array([7, 2**40], pa.int64())], [2, 0, 0, 1], 3),
        ([pa.array([1, 0], pa.int8()), pa.array([0, 2], pa.uint32())], [1, 0, 0, 2], 3),
        ([pa.array([True, False, True])], [1, 0, 1], 2),
        ([pa.array(["newt", "asp"]), pa.array(["bee", "asp"], pa.large_string())], [2, 0, 1, 0], 3),
        ([pa.array(["b", "a", "b"]).dictionary_encode(), pa.array(["c"])], [1, 0, 1, 2], 3),
        ([pa.array(["10", "9", "\\u00e9", "z"])], [0, 1, 2, 3], 4),
    ],
)
def test_read_labels__classes_are_the_labels_that_occur(
    tmp_path: Path, parts: list[pa.Array], numbers: list[int], num_classes: int
) -> None:
    found, count = labels.read_labels(column(tmp_path, *parts), "label")
    assert (found.tolist(), count, found.dtype) == (numbers, num_classes, np.int64)


def test_read_labels__as_numpy_numbers_them(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 2**62, 50)[np.random.default_rng(1).integers(0, 50, 500)]
    for values in (drawn, drawn.astype(str)):
        names, expected = np.unique(values, return_inverse=True)
        found, count = labels.read_labels(column(tmp_path, pa.array(values[:200]), pa.array(values[200:])), "label")
        assert np.array_equal(found, expected) and count == len(names)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (
            pa.array([0, 1, -1]),
            r"'label' is -1 in row 2 .*as a rule marks an example without a label; ",
        ),
        (pa.array([-(2**63), 1]), r"'label' is -9223372036854775808 in row 0 \(from 0\)"),
        (pa.array([0, None]), r"'label' is null in row 1 \(from 0\) of '.*0\.parquet'; drop the row"),
        (
            pa.array([0.0, 1.0]),
            r"'label' must hold integers or strings, got double in '.*'; convert it, or name",
        ),
        (pa.array([[0], [1]]), r"'label' must hold integers or strings, got list<.*> in '.*'; convert it"),
    ],
)
def test_read_labels__refuses(tmp_path: Path, part: pa.Array, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        labels.read_labels(column(tmp_path, part), "label")
    assert re.match(rf"data\.label_column: {line}", str(caught.value))
    assert "use strings" not in str(caught.value) and "\n" not in str(caught.value)


def test_read_labels__more_rows_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = column(tmp_path, pa.array(np.zeros(10**6, dtype=np.int8)))
    assert files[0].stat().st_size < 10_000  # what is small in the file need not be so in memory
    monkeypatch.setattr(memory, "available", lambda: 2**22)
    with pytest.raises(ValueError, match=r"^data\.path: 1,000,000 labels need 61\.0 MiB of memory, and 4\.0 MiB are"):
        labels.read_labels(files, "label")


def test_check_classes__ids_and_unknown_classes() -> None:
    ids = np.arange(10)
    with pytest.raises(ValueError, match=r"'id' has 10 different labels in 10 rows\); set it to the column of classes"):
        labels.check_classes(ids[:8], ids[8:], 10, "id")
    with pytest.warns(UserWarning, match=r"2 of 3 test examples have a label in 'label' that no training example has"):
        labels.check_classes(np.array([0, 1]), np.array([0, 2, 3]), 4, "label")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels.check_classes(np.array([0, 1, 2]), np.array([0, 1]), 3, "label")
