import gzip
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.random import SeedSequence
from PIL import Image

from peers.base import memory
from peers.data import datasets, loading, resizing
from peers.data.config import ParquetData, TorchvisionData
from peers.data.datasets import Dataset
from peers.data.formats import labels, named_sets, splits

CIFAR10 = os.environ.get("PEER_CONSENSUS_CIFAR10", "")


def pixels(num: int, height: int = 4, width: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images, rows x height x width (x channels)."""
    shape = (num, height, width, channels) if channels > 1 else (num, height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, cells: Iterable[object], labels: Iterable[object], **columns: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"image": cells, "label": labels, **columns}
    pq.write_table(pa.table({name: list(values) for name, values in named.items()}), path, row_group_size=3)
    return path


def equal(first: Dataset, second: Dataset) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_load_parquet__bytes_in_a_folder(tmp_path: Path) -> None:
    train, test = pixels(7), pixels(4, seed=1)
    write(tmp_path / "train.parquet", [png(image) for image in train], [3, 1, 2, 0, 4, 5, 5])
    write(tmp_path / "test.parquet", [png(image) for image in test], [0, 5, 1, 2])
    dataset = loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert np.array_equal(dataset.train_images, train.transpose(0, 3, 1, 2))
    assert np.array_equal(dataset.test_images, test.transpose(0, 3, 1, 2))
    assert dataset.train_labels.tolist() == [3, 1, 2, 0, 4, 5, 5]
    assert dataset.test_labels.tolist() == [0, 5, 1, 2]
    assert dataset.num_classes == 6


def test_load_parquet__structs_shards_nesting_validation_and_strings(tmp_path: Path) -> None:
    train, test = pixels(8), pixels(2, seed=1)
    cells = [{"bytes": png(image), "path": "x.png"} for image in train]
    names = ["newt", "asp", "cow", "asp", "bee", "cow", "newt", "bee"]
    write(tmp_path / "data" / "train-00001-of-00002.parquet", cells[5:], names[5:])
    write(tmp_path / "data" / "train-00000-of-00002.parquet", cells[:5], names[:5])
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", [{"bytes": png(i)} for i in test], ["dog", "asp"])
    with pytest.warns(UserWarning, match=r"1 of 2 test examples have a label in 'label' that no training example has"):
        dataset = loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert np.array_equal(dataset.train_images, train.transpose(0, 3, 1, 2))
    assert np.array_equal(dataset.test_images, test.transpose(0, 3, 1, 2))
    assert dataset.train_labels.tolist() == [4, 0, 2, 0, 1, 2, 4, 1]
    assert dataset.test_labels.tolist() == [3, 0]
    assert dataset.num_classes == 5


def test_load_parquet__folders_named_after_splits_and_other_columns(tmp_path: Path) -> None:
    train, test = pixels(3), pixels(2, seed=1)
    for split, array in (("train", train), ("test", test)):
        cells = [png(image) for image in array]
        table = pa.table({"img": cells, "fine": pa.array(["b", "a", "b"][: len(cells)]).dictionary_encode()})
        (tmp_path / split).mkdir()
        pq.write_table(table, tmp_path / split / "0000.parquet")
    dataset = loading.load_parquet(tmp_path, image_column="img", label_column="fine", seed=SeedSequence(0))
    assert np.array_equal(dataset.test_images, test.transpose(0, 3, 1, 2))
    assert dataset.train_labels.tolist() == [1, 0, 1]


def test_load_parquet__grey_stays_grey_only_if_all_are(tmp_path: Path) -> None:
    grey, colour = pixels(6, channels=1), pixels(1)
    write(tmp_path / "train.parquet", [png(image) for image in grey[:4]], range(4))
    write(tmp_path / "test.parquet", [png(image) for image in grey[4:]], range(2))
    dataset = loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert np.array_equal(dataset.train_images, grey[:4, None])
    write(tmp_path / "test.parquet", [png(grey[4]), png(colour[0])], range(2))
    dataset = loading.load_parquet(tmp_path, seed=SeedSequence(0))
    assert np.array_equal(dataset.train_images, np.repeat(grey[:4, None], 3, axis=1))
    assert np.array_equal(dataset.test_images[1], colour[0].transpose(2, 0, 1))


def test_load_parquet__jpeg(tmp_path: Path) -> None:
    cells = []
    for value in (40, 220) * 2:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (value, value // 2, 255 - value)).save(buffer, "JPEG", quality=95)
        cells.append(buffer.getvalue())
    file = write(tmp_path / "x.parquet", cells, [40, 220] * 2)
    dataset = loading.load_parquet(file, seed=SeedSequence(0))
    value = (40, 220)[dataset.train_labels[0]]
    means = dataset.train_images[0].mean(axis=(1, 2))
    assert means == pytest.approx([value, value // 2, 255 - value], abs=2)


def test_load_parquet__sixteen_bits_are_scaled(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    file = write(tmp_path / "x.parquet", [png(deep), png(deep)], [0, 0])
    dataset = loading.load_parquet(file, seed=SeedSequence(0))
    assert dataset.train_images[0, 0].tolist() == [[0, 0, 1], [128, 255, 255]]


def test_load_parquet__resizes_to_one_size(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 200  # the centre, which the crop keeps
    plain = np.full((2, 2, 3), 90, dtype=np.uint8)
    file = write(tmp_path / "x.parquet", [png(wide), png(plain)] * 3, [0, 1] * 3)
    with pytest.raises(ValueError, match=r"^data\.image_size: row . \(from 0\) of '.*' is .*; set data\.image_size"):
        loading.load_parquet(file, seed=SeedSequence(0))
    dataset = loading.load_parquet(file, image_size=4, seed=SeedSequence(0))
    values = {0: 200, 1: 90}
    for image, label in zip(dataset.train_images, dataset.train_labels.tolist(), strict=True):
        assert (image == values[label]).all()
    assert dataset.shape == (3, 4, 4)


@pytest.mark.parametrize("side", [0, 3, 8, 11])
@pytest.mark.parametrize("kind", ["stl10", "mnist"])
def test_image_size__named_sets_as_the_same_images_in_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: named_sets.TorchvisionKind, side: int
) -> None:
    channels = 3 if kind == "stl10" else 1
    splits_of_images = {"train": pixels(7, 8, 8, channels), "test": pixels(4, 8, 8, channels, seed=1)}
    arrays: list[np.ndarray] = []
    for split, values in splits_of_images.items():
        classes = np.arange(len(values))
        write(tmp_path / f"{split}.parquet", [png(image) for image in values], classes)
        arrays += [values.transpose(0, 3, 1, 2) if channels == 3 else values[:, None], classes]
    monkeypatch.setattr(named_sets, "read_torchvision", lambda *_: tuple(arrays))
    named = TorchvisionData(kind=kind, image_size=side).load(4)
    assert named.shape == (channels, side or 8, side or 8)
    assert equal(named, ParquetData(path=str(tmp_path), image_size=side).load(4))


def test_image_size__halving_is_the_triangle_filter_of_antialiased_bilinear() -> None:
    row = np.array([0, 40, 80, 120, 160, 200, 240, 248], dtype=np.float64)
    flat = np.broadcast_to(row.astype(np.uint8), (1, 1, 8, 8)).copy()
    labels = np.zeros(1, dtype=np.int64)
    resized = resizing.resize_dataset(Dataset("x", flat, labels, flat, labels, 1), 4).train_images[0, 0]
    offsets = np.abs(np.arange(8) + 0.5 - 2 * (np.arange(4)[:, None] + 0.5)) / 2
    weights = np.clip(1 - offsets, 0, None)
    expected = (weights * row).sum(1) / weights.sum(1)
    assert np.abs(resized - expected).max() <= 0.51


def test_image_size__refused_where_the_memory_does_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes = pixels(5, 4, 4)[:, None, :, :, 0], np.arange(5)
    dataset = Dataset("x", values, classes, values, classes, 5)
    decoding, wanted = 16 * 20 * 20, 10 * 20 * 20
    monkeypatch.setattr(memory, "available", lambda: decoding + wanted - 1)
    assert resizing.resize_dataset(dataset, 0) is dataset is resizing.resize_dataset(dataset, 4)
    with pytest.raises(ValueError, match=r"^data: 10 images of 20x20 pixels need .* left; lower data\.image_size, or"):
        resizing.resize_dataset(dataset, 20)
    monkeypatch.setattr(memory, "available", lambda: decoding + wanted)
    assert resizing.resize_dataset(dataset, 20).test_images.shape == (5, 1, 20, 20)


def test_load_parquet__one_file_holds_out_each_class(tmp_path: Path) -> None:
    array, labels = pixels(40), np.repeat([0, 1, 2, 3], 10)
    file = write(tmp_path / "all.parquet", [png(image) for image in array], labels, row=range(40))
    dataset = loading.load_parquet(file, test_fraction=0.3, seed=SeedSequence(0))
    assert np.bincount(dataset.test_labels).tolist() == [3, 3, 3, 3]
    both = np.concatenate([dataset.train_images, dataset.test_images]).reshape(40, -1)
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, array.transpose(0, 3, 1, 2).reshape(40, -1).tolist()))
    other = loading.load_parquet(file, test_fraction=0.3, seed=SeedSequence(1))
    assert not equal(dataset, other)


def test_load_parquet__limits_choose_what_limit_does_and_decode_nothing_else(tmp_path: Path) -> None:
    array = pixels(30)
    cells = [png(image) for image in array]
    file = write(tmp_path / "good.parquet", cells, np.arange(30) % 3)
    seed = SeedSequence(5)
    expected = datasets.limit(loading.load_parquet(file, seed=seed), 4, 2, seed)
    kept = {image.tobytes() for image in (*expected.train_images, *expected.test_images)}
    broken = [
        cell if image.transpose(2, 0, 1).tobytes() in kept else b"no image"
        for cell, image in zip(cells, array, strict=True)
    ]
    assert broken.count(b"no image") == 24
    broken_file = write(tmp_path / "broken.parquet", broken, np.arange(30) % 3)
    assert equal(loading.load_parquet(broken_file, train_limit=4, test_limit=2, seed=seed), expected)
    with pytest.raises(ValueError, match=r"^data\.image_column: row \d+ \(from 0\) of '.*broken\.parquet' is corrupt"):
        loading.load_parquet(broken_file, seed=seed)


def test_load_parquet__names_the_broken_row(tmp_path: Path) -> None:
    good = [png(image) for image in pixels(8)]
    write(tmp_path / "test.parquet", good, range(8))
    for cells, rule in (
        ([*good[:5], good[5][:40], *good[6:]], r"row 5 \(from 0\) of '.*train\.parquet' is corrupt or not an image"),
        ([*good[:7], None], r"row 7 \(from 0\) of '.*train\.parquet' has no image \(null\)"),
        (
            [*good[:3], png(pixels(1, 5, 7)[0]), *good[4:]],
            r"row 3 \(from 0\) of '.*' is 7x5 pixels, the first image 6x4",
        ),
        ([{"bytes": cell} for cell in (*good[:6], None, good[7])], r"row 6 \(from 0\) of '.*' has no image \(null\)"),
    ):
        write(tmp_path / "train.parquet", cells, range(8))
        with pytest.raises(ValueError, match=rf"^data\.image_(column|size): {rule}.*; .*"):
            loading.load_parquet(tmp_path, seed=SeedSequence(0))


def test_load_parquet__row_numbers_start_anew_in_each_shard(tmp_path: Path) -> None:
    good = [png(image) for image in pixels(8)]
    write(tmp_path / "test.parquet", good, range(8))
    write(tmp_path / "train-0.parquet", good, range(8))
    write(tmp_path / "train-1.parquet", [*good[:4], b"", *good[5:]], range(8))
    with pytest.raises(ValueError, match=r"row 4 \(from 0\) of '.*train-1\.parquet' is corrupt"):
        loading.load_parquet(tmp_path, seed=SeedSequence(0))


def refusal(path: Path, **options: str) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ValueError) as caught:
        loading.load_parquet(
            path,
            image_column=options.get("image_column", "image"),
            label_column=options.get("label_column", "label"),
            seed=SeedSequence(0),
        )
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_load_parquet__refuses_paths_without_data(tmp_path: Path) -> None:
    good = [png(image) for image in pixels(4)]
    text = tmp_path / "notes.parquet"
    text.write_text("not a table")
    single = write(tmp_path / "single.parquet", good[:1], [0])
    none = write(tmp_path / "none.parquet", good, range(4))
    pq.write_table(pq.read_table(none).slice(0, 0), none)
    absent = refusal(tmp_path / "absent")
    assert re.match(r"data\.path: no file or folder '.*absent'; give a \.parquet file, or a folder of", absent)
    unnamed = refusal(tmp_path)
    assert re.match(r"data\.path: no train\*\.parquet in '.*' or up to 2 folders below; rename the files, or", unnamed)
    broken = refusal(text)
    assert re.match(r"data\.path: '.*notes\.parquet' is not a readable Parquet file \(.+\); export it again", broken)
    assert re.match(r"data\.path: no rows in '.*none\.parquet'; give files with examples", refusal(none))
    lonely = refusal(single)
    assert re.match(
        r"data\.path: '.*single\.parquet' must hold examples to train on and others to test on; add rows", lonely
    )


def test_load_parquet__refuses_columns_it_cannot_use(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", [png(image) for image in pixels(4)], [0] * 4, name=list("abcd"))
    absent = r"no column '\w+' in '.*x\.parquet'; set it to one of image, label, name"
    assert re.match(rf"data\.image_column: {absent}", refusal(file, image_column="img"))
    assert re.match(rf"data\.label_column: {absent}", refusal(file, label_column="y"))
    words = refusal(file, image_column="name")
    assert re.match(r"data\.image_column: 'name' must hold encoded images .*, got string in", words)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([0, None, 1, 2], r"'label' is null in row 1 \(from 0\) of '.*'; drop the row"),
        ([0.5, 1.0, 2.0, 3.0], r"'label' must hold integers or strings, got double in"),
        ([0.0, 1.0, 0.0, 1.0], r"'label' must hold integers or strings, got double in '.*'; convert it, or name"),
        (
            [0, 1, -1, 2],
            r"'label' is -1 in row 2 \(from 0\) of '.*', .* without a label; drop such rows",
        ),
        ([3, 1, 2, 70000], r"no test example has a label .* \('label' has 4 different labels in 4 rows\); set it to"),
    ],
)
def test_load_parquet__refuses_labels_it_cannot_use(tmp_path: Path, column: list[object], message: str) -> None:
    file = write(tmp_path / "x.parquet", [png(image) for image in pixels(4)], column)
    assert re.match(rf"data\.label_column: {message}", refusal(file))


def test_load_parquet__classes_are_the_labels_that_occur(tmp_path: Path) -> None:
    names = np.array([65_535, 17, 40_000])[np.arange(12) % 3]
    file = write(tmp_path / "x.parquet", [png(image) for image in pixels(12)], names, row=range(12))
    dataset = loading.load_parquet(file, seed=SeedSequence(0))
    assert dataset.num_classes == 3
    assert set(dataset.train_labels.tolist()) == {0, 1, 2}
    shown = {image.tobytes(): name for image, name in zip(pixels(12).transpose(0, 3, 1, 2), names, strict=True)}
    found = [[17, 40_000, 65_535][label] for label in dataset.train_labels]
    assert found == [shown[image.tobytes()] for image in dataset.train_images]


def test_load_parquet__limit_larger_than_the_data(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", [png(image) for image in pixels(4)], [1, 0, 0, 0])
    with pytest.raises(
        ValueError, match=r"^data\.train_limit: must be at most the 3 train examples, got 9; use 0 for all"
    ):
        loading.load_parquet(file, train_limit=9, seed=SeedSequence(0))


def test_load_parquet__integers_beside_strings(tmp_path: Path) -> None:
    good = [png(image) for image in pixels(3)]
    write(tmp_path / "train.parquet", good, [0, 1, 2])
    write(tmp_path / "test.parquet", good, ["0", "1", "2"])
    with pytest.raises(ValueError, match=r"^data\.label_column: 'label' holds integers in some files and strings"):
        loading.load_parquet(tmp_path, seed=SeedSequence(0))


def test_load_parquet__cifar10() -> None:
    if not (CIFAR10 and Path(CIFAR10).is_dir()):
        pytest.skip("no CIFAR-10 in Parquet: set PEER_CONSENSUS_CIFAR10 to its folder")
    dataset = loading.load_parquet(CIFAR10, train_limit=2000, test_limit=1000, seed=SeedSequence(0))
    assert (dataset.shape, dataset.num_classes) == ((3, 32, 32), 10)
    mean, std = datasets.channel_statistics(dataset.train_images)
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.02)  # of the whole training set
    assert std == pytest.approx([0.2470, 0.2435, 0.2616], abs=0.01)
    table = pq.read_table(next(Path(CIFAR10).glob("train*.parquet")))
    rows, _ = labels.read_labels(splits.split_files(Path(CIFAR10))[0], "label")
    assert np.bincount(rows).tolist() == [5000] * 10
    assert rows[:9].tolist() == table.column("label")[:9].to_pylist()


@pytest.mark.parametrize("zipped", [False, True])
def test_read_idx__whole_and_truncated(tmp_path: Path, zipped: bool) -> None:
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 5, 6, 7, 8, 9, 10])
    file = tmp_path / ("x.gz" if zipped else "x")
    file.write_bytes(gzip.compress(content) if zipped else content)
    assert named_sets.read_idx(file).tolist() == [[5, 6, 7], [8, 9, 10]]
    whole = file.read_bytes()
    for broken in (whole[:-9], whole[:-1], b"", b"text"):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"^data\.root: '.*x(\.gz)?' is not a whole .*; fetch it again$"):
            named_sets.read_idx(file)


def test_read_labels__a_doubled_column(tmp_path: Path) -> None:
    doubled = tmp_path / "doubled.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["label", "label"]), doubled)
    with pytest.raises(ValueError, match=r"doubled\.parquet' is not a readable Parquet file \(.+\); export it again"):
        labels.read_labels([doubled], "label")
