"""Which files of a folder are read: through `load_parquet`, with one grey image a row whose value names its file."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.random import SeedSequence
from PIL import Image

from peers.data import loading


def fill(folder: Path, files: Mapping[str, int]) -> Path:
    """A folder of tables: ten images each, all pixels of which are the given value, of labels 0 and 1."""
    for name, value in files.items():
        buffer = io.BytesIO()
        Image.new("L", (2, 2), value).save(buffer, "PNG")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": [buffer.getvalue()] * 10, "label": [0, 1] * 5}), folder / name)
    return folder


def values(folder: Path) -> tuple[list[int], list[int]]:
    """The files of which the training and the test images are, in order."""
    dataset = loading.load_parquet(folder, seed=SeedSequence(0))
    train, test = dataset.train_images[:, 0, 0, 0], dataset.test_images[:, 0, 0, 0]
    return list(dict.fromkeys(train.tolist())), list(dict.fromkeys(test.tolist()))


@pytest.mark.parametrize("word", ["test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev", "VAL"])
def test_load_parquet__every_word_for_a_split_of_its_own(tmp_path: Path, word: str) -> None:
    fill(tmp_path, {"train-00000-of-00001.parquet": 1, f"{word}-00000-of-00001.parquet": 2})
    assert values(tmp_path) == ([1], [2])


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet"),
        ("Train.Parquet", "Test.PARQUET"),
        ("train.pq", "test.parq"),
        ("training/0000.parquet", "test/0000.parquet"),
        ("train/part-00000-3f2a.snappy.parquet", "val/part-00000-77aa.snappy.parquet"),
        ("train.parquet/part-0.parquet", "test.parquet/part-0.parquet"),
        ("data/train-00000-of-00001-a09b74b3ef9c3b56.parquet", "data/test-00000-of-00001-0123456789abcdef.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/test/0000.parquet"),
        ("cifar10-train.parquet", "cifar10-test.parquet"),
        ("train_images.parquet", "test_images.parquet"),
        ("train2017.parquet", "val2017.parquet"),
        ("train.parquet", "test/0000.parquet"),
    ],
)
def test_load_parquet__layouts(tmp_path: Path, names: tuple[str, str]) -> None:
    assert values(fill(tmp_path, dict(zip(names, (1, 2), strict=True)))) == ([1], [2])


def test_load_parquet__shards_in_order_and_what_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"train-1.parquet": 2, "train-0.parquet": 1, "test.parquet": 3, "validation.parquet": 4})
    fill(tmp_path, {".train-2.parquet": 5, "_cache/train.parquet": 6, ".git/test.parquet": 7})
    (tmp_path / "train.parquet.sha256").write_text("not a table")
    (tmp_path / "README.md").write_text("all about it")
    assert values(tmp_path) == ([1, 2], [3])  # validation only where there is no test


def test_load_parquet__no_split_holds_some_rows_out(tmp_path: Path) -> None:
    assert values(fill(tmp_path, {"train-0.parquet": 1, "train-1.parquet": 2})) == ([1, 2], [1, 2])


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("train.parquet", "extra.parquet"), "files of no split, or of two: 'extra.parquet'; name them"),
        (("train.parquet", "trainer_log.parquet"), "files of no split, or of two: 'trainer_log.parquet'; name"),
        (("train-0.parquet", "unlabelled-0.parquet"), "files of no split, or of two: 'unlabelled-0.parquet'; name"),
        (("train.parquet", "train-test.parquet"), "files of no split, or of two: 'train-test.parquet'; name"),
        (("train/0.parquet", "train/val.parquet"), "files of no split, or of two: 'train/val.parquet'; name"),
        (("plain/train.parquet", "other/train.parquet"), "such as 'other/train.parquet', 'plain/train.parquet'; set"),
        (("plain/train/0.parquet", "other/test/0.parquet"), "such as 'other/test/0.parquet', 'plain/train/0.parquet'"),
        (("train.parquet", "old/train.parquet"), "such as 'old/train.parquet', 'train.parquet'; set data.path to"),
        (("train.parquet", "train_extra.parquet"), "such as 'train.parquet', 'train_extra.parquet'; set data.path"),
        (("v1-train.parquet", "v2-train.parquet"), "such as 'v1-train.parquet', 'v2-train.parquet'; set data.path"),
        (("train.parquet", "val.parquet", "dev.parquet"), "such as 'dev.parquet', 'val.parquet'; set data.path"),
        (("train.parquet", "test.parquet", "eval.parquet"), "such as 'eval.parquet', 'test.parquet'; set data.path"),
        (("train-00000-of-00002.parquet", "test.parquet"), "is one of 2 files, but there are 1 of its split; fetch"),
        (("train.parquet", "train-00000-of-00001.parquet"), "is one of 1 files, but there are 2 of its split; fetch"),
        (("test-00000-of-00001.parquet",), "no train*.parquet in"),
        (("train.parquet", "test.parquet.incomplete"), "not whole, or packed: 'test.parquet.incomplete'; fetch or"),
    ],
)
def test_load_parquet__refuses_what_it_would_leave_out_or_mix(
    tmp_path: Path, names: tuple[str, ...], line: str
) -> None:
    fill(tmp_path, dict.fromkeys(names, 1))
    with pytest.raises(ValueError) as caught:
        loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert str(caught.value).startswith("data.path: ")
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_load_parquet__a_link_to_nothing_is_no_absent_split(tmp_path: Path) -> None:
    fill(tmp_path, {"train.parquet": 1})
    (tmp_path / "test.parquet").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"not whole, or packed: 'test\.parquet'; fetch or unpack them"):
        loading.load_parquet(tmp_path, seed=SeedSequence(0))


def test_load_parquet__a_split_folder_may_be_the_path_itself(tmp_path: Path) -> None:
    fill(tmp_path / "test", {"train.parquet": 1, "val.parquet": 2})
    assert values(tmp_path / "test") == ([1], [2])
    file = fill(tmp_path, {"extra.parquet": 3}) / "extra.parquet"
    assert np.unique(loading.load_parquet(file, seed=SeedSequence(0)).train_images).tolist() == [3]
