"""Who holds what, the batches that follow from it, and other data sets beside a run's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers.base.seeds import stream
from peers.data.batches import batch_indices
from peers.data.chosen import Chosen
from peers.data.config import Synthetic
from peers.data.datasets import Dataset
from peers.data.holdings import check_sizes, holdings
from peers.data.other_sets import fitted

LABELS = np.random.default_rng(5).integers(0, 4, 512)


def section(**values: Any) -> Synthetic:
    return Synthetic.model_validate({"batch_size": 16, **values})


@pytest.mark.parametrize("public", [{"kind": "share", "share": 0.3}, {"kind": "classes", "classes": [2]}, None])
@pytest.mark.parametrize("partition", [{"kind": "iid"}, {"kind": "dirichlet", "alpha": 1.0}])
def test_holdings__public_and_private_are_all_and_nothing_twice(public: Any, partition: Any) -> None:
    found = holdings(section(partition=partition, public=public), LABELS, 4, 0)
    assert sorted([*found.public.tolist(), *np.concatenate(found.private).tolist()]) == list(range(512))
    assert found.pooled.tolist() == sorted(np.concatenate(found.private).tolist())
    if public and public["kind"] == "classes":
        assert set(LABELS[found.public]) == {2} and 2 not in LABELS[found.pooled]
    assert (len(found.public) == 0) is (public is None)


def test_holdings__of_the_rest_is_the_partition_of_its_labels() -> None:
    data = section(partition={"kind": "dirichlet", "alpha": 1.0}, public={"kind": "share"})
    found = holdings(data, LABELS, 4, 3)
    rest = np.setdiff1d(np.arange(512), found.public)
    assert data.partition is not None
    for part, own in zip(data.partition.split(LABELS[rest], 4, 3), found.private, strict=True):
        assert rest[part].tolist() == own.tolist()


def test_holdings__are_computed_once_for_the_same_content() -> None:
    data = section(partition={"kind": "iid"})
    found = holdings(data, LABELS, 4, 0)
    assert holdings(section(partition={"kind": "iid"}, batch_size=8), LABELS.copy(), 4, 0) is found
    others = LABELS.copy()
    others[0] += 1
    for changed in (
        holdings(data, others, 4, 0),
        holdings(data, LABELS, 3, 0),
        holdings(data, LABELS, 4, 1),
        holdings(section(partition={"kind": "iid"}, public={"kind": "share"}), LABELS, 4, 0),
    ):
        assert changed is not found


def test_holdings__what_is_in_no_list_is_public_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "lists.json"
    path.write_text(json.dumps([[5, 2], [7]]))
    partition = {"kind": "file", "path": str(path)}
    found = holdings(section(partition=partition, public={"kind": "rest"}), LABELS[:8], 2, 0)
    assert found.public.tolist() == [0, 1, 3, 4, 6]
    assert holdings(section(partition=partition), LABELS[:8], 2, 0).public.tolist() == []
    path.write_text(json.dumps([[5], [7]]))
    assert holdings(section(partition=partition), LABELS[:8], 2, 0).pooled.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("values", "peers", "line"),
    [
        ({"public": {"kind": "share", "share": 0.01}}, 4, "data.batch_size: must be at most the 5 public examples,"),
        ({"private_batch_size": 200}, 4, "data.partition: peer 0 holds 116 private examples, fewer than a private"),
        ({"batch_size": 50}, 16, "data.partition: peer 0 holds 29 private examples, fewer than a private batch of 50,"),
        ({}, 500, "data.partition: peer 0 holds 1 private examples, fewer than a private batch of 16, and so 499 more"),
    ],
)
def test_check_sizes__refused_in_a_line(values: dict[str, Any], peers: int, line: str) -> None:
    data = section(partition={"kind": "iid"}, **{"public": {"kind": "share", "share": 0.1}, **values})
    found = holdings(data, LABELS, peers, 0)
    with pytest.raises(ValueError) as error:
        check_sizes(found, data, len(found.public))
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


# ---- batches ----


def test_chosen__is_todays_batch_where_all_hold_all() -> None:
    data = section()
    dataset = data.load(0)
    chosen = Chosen(data, dataset, 4, 7)
    for round_index in (0, 31, 32, 100):
        expected = batch_indices(512, 16, stream(7, "batches"), round_index)
        assert (chosen.public(round_index) == expected).all()
    assert chosen.source is dataset and chosen.holdings is None


def test_chosen__an_epoch_goes_through_what_is_held_once() -> None:
    data = section(partition={"kind": "iid"}, public={"kind": "share", "share": 0.25}, private_batch_size=8)
    dataset = data.load(0)
    chosen = Chosen(data, dataset, 4, 7)
    assert chosen.holdings is not None
    public = np.concatenate([chosen.public(round_index) for round_index in range(8)])
    assert sorted(public.tolist()) == chosen.holdings.public.tolist()  # 128 in batches of 16
    for peer in (0, 3):
        epochs = [
            np.concatenate([chosen.private(round_index, peer) for round_index in range(first, first + 12)])
            for first in (0, 12)
        ]
        for epoch in epochs:  # 96 in batches of 8
            assert sorted(epoch.tolist()) == sorted(chosen.holdings.private[peer].tolist())
        assert epochs[0].tolist() != epochs[1].tolist()
    pooled = np.concatenate([chosen.private(round_index, 1, pooled=True) for round_index in range(48)])
    assert sorted(pooled.tolist()) == chosen.holdings.pooled.tolist()
    again = Chosen(data, dataset, 4, 7)
    assert (again.private(5, 2) == chosen.private(5, 2)).all()  # no state


def test_chosen__another_data_set_is_public() -> None:
    data = section(partition={"kind": "iid"})
    other = section(num_train=40).load(1)
    dataset = replace(data.load(0), others={"public": other})
    chosen = Chosen(data, dataset, 4, 7)
    assert chosen.source is other and chosen.public(0).max() < 40
    assert chosen.holdings is not None and len(chosen.holdings.pooled) == 512


# ---- other data sets ----


def images(channels: int, side: int, dtype: Any = np.uint8) -> Dataset:
    values = np.random.default_rng(0).integers(0, 256, (6, channels, side, side)).astype(dtype)
    labels = np.arange(6) % 2
    return Dataset("made", values, labels, values[:2], labels[:2], 2)


def test_fitted__grey_beside_colour_is_repeated() -> None:
    grey = images(1, 4)
    found = fitted(grey, images(3, 4), "irrelevant")
    assert found.shape == (3, 4, 4)
    for channel in range(3):
        assert (found.train_images[:, channel] == grey.train_images[:, 0]).all()
        assert (found.test_images[:, channel] == grey.test_images[:, 0]).all()
    assert fitted(grey, images(1, 4), "public") is grey


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (images(1, 5), "public: its images must be of 3x4x4 like those of data, got 3x5x5: set public.image_size, or"),
        (images(4, 4), "public: its images must be of 3x4x4 like those of data, got 4x4x4: set public.image_size, or"),
        (images(3, 4, np.float32), "public: its images must hold uint8 like those of data, got float32: convert one"),
    ],
)
def test_fitted__refused_in_a_line(other: Dataset, line: str) -> None:
    with pytest.raises(ValueError) as error:
        fitted(other, images(3, 4), "public")
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
