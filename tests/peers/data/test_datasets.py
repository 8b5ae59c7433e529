import gzip
import os
import re
import shutil
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision
from numpy.random import SeedSequence
from sklearn.neighbors import KNeighborsClassifier

from peers.base import memory
from peers.base.section import examples
from peers.base.seeds import stream
from peers.data import batches, datasets, loading
from peers.data.batches import Batches
from peers.data.config import DataConfig
from peers.data.datasets import Dataset
from peers.data.examples import Examples, of_resident
from peers.data.formats import holdout, named_sets

CPU = torch.device("cpu")
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FASHION_MNIST = Path(os.environ.get("PEER_CONSENSUS_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def pixels(num: int, height: int = 4, width: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images, rows x height x width (x channels)."""
    shape = (num, height, width, channels) if channels > 1 else (num, height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def synthetic(num_train: int = 60, seed: int = 0) -> Dataset:
    return loading.load_synthetic(num_train, 20, 3, (2, 4, 5), SeedSequence(seed))


def equal(first: Dataset, second: Dataset) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


# ---- sources ----


@pytest.mark.parametrize("config", examples(DataConfig), ids=lambda config: config.kind)
def test_load__every_kind_is_the_same_each_time_or_says_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: DataConfig
) -> None:
    """In an empty folder: kinds that read files find none there."""
    monkeypatch.chdir(tmp_path)
    try:
        dataset = config.load(3)
    except ValueError as refusal:
        message = str(refusal)
        assert re.match(r"data\.\w+: ", message) and "\n" not in message
    else:
        assert equal(dataset, config.load(3)) and not equal(dataset, config.load(4))
        assert dataset.train_images.shape[1:] == dataset.test_images.shape[1:] == dataset.shape
        assert len(dataset.train_images) == len(dataset.train_labels) > 0


def test_load_digits__is_scikit_learns_split_by_class() -> None:
    source, dataset = sklearn.datasets.load_digits(), loading.load_digits(SeedSequence(1))
    assert (dataset.shape, dataset.num_classes, len(dataset.test_labels)) == ((1, 8, 8), 10, 500)
    ours = np.concatenate([dataset.train_images, dataset.test_images])[:, 0] * (16 / 255)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    rows = sorted((int(label), *np.rint(image).astype(int).ravel()) for label, image in zip(labels, ours, strict=True))
    theirs = zip(source.target, source.images, strict=True)
    assert rows == sorted((int(label), *image.astype(int).ravel()) for label, image in theirs)
    share = np.bincount(source.target) * 500 / 1797
    assert (np.abs(np.bincount(dataset.test_labels) - share) < 1).all()
    assert dataset.train_images.max() == 255


def test_load_digits__are_the_same_where_their_file_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from_file = loading.load_digits(SeedSequence(1))
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    assert equal(from_file, loading.load_digits(SeedSequence(1)))


def test_load_digits__pure_in_the_seed() -> None:
    assert equal(loading.load_digits(SeedSequence(1)), loading.load_digits(SeedSequence(1)))
    assert not equal(loading.load_digits(SeedSequence(1)), loading.load_digits(SeedSequence(2)))


def test_load_synthetic__can_be_learned() -> None:
    dataset = loading.load_synthetic(200, 100, 4, (1, 6, 6), SeedSequence(0))
    train, test = dataset.train_images.reshape(200, -1), dataset.test_images.reshape(100, -1)
    knn = KNeighborsClassifier(5).fit(train.astype(float), dataset.train_labels)
    assert knn.score(test.astype(float), dataset.test_labels) > 0.8
    every = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert np.bincount(every).tolist() == [75] * 4


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, zipped: bool) -> list[np.ndarray]:
    folder.mkdir(parents=True)
    arrays = [
        pixels(5, 3, 2, 1),
        np.arange(5, dtype=np.uint8),
        pixels(4, 3, 2, 1, seed=1),
        np.arange(4, dtype=np.uint8),
    ]
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_load_torchvision__idx_files(tmp_path: Path, zipped: bool, folder: str) -> None:
    train, train_labels, test, test_labels = write_idx(tmp_path / "root" / folder, zipped)
    dataset = loading.load_torchvision("mnist", tmp_path / "root", False)
    assert dataset.shape == (1, 3, 2)
    assert np.array_equal(dataset.train_images[:, 0], train)
    assert np.array_equal(dataset.test_images[:, 0], test)
    assert np.array_equal(dataset.train_labels, train_labels)
    assert np.array_equal(dataset.test_labels, test_labels)


def test_load_torchvision__fashion_mnist_as_torchvision_reads_it(tmp_path: Path) -> None:
    if not all(named_sets.find_idx([FASHION_MNIST], name) for name in IDX_NAMES):
        pytest.skip("no Fashion-MNIST: install dataset-fashion-mnist or set PEER_CONSENSUS_FASHION_MNIST")
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (named_sets.find_idx([FASHION_MNIST], name)[0] for name in IDX_NAMES):
        content = file.read_bytes()
        (raw / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(content) if file.suffix == ".gz" else content)
    dataset = loading.load_torchvision("fashion-mnist", FASHION_MNIST, False)
    for split, ours, labels in (
        (True, dataset.train_images, dataset.train_labels),
        (False, dataset.test_images, dataset.test_labels),
    ):
        reference = torchvision.datasets.FashionMNIST(tmp_path, train=split)
        assert np.array_equal(ours[:, 0], reference.data.numpy())
        assert np.array_equal(labels, reference.targets.numpy())
    assert (len(dataset.train_labels), len(dataset.test_labels), dataset.num_classes) == (60_000, 10_000, 10)


@pytest.mark.parametrize("kind", get_args(named_sets.TorchvisionKind))
def test_load_torchvision__absent(tmp_path: Path, kind: named_sets.TorchvisionKind) -> None:
    with pytest.raises(ValueError, match=r"^data\.root: no .* under '.*'; set data\.download = true, or") as caught:
        loading.load_torchvision(kind, tmp_path, False)
    assert "\n" not in str(caught.value)
    name = {"cifar10": "CIFAR10", "fashion-mnist": "FashionMNIST"}.get(kind, kind.upper())
    assert f"torchvision.datasets.{name}('{tmp_path}'" in str(caught.value)
    assert ("apt-get install dataset-fashion-mnist" in str(caught.value)) == (kind == "fashion-mnist")


@pytest.mark.parametrize("kind", ["cifar10", "fashion-mnist"])
def test_load_torchvision__failed_download(
    tmp_path: Path, kind: named_sets.TorchvisionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", offline)
    with pytest.raises(ValueError, match=r"^data\.download: could not fetch .* into"):
        loading.load_torchvision(kind, tmp_path, True)


@pytest.mark.parametrize("kind", ["cifar100", "stl10", "svhn"])
def test_load_torchvision__axes_and_splits(
    tmp_path: Path, kind: named_sets.TorchvisionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Source:
        def __init__(self, root: Path, download: bool, train: bool = False, split: str = "") -> None:
            train = train or split == "train"
            array = pixels(5 if train else 3)
            self.data = array.transpose(0, 3, 1, 2) if split else array
            self.targets = self.labels = list(range(len(array)))

    monkeypatch.setattr(torchvision.datasets, kind.upper(), Source)
    dataset = loading.load_torchvision(kind, tmp_path, False)
    assert dataset.shape == (3, 4, 6)
    assert np.array_equal(dataset.train_images[4, 2], pixels(5)[4, :, :, 2])
    assert np.array_equal(dataset.test_images[2, 1], pixels(3)[2, :, :, 1])
    assert dataset.test_labels.tolist() == [0, 1, 2]
    assert dataset.num_classes == (100 if kind == "cifar100" else 10)


# ---- subsets ----


def test_limit__keeps_pairs_order_and_the_rest_alone() -> None:
    dataset = synthetic()
    subset = datasets.limit(dataset, 10, 0, SeedSequence(3))
    where = [
        int(np.flatnonzero((dataset.train_images == image).all(axis=(1, 2, 3)))[0]) for image in subset.train_images
    ]
    assert len(where) == 10
    assert where == sorted(set(where))
    assert np.array_equal(subset.train_labels, dataset.train_labels[where])
    assert np.shares_memory(subset.test_images, dataset.test_images)
    assert equal(subset, datasets.limit(dataset, 10, 0, SeedSequence(3)))
    assert not equal(subset, datasets.limit(dataset, 10, 0, SeedSequence(4)))


def test_limit__larger_than_the_data() -> None:
    with pytest.raises(
        ValueError, match=r"^data\.test_limit: must be at most the 20 test examples, got 21; use 0 for all$"
    ):
        datasets.limit(synthetic(), 0, 21, SeedSequence(0))


def test_hold_out__training_images_stand_in_for_the_test_images() -> None:
    whole = loading.load_synthetic(60, 20, 3, (1, 4, 4), np.random.SeedSequence(0))
    split = datasets.hold_out(whole, 15, np.random.SeedSequence(1))
    kept, held = ({image.tobytes() for image in images} for images in (split.train_images, split.test_images))
    assert kept | held == {image.tobytes() for image in whole.train_images} and not kept & held
    assert np.bincount(split.test_labels).tolist() == [5, 5, 5]
    labels = {image.tobytes(): label for image, label in zip(whole.train_images, whole.train_labels, strict=True)}
    assert [labels[image.tobytes()] for image in split.test_images] == split.test_labels.tolist()
    with pytest.raises(ValueError, match=r"data.validation: must be below the 60 training images, got 60; lower it"):
        datasets.hold_out(whole, 60, np.random.SeedSequence(1))
    rare = replace(whole, train_labels=np.where(np.arange(60) == 7, 2, whole.train_labels % 2))
    with pytest.raises(ValueError, match=r"every class, got 58 of 60, which leaves none of class 2; lower it"):
        datasets.hold_out(rare, 58, np.random.SeedSequence(3))


def test_stratified_holdout__each_class_gets_its_share() -> None:
    labels = np.repeat(np.arange(5), [3, 50, 17, 1, 29]).astype(np.int64)
    for num_test in (1, 7, 33, 99):
        test = holdout.stratified_holdout(labels, num_test, np.random.default_rng(num_test))
        assert test.sum() == num_test
        share = np.bincount(labels) * num_test / len(labels)
        assert (np.abs(np.bincount(labels[test], minlength=5) - share) < 1).all()


def test_stratified_holdout__every_example_is_as_likely() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2], dtype=np.int64)
    rng = np.random.default_rng(0)
    counts = np.sum([holdout.stratified_holdout(labels, 4, rng) for _ in range(3000)], axis=0)
    for label in range(3):
        own = counts[labels == label] / counts[labels == label].mean()
        assert own == pytest.approx(np.ones(len(own)), abs=0.12)


# ---- batches ----


def test_batch_indices__an_epoch_is_a_permutation_without_its_rest() -> None:
    for epoch in range(3):
        rounds = [batches.batch_indices(23, 5, SeedSequence(1), 4 * epoch + position) for position in range(4)]
        seen = np.concatenate(rounds)
        assert len(set(seen.tolist())) == 20
        assert 0 <= seen.min() <= seen.max() < 23


def test_batch_indices__pure_in_seed_and_round() -> None:
    seed = SeedSequence(7, spawn_key=(1, 2))
    forward = [batches.batch_indices(50, 8, seed, index).tolist() for index in range(40)]
    backward = [
        batches.batch_indices(50, 8, SeedSequence(7, spawn_key=(1, 2)), index).tolist() for index in range(39, -1, -1)
    ]
    assert forward == backward[::-1]
    assert seed.n_children_spawned == 0
    assert forward[0] != forward[6]
    assert forward[0] != batches.batch_indices(50, 8, SeedSequence(7, spawn_key=(1, 3)), 0).tolist()
    assert forward[0] != batches.batch_indices(50, 8, SeedSequence(8, spawn_key=(1, 2)), 0).tolist()


def test_batch_indices__writing_to_a_batch_changes_no_other() -> None:
    first = batches.batch_indices(10, 4, SeedSequence(0), 0)
    before = first.copy()
    first[:] = -1
    assert np.array_equal(batches.batch_indices(10, 4, SeedSequence(0), 0), before)


def test_batch_indices__batch_larger_than_the_data() -> None:
    with pytest.raises(
        ValueError, match=r"^data\.batch_size: must be at most the 10 training images, got 11; lower it$"
    ):
        batches.batch_indices(10, 11, SeedSequence(0), 0)
    assert sorted(batches.batch_indices(10, 10, SeedSequence(0), 3).tolist()) == list(range(10))


def test_flip_mask__fair_and_pure() -> None:
    masks = np.array([batches.flip_mask(SeedSequence(2), index, 64) for index in range(200)])
    assert masks.mean() == pytest.approx(0.5, abs=4 * 0.5 / masks.size**0.5)
    assert np.array_equal(masks[150], batches.flip_mask(SeedSequence(2), 150, 64))
    assert not np.array_equal(masks[0], masks[1])


def test_channel_statistics__numpy_on_scaled_pixels() -> None:
    array = pixels(2500, 3, 2).transpose(0, 3, 1, 2) // np.array([1, 2, 3], dtype=np.uint8)[:, None, None]
    mean, std = datasets.channel_statistics(array)
    assert mean == pytest.approx((array / 255).mean(axis=(0, 2, 3)), rel=1e-6)
    assert std == pytest.approx((array / 255).std(axis=(0, 2, 3)), rel=1e-6)


@pytest.mark.parametrize("shape", [(13,), (2, 30), (3, 4, 5), (2, 3, 4, 5), (1,)])
def test_channel_statistics__of_numbers_and_of_any_shape_as_numpys(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    array = (rng.normal(50, 3, (400, *shape)) * np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))).astype(
        np.float32
    )
    axes = (0, *range(2, array.ndim))
    mean, std = datasets.channel_statistics(array)
    assert mean.dtype == std.dtype == np.float32
    assert mean == pytest.approx(array.astype(np.float64).mean(axis=axes), rel=1e-7)
    assert std == pytest.approx(array.astype(np.float64).std(axis=axes), rel=1e-6)
    whole = (array % 256).astype(np.uint8)
    mean, std = datasets.channel_statistics(whole)
    assert mean == pytest.approx((whole / 255).mean(axis=axes), rel=1e-6)
    assert std == pytest.approx((whole / 255).std(axis=axes), rel=1e-6)


def test_channel_statistics__of_numbers_do_not_depend_on_their_order_in_memory() -> None:
    array = np.random.default_rng(0).normal(size=(100, 6, 7, 3)).astype(np.float32)
    view = np.moveaxis(array, -1, 1)
    for ours, theirs in zip(
        datasets.channel_statistics(view), datasets.channel_statistics(np.ascontiguousarray(view)), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()


def test_channel_statistics__of_numbers_that_are_equal_large_or_tiny() -> None:
    columns = [
        np.full(1000, 0.1),
        np.linspace(-3e38, 3e38, 1000),
        np.linspace(0, 1e-40, 1000),
        1e4 + np.arange(1000) % 2,
    ]
    array = np.stack(columns, axis=1).astype(np.float32)
    mean, std = datasets.channel_statistics(array)
    normalised = datasets.images_to_tensor(array, mean, std)
    assert (mean[0], std[0]) == (np.float32(0.1), 1) and not normalised[:, 0].any()
    assert std[1] == pytest.approx(array[:, 1].astype(np.float64).std(), rel=1e-6)
    assert torch.isfinite(normalised).all() and (std > 0).all()
    assert normalised[:, 3].tolist() == [-1, 1] * 500


@pytest.mark.parametrize("shape", [(5,), (2, 7), (3, 4, 4), (1, 2, 3, 4)])
def test_images_to_tensor__numbers_of_any_shape_are_not_divided_by_255(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(7, 2, (200, *shape)).astype(np.float32)
    before = array.copy()
    tensor = datasets.images_to_tensor(array, *datasets.channel_statistics(array))
    axes = (0, *range(2, array.ndim))
    expected = (array - array.mean(axis=axes, keepdims=True)) / array.std(axis=axes, keepdims=True)
    torch.testing.assert_close(tensor, torch.from_numpy(expected), atol=1e-4, rtol=1e-4)
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "array", [pixels(60, 7, 5, 1), np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32)]
)
def test_of_resident__the_bits_of_examples_for_any_shape_and_dtype(array: np.ndarray) -> None:
    labels = np.arange(60) % 3
    made = Examples(Dataset("x", array, labels, array, labels, 3), CPU, resident=True)
    resident = torch.tensor(array), torch.tensor(labels)
    for round_index in range(5):
        chosen = batches.batch_indices(60, 16, SeedSequence(1), round_index)
        found, same = of_resident(*resident, chosen, None)
        assert all(map(torch.equal, (found, same), made(chosen)))
        found.zero_()
    assert torch.equal(resident[0], torch.tensor(array))  # nothing was written to


def test_images_to_tensor__normalises_each_channel() -> None:
    array = pixels(50).transpose(0, 3, 1, 2)
    tensor = datasets.images_to_tensor(array, *datasets.channel_statistics(array))
    torch.testing.assert_close(tensor.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(tensor.std(dim=(0, 2, 3), correction=0), torch.ones(3))
    by_hand = datasets.images_to_tensor(
        np.array([[[[0, 51, 255]]]], dtype=np.uint8), np.array([0.2], np.float32), np.array([0.4], np.float32)
    )
    torch.testing.assert_close(by_hand, torch.tensor([[[[-0.5, 0.0, 2.0]]]]))


def test_images_to_tensor__constant_channel_becomes_zero() -> None:
    array = np.full((4, 1, 2, 2), 51, dtype=np.uint8)
    tensor = datasets.images_to_tensor(array, *datasets.channel_statistics(array))
    torch.testing.assert_close(tensor, torch.zeros(4, 1, 2, 2))


def test_batches__read_only_arrays_stay_as_they_are() -> None:
    dataset = synthetic()
    for array in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        array.setflags(write=False)
    before = dataset.train_images.copy()
    normalisation = datasets.channel_statistics(dataset.train_images)
    for array in normalisation:
        array.setflags(write=False)
    values, labels = Batches(dataset, seed=1, batch_size=16, flip=True, normalisation=normalisation)(5)
    values.add_(1)
    labels.add_(1)
    assert np.array_equal(dataset.train_images, before)
    assert datasets.limit(dataset, 5, 5, SeedSequence(0)).train_images.flags.writeable


def test_batches__flips_what_the_mask_says() -> None:
    dataset = synthetic()
    normalisation = datasets.channel_statistics(dataset.train_images)
    (plain, labels), (flipped, same_labels) = (
        Batches(dataset, seed=1, batch_size=16, flip=flip, normalisation=normalisation)(5) for flip in (False, True)
    )
    chosen = batches.batch_indices(60, 16, stream(1, "batches"), 5)
    assert torch.equal(plain, datasets.images_to_tensor(dataset.train_images[chosen], *normalisation))
    assert torch.equal(labels, same_labels)
    assert labels.tolist() == dataset.train_labels[chosen].tolist()
    mask = torch.from_numpy(batches.flip_mask(stream(1, "flips"), 5, 16))
    assert 0 < mask.sum() < 16
    assert torch.equal(flipped, torch.where(mask[:, None, None, None], plain.flip(3), plain))


# ---- memory, and files that disagree ----


def test_load_synthetic__in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(SeedSequence(4))
    means = rng.normal(128, 32, size=(3, 2, 4, 5))
    labels = rng.permutation(np.arange(50, dtype=np.int64) % 3)
    pixels = np.clip(np.rint(means[labels] + rng.normal(0, 32, size=(50, 2, 4, 5))), 0, 255).astype(np.uint8)
    for at_once in (1, 7 * 40, 2**22):
        monkeypatch.setattr(loading, "AT_ONCE", at_once)
        made = loading.load_synthetic(30, 20, 3, (2, 4, 5), SeedSequence(4))
        assert np.array_equal(np.concatenate([made.train_images, made.test_images]), pixels)
        assert np.array_equal(np.concatenate([made.train_labels, made.test_labels]), labels)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ((10**9, 20, 3, (3, 32, 32)), "data: 1,000,000,020 images and 3 classes of 3x32x32 need 2,891.0 GiB of memory"),
        ((64, 20, 10**9, (1, 8, 8)), "data: 84 images and 1,000,000,000 classes of 1x8x8 need 477.0 GiB of memory"),
        ((64, 20, 3, (3, 65536, 65536)), "data: 84 images and 3 classes of 3x65536x65536 need"),
    ],
)
def test_load_synthetic__refuses_what_the_memory_does_not_hold(
    sizes: tuple[int, int, int, tuple[int, int, int]], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    with pytest.raises(ValueError) as caught:
        loading.load_synthetic(*sizes, SeedSequence(0))
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("lower data.num_train, data.num_test, data.num_classes or data.shape")


def test_channel_statistics__counts_a_large_image_in_parts() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 1, 3000, 1500), dtype=np.uint8)
    tracemalloc.start()
    mean, std = datasets.channel_statistics(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 8 * 2**22  # the int64 copy of a part; of one image it would be 36 MB, of all 108 MB
    assert mean == pytest.approx(array.mean() / 255) and std == pytest.approx(array.std() / 255)


def test_load_torchvision__a_file_there_twice(tmp_path: Path) -> None:
    write_idx(tmp_path / "root", False)
    plain = tmp_path / "root" / IDX_NAMES[1]
    Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))  # as torchvision leaves them
    assert loading.load_torchvision("mnist", tmp_path / "root", False).train_labels.tolist() == list(range(5))
    Path(f"{plain}.gz").write_bytes(gzip.compress(idx(np.arange(5, dtype=np.uint8)[::-1])))
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte' and '.*labels-idx1-ubyte\.gz' should be the same but"):
        loading.load_torchvision("mnist", tmp_path / "root", False)


def test_load_torchvision__another_data_set_beside_it(tmp_path: Path) -> None:
    write_idx(tmp_path / "root" / "MNIST" / "raw", False)
    for path in (tmp_path / "root" / "MNIST" / "raw").iterdir():
        shutil.copy(path, tmp_path / "root")
    (tmp_path / "root" / IDX_NAMES[0]).write_bytes(idx(pixels(5, 3, 2, 1, seed=9)))  # say, Fashion-MNIST
    with pytest.raises(ValueError, match=r"^data\.root: '.*' and '.*MNIST/raw/train-images.*' should be the same but"):
        loading.load_torchvision("mnist", tmp_path / "root", False)


def test_read_idx__a_header_that_promises_more_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**20, 2**10, 2**10))
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    with pytest.raises(ValueError, match=r"^data\.root: the bytes of '.*x' need 1,024\.0 GiB of memory, and 1\.0 GiB"):
        named_sets.read_idx(file)
