"""Folders as `datasets` 5.2.0 writes them by save_to_disk, with the keys of its JSON files."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from peers.data.config import HuggingFaceData
from peers.data.datasets import Dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
IMAGES = PIXELS.transpose(0, 3, 1, 2)
CLASSES = np.arange(12) % 3
NAMES = {"label": {"names": ["a", "b", "c", "d"], "_type": "ClassLabel"}}


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


CELLS = [{"bytes": encoded(pixels), "path": None} for pixels in PIXELS]


def save(folder: Path, image: Any, label: Any, shards: int = 1, features: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": image, "label": label})
    bounds = np.linspace(0, len(table), shards + 1).astype(int)
    names = [f"data-{shard:05}-of-{shards:05}.arrow" for shard in range(shards)]
    for name, first, end in zip(names, bounds[:-1], bounds[1:], strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table.slice(first, end - first), max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "7f626dd5f8845f7f", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": NAMES if features is None else features}))
    return folder


def save_splits(folder: Path, **splits: slice) -> Path:
    for name, rows in splits.items():
        save(folder / name, CELLS[rows], CLASSES[rows], shards=2)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def equal(first: Dataset, second: Dataset) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        HuggingFaceData(path=str(path), **options).load(0)
    assert str(caught.value).startswith("data.") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("names", [("train", "test"), ("train", "validation"), ("validation", "test", "train")])
def test_load__splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows = {"train": slice(0, 7), "test": slice(7, 12), "validation": slice(7, 12)}
    if len(names) == 3:
        rows["validation"] = slice(0, 3)
    save_splits(tmp_path, **{name: rows[name] for name in names})
    loaded = HuggingFaceData(path=str(tmp_path)).load(0)
    assert equal(loaded, Dataset.from_arrays(IMAGES[:7], CLASSES[:7], IMAGES[7:], CLASSES[7:]))
    assert (loaded.num_classes, loaded.name) == (4, tmp_path.name)  # of which one does not occur


def test_load__one_split_holds_a_share_out(tmp_path: Path) -> None:
    save(tmp_path, CELLS, CLASSES, shards=3)
    loaded = HuggingFaceData(path=str(tmp_path), test_fraction=0.25).load(9)
    assert equal(loaded, Dataset.from_arrays(IMAGES, CLASSES, test_fraction=0.25, seed=9))


def test_load__classes_of_which_some_do_not_occur_stay_as_they_are(tmp_path: Path) -> None:
    save(tmp_path, CELLS, CLASSES.clip(1) + 1, shards=3)
    assert set(HuggingFaceData(path=str(tmp_path)).load(0).train_labels.tolist()) == {2, 3}
    save(tmp_path, CELLS, CLASSES.clip(1) + 1, features={"label": {"dtype": "int64", "_type": "Value"}})
    loaded = HuggingFaceData(path=str(tmp_path)).load(0)
    assert set(loaded.train_labels.tolist()) == {0, 1} and loaded.num_classes == 2  # as Parquet's labels


def test_load__vectors_and_columns(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(12, 3, 2)).astype(np.float32)
    save(tmp_path, pa.array(values.tolist(), pa.list_(pa.list_(pa.float32()))), CLASSES)
    assert equal(HuggingFaceData(path=str(tmp_path)).load(2), Dataset.from_arrays(values, CLASSES, seed=2))


def test_load__images_that_are_named_by_their_paths(tmp_path: Path) -> None:
    for place, cell in enumerate(CELLS):
        (tmp_path / f"{place}.png").write_bytes(cell["bytes"] or b"")
    paths = [{"bytes": None, "path": str(tmp_path / f"{place}.png")} for place in range(12)]
    typed = pa.array(paths, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    save(tmp_path / "saved", typed, CLASSES)
    loaded = HuggingFaceData(path=str(tmp_path / "saved")).load(1)
    assert equal(loaded, Dataset.from_arrays(IMAGES, CLASSES, seed=1))
    (tmp_path / "4.png").unlink()
    line = refusal(tmp_path / "saved")
    assert line.startswith("data.image_column: row 4 (from 0) of '") and "4.png', which cannot be read (No such" in line


def test_load__refuses(tmp_path: Path) -> None:
    assert "has no state.json or dataset_dict.json; give the folder that save_to_disk wrote" in refusal(tmp_path)
    save_splits(tmp_path / "test", test=slice(0, 12))
    assert "must have a split named train, got test; give the folder of one of them" in refusal(tmp_path / "test")
    folder = save(tmp_path / "labels", CELLS, CLASSES + 2)
    assert "must be in 0..3, of the 4 classes that the files name, got 4; save the data set anew" in refusal(folder)
    folder = save(tmp_path / "unlabelled", CELLS, CLASSES - 1)
    assert "'label' is -1 in row 0 (from 0) of '" in refusal(folder)
    folder = save(tmp_path / "broken", CELLS, CLASSES)
    whole = (folder / "data-00000-of-00001.arrow").read_bytes()
    (folder / "data-00000-of-00001.arrow").write_bytes(whole[: len(whole) // 2])
    assert "data-00000-of-00001.arrow' is not a readable Arrow file (" in refusal(folder)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("{", "state.json' cannot be read as JSON ("),
        ("[]", "state.json' must hold an object of JSON; save the data set again"),
        ("{}", "state.json' names no data files of this folder; save it again"),
        (
            '{"_data_files": [{"filename": "../x.arrow"}]}',
            "state.json' names no data files of this folder; save it again",
        ),
        (
            '{"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}',
            "call flatten_indices(), and save it",
        ),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', "gone.arrow' is not a readable Arrow file ("),
    ],
)
def test_load__refuses_states_that_it_cannot_follow(tmp_path: Path, state: str, line: str) -> None:
    save(tmp_path, CELLS, CLASSES)
    (tmp_path / "state.json").write_text(state)
    assert line in refusal(tmp_path)
