"""Runs on data that is not images: the same numbers everywhere, and words that fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import sklearn.datasets
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from coordinator import load_config, simulate
from peers.data.datasets import Dataset

SERIES, KINDS = np.random.default_rng(0).normal(size=(90, 2, 12)), np.arange(90) % 3


def wine() -> Dataset:
    values, labels = sklearn.datasets.load_wine(return_X_y=True)
    return Dataset.from_arrays(values, labels, name="wine", test_fraction=0.3)


def config(small: dict[str, Any], *overrides: str) -> Any:
    return load_config(small, ["evaluation.controls=[]", *overrides])


def test_simulate__vectors_have_the_same_numbers_in_ray(small: dict[str, Any], tmp_path: Path) -> None:
    assert not ray.is_initialized()
    given, ours = wine(), simulate(config(small), tmp_path, data=wine())
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        theirs = simulate(config(small, "hosting.pool=ray", "hosting.peers_per_host=2"), tmp_path, data=given)
    finally:
        ray.shutdown()
    assert theirs.summary["digest"] == ours.summary["digest"] and ours.summary["digest"]
    assert theirs.summary["probes"] == ours.summary["probes"]
    assert theirs.summary["consensus"] == ours.summary["consensus"]


def test_simulate__the_probe_of_raw_vectors_is_scikit_learns(small: dict[str, Any], tmp_path: Path) -> None:
    """On values that are normalised by feature: of as many neighbours, by Euclidean distance, each with one vote."""
    given = wine()
    knn = "evaluation.knn={ k = 5, metric = 'euclidean', vote = 'uniform', standardise = false }"
    result = simulate(config(small, "run.rounds=2", knn), tmp_path, data=given)
    scaler = StandardScaler().fit(given.train_images)
    theirs = KNeighborsClassifier(5).fit(scaler.transform(given.train_images), given.train_labels)
    expected = theirs.score(scaler.transform(given.test_images), given.test_labels)
    assert result.summary["probes"]["knn"]["raw_pixels"] == pytest.approx(expected) and expected > 0.9


@pytest.mark.parametrize(
    ("dataset", "shape", "words"),
    [
        (wine(), (13,), "125 training and 53 test vectors"),
        (Dataset.from_arrays(SERIES, KINDS, name="sines"), (2, 12), "72 training and 18 test series"),
        (Dataset.from_arrays(SERIES.reshape(90, 1, 2, 3, 4), KINDS), (1, 2, 3, 4), "72 training and 18 test volumes"),
    ],
)
def test_simulate__words_are_those_of_the_data(
    dataset: Dataset, shape: tuple[int, ...], words: str, small: dict[str, Any], tmp_path: Path
) -> None:
    result = simulate(config(small, "run.rounds=2", "data.validation=15"), tmp_path / "a", data=dataset)
    whole = simulate(config(small, "run.rounds=2"), tmp_path / "b", data=dataset)
    assert tuple(result.summary["data"]["shape"]) == shape
    noun = words.split()[-1]
    page = (result.folder / "report.html").read_text().partition("<code")[0]  # before the config's own text
    assert f"15 training {noun} stand in for the test {noun}" in page and "images" not in page
    assert words in (whole.folder / "report.html").read_text()


def test_simulate__vectorised_and_in_a_loop_agree(small: dict[str, Any], tmp_path: Path) -> None:
    loop, vectorised = (
        simulate(config(small, f"hosting.execution={execution}"), tmp_path / execution, data=wine()).summary
        for execution in ("loop", "vectorised")
    )
    for name, values in loop["consensus"].items():
        assert vectorised["consensus"][name]["last"] == pytest.approx(values["last"], rel=1e-3, abs=1e-5), name
