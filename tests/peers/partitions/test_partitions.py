"""Partitions are disjoint, cover what they say, and equal a reference to the index."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peers.base.section import examples
from peers.partitions.config import (
    IID,
    Classes,
    Dirichlet,
    FromFile,
    PartitionConfig,
    PartitionVariant,
    PublicClasses,
    PublicShare,
    Quantity,
)

LABELS = np.random.default_rng(5).integers(0, 10, 500)
DEALT = [each for each in examples(PartitionConfig) if not isinstance(each, FromFile)]


def digest(parts: list[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(np.asarray(part, dtype=np.int64).tobytes() + b"|")
    return sha.hexdigest()


# of flwr-datasets 0.6.0, numpy 2.4: DirichletPartitioner(peers, "label", alpha, smallest, seed=seed) on
# np.random.default_rng(5).integers(0, classes, examples)
REFERENCE = {
    (2000, 10, 8, 0.1, 10, 42): "ffe5eb0a39656277e0369b3cda10295b07ef8b5cc4ecc9aa8178852b9c42e34f",
    (1797, 10, 4, 1.0, 10, 7): "56ffd2ccfa98748e048c03ee3c449a89b3d2b22523f54e112eb63016b1242edd",
    (600, 3, 6, 0.3, 10, 14): "c2819db93719c812a61de1ca53b613f2e1b57610125960cc4a7beecaf7cdd7e9",  # the fifth draw
    (3000, 100, 10, 10.0, 1, 2**33): "091e39ae629fe04dd706ad475b641b39741e87087708162a1235f66ee1cfe247",
}


@pytest.mark.parametrize("case", REFERENCE)
def test_dirichlet__equals_flwr_datasets_to_the_index(case: tuple[Any, ...]) -> None:
    num, classes, peers, alpha, smallest, seed = case
    labels = np.random.default_rng(5).integers(0, classes, num)
    assert digest(Dirichlet(alpha=alpha, smallest=smallest).split(labels, peers, seed)) == REFERENCE[case]


@given(
    st.lists(st.integers(0, 5), min_size=40, max_size=200),
    st.integers(2, 6),
    st.integers(0, 2**40),
    st.sampled_from([IID(), Dirichlet(alpha=1.0, smallest=1), Classes(k=3), Quantity(sigma=0.5)]),
)
@settings(max_examples=25, deadline=None)
def test_split__every_example_is_in_one_part(
    labels: list[int], peers: int, seed: int, partition: PartitionVariant
) -> None:
    labels_ = np.array([*range(6), *labels])
    parts = partition.split(labels_, peers, seed)
    assert len(parts) == peers
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels_)))
    again = partition.split(labels_.copy(), peers, seed)
    assert all((one == other).all() for one, other in zip(parts, again, strict=True))


@pytest.mark.parametrize("partition", DEALT, ids=lambda each: each.kind)
def test_split__seeds_differ_and_a_cap_keeps_the_first_of_each_class(partition: Any) -> None:
    partition = partition.model_copy(update={"alpha": 5.0} if partition.kind == "dirichlet" else {})
    parts = partition.split(LABELS, 5, 0)
    assert digest(parts) != digest(partition.split(LABELS, 5, 1))
    capped = partition.model_copy(update={"per_class": 3}).split(LABELS, 5, 0)
    for part, kept in zip(parts, capped, strict=True):
        expected = [index for place, index in enumerate(part) if (LABELS[part[:place]] == LABELS[index]).sum() < 3]
        assert kept.tolist() == expected


def test_iid__sizes_differ_by_one_at_most() -> None:
    assert [len(part) for part in IID().split(LABELS[:23], 5, 0)] == [5, 5, 5, 4, 4]


@pytest.mark.parametrize(("k", "peers"), [(1, 10), (2, 5), (3, 7), (10, 3)])
def test_classes__each_peer_has_k_and_each_class_as_many_peers_as_any_other(k: int, peers: int) -> None:
    parts = Classes(k=k).split(LABELS, peers, 4)
    held = np.array([[number in LABELS[part] for number in range(10)] for part in parts])
    assert held.sum(axis=1).tolist() == [k] * peers
    assert held.sum(axis=0).max() - held.sum(axis=0).min() <= 1 and held.sum(axis=0).min() >= 1
    for number in range(10):
        counts = [int((LABELS[part] == number).sum()) for part in parts if number in LABELS[part]]
        assert max(counts) - min(counts) <= 1


def test_quantity__logarithms_of_shares_have_the_spread_and_classes_do_not_differ() -> None:
    labels = np.tile(np.arange(4), 250_000)
    parts = Quantity(sigma=0.7).split(labels, 400, 0)
    assert np.log([len(part) for part in parts]).std() == pytest.approx(0.7, rel=0.1)
    largest = max(parts, key=len)
    assert np.bincount(labels[largest]) / len(largest) == pytest.approx(np.full(4, 0.25), abs=0.02)


def test_dirichlet__large_alpha_is_even_and_small_alpha_gives_few_classes() -> None:
    labels = np.repeat(np.arange(10), 1000)
    even = Dirichlet(alpha=1e4).split(labels, 4, 0)
    assert all(abs(np.bincount(labels[part], minlength=10) - 250).max() < 25 for part in even)
    held = [len(np.unique(labels[part])) for part in Dirichlet(alpha=0.01).split(labels, 4, 0)]
    assert np.mean(held) < 5


@pytest.mark.parametrize(
    ("partition", "labels", "peers", "line"),
    [
        (Classes(k=11), LABELS, 4, "data.partition.k: must be at most the 10 classes of the examples to deal out, got"),
        (Classes(k=2), LABELS, 4, "data.partition.k: 4 peers with 2 classes each hold 8 of 10 classes at most, and"),
        (Dirichlet(alpha=0.01), LABELS[:60], 20, "data.partition.alpha: 11 draws of alpha 0.01 left a peer with fewer"),
        (Dirichlet(), LABELS * 0, 4, "data.partition.kind: 'dirichlet' deals out by class, but all 500 examples to"),
        (Classes(), LABELS * 0, 4, "data.partition.kind: 'classes' deals out by class, but all 500 examples to deal"),
    ],
)
def test_split__refused_in_a_line(partition: PartitionVariant, labels: np.ndarray, peers: int, line: str) -> None:
    with pytest.raises(ValueError) as error:
        partition.split(labels, peers, 0)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


# ---- a file ----


def written(folder: Path, content: Any) -> FromFile:
    path = folder / "lists.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return FromFile(path=str(path))


def test_from_file__gives_its_lists_also_when_the_file_is_gone(tmp_path: Path) -> None:
    partition = written(tmp_path, [[3, 1], [0]]).identified()
    Path(partition.path).unlink()
    assert [part.tolist() for part in partition.split(LABELS, 2, 0)] == [[3, 1], [0]]
    assert partition.digest == hashlib.sha256(b"[[3, 1], [0]]").hexdigest()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([[0], [1], [2]], "must hold a list for each of the 2 peers, got 3"),
        ([[0], [500]], "peer 1 holds example 500, but there are 500 training examples"),
        ([[0, 7], [7]], "example 7 is in the list of peer 0 and again in that of peer 1"),
        ([[0, 0], [7]], "example 0 is in the list of peer 0 and again in that of peer 0"),
        ([[0], [-1]], "the list of peer 1 must hold numbers of training examples, from 0, got -1: write whole numbers"),
        ([[0], [1.0]], "got 1.0"),
        ([[0], [True]], "got true"),
        ([[0], ["a"]], 'got "a"'),
        ({"0": [0]}, "must hold a list with a list of numbers for each peer: write [[0, 5], [3], ...]"),
        ([0, 1], "must hold a list with a list of numbers for each peer: write [[0, 5], [3], ...]"),
        ("[[0], [1]", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
    ],
)
def test_from_file__refused_in_a_line(tmp_path: Path, content: Any, line: str) -> None:
    with pytest.raises(ValueError) as error:
        written(tmp_path, content).split(LABELS, 2, 0)
    assert line in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("data.partition.path: ")


def test_from_file__a_digest_refuses_other_lists(tmp_path: Path) -> None:
    partition = written(tmp_path, [[3, 1], [0]]).identified()
    written(tmp_path, [[3], [0]])
    with pytest.raises(ValueError, match=r"^data.partition.path: '\S+' has other lists than the run was started with"):
        partition.identified()
    with pytest.raises(ValueError, match=r"^data.partition.path: '/nowhere' does not exist: name a JSON file"):
        FromFile(path="/nowhere").split(LABELS, 2, 0)


# ---- public examples ----


def test_public__a_share_is_random_and_classes_are_whole() -> None:
    share = PublicShare(share=0.2).choose(LABELS, 1)
    assert len(share) == len(set(share.tolist())) == 100 and (np.diff(share) > 0).all()
    assert share.tolist() != PublicShare(share=0.2).choose(LABELS, 2).tolist()
    chosen = PublicClasses(classes=(3, 9)).choose(LABELS, 1)
    assert chosen.tolist() == [index for index, label in enumerate(LABELS) if label in (3, 9)]


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        ((10,), "data.public.classes: there are no training examples of class 10, but of 0, 1, 2"),
        ((-1,), "data.public.classes: there are no training examples of class -1"),
        (tuple(range(10)), "data.public.classes: names all 10 classes, so that no example is left for the peers"),
    ],
)
def test_public__classes_refused_in_a_line(classes: tuple[int, ...], line: str) -> None:
    with pytest.raises(ValueError) as error:
        PublicClasses(classes=classes).choose(LABELS, 0)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
