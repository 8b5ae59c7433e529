"""Runs whose peers have views: probes, raw pixels and what comes back are each peer's own; nothing leaks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coordinator import Dataset, Result, load_config, load_result, simulate
from coordinator.planning.plan import load_data
from peers.data.datasets import channel_statistics
from peers.probing import probes
from peers.probing.config import ProbeConfig
from peers.probing.measuring import probe_images

COUNT = 3
GROUPS = [
    {
        "count": 2,
        "view": [{"kind": "colour-jitter", "joint": True}, "flip", {"kind": "crop", "padding": 1}, "luminance"],
    },
    {"count": 1, "view": ["flip", "chroma"]},
]


def table(**sections: Any) -> dict[str, Any]:
    network = {"model": {"kind": "small-cnn", "channels": [4]}, "head": {"kind": "linear", "dim": 4}}
    base: dict[str, Any] = {
        "run": {"rounds": 2, "seed": 5},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 16, "shape": (3, 6, 6)},
        "peers": {"count": COUNT, **network},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_batch": 24, "probes": ["knn"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2, "seconds": 0},
    }
    return {**base, **{name: {**base.get(name, {}), **values} for name, values in sections.items()}}


def knn(result: Result, data: Dataset, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Which probe images kNN classifies correctly, from features of all images."""
    chosen = probe_images(data, ProbeConfig(probes=("knn",), probe_batch=24), result.config.run.seed)
    labels = [torch.from_numpy(each.copy()) for each in (data.train_labels, data.test_labels)]
    rows = [torch.from_numpy(rows) for rows in (chosen.train, chosen.test)]
    found = probes.knn(
        torch.from_numpy(train)[rows[0]],
        labels[0][rows[0]],
        torch.from_numpy(test)[rows[1]],
        labels[1][rows[1]],
        data.num_classes,
        **result.config.evaluation.knn.model_dump(),
    )
    return found.numpy()


def coloured() -> Dataset:
    """Noise whose mean colour tells the class, more or less."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    images = rng.integers(0, 150, (120, 3, 6, 6)) + 40 * np.eye(3, dtype=np.int64)[labels][:, :, None, None]
    images = images.astype(np.uint8)
    return Dataset.from_arrays(images[:90], labels[:90], images[90:], labels[90:])


def pixels_seen(images: np.ndarray, grey: bool) -> np.ndarray:
    """Luminance or chroma, written out, as float."""
    values = images.astype(np.float32) / 255
    if grey:
        luminance = np.tensordot(values, np.array([0.2989, 0.587, 0.114], np.float32), (1, 0))
        return np.repeat(luminance[:, None], 3, axis=1)
    return values - values.mean(axis=1, keepdims=True)


def test_run__each_peer_is_probed_with_its_own_sensors(tmp_path: Path) -> None:
    data = coloured()
    result = simulate(load_config(table(peers={"groups": GROUPS})), tmp_path, data=data)
    trained, raw = [], []
    for peer in range(COUNT):
        features = [result.features(images, peer) for images in (data.train_images, data.test_images)]
        trained.append(knn(result, data, *features).mean())
        seen = [pixels_seen(images, peer < 2) for images in (data.train_images, data.test_images)]
        mean, std = result.trained(peer).inputs.normalisation
        np.testing.assert_allclose(mean, seen[0].mean(axis=(0, 2, 3)), atol=1e-6)
        np.testing.assert_allclose(std, seen[0].std(axis=(0, 2, 3)), rtol=1e-5)
        flat = [((each - mean[:, None, None]) / std[:, None, None]).reshape(len(each), -1) for each in seen]
        raw.append(knn(result, data, *flat).mean())
    table_of = result.summary["probes"]["knn"]
    assert np.mean(trained) == pytest.approx(table_of["trained"])
    assert np.mean(raw) == pytest.approx(table_of["raw_pixels"]) and len({*raw}) == 2
    assert "flip (probability 0.5), chroma" in (result.folder / "report.html").read_text()


def test_run__what_comes_back_from_the_folder_sees_the_same(tmp_path: Path) -> None:
    result = simulate(load_config(table(peers={"view": ["left", "noisy"]})), tmp_path)
    loaded, images = load_result(result.folder), load_data(result.config).test_images
    for peer in range(COUNT):
        assert np.array_equal(loaded.features(images, peer), result.features(images, peer))
        assert [step.name for step in loaded.trained(peer).inputs.sensors] == ["left", "noisy"]
    whole = result.features(images, 0)
    assert np.array_equal(result.features(images[:7], 0), whole[:7])


def halves(other_seed: int) -> Dataset:
    """Images with the same left halves, and right halves of this seed."""
    rng, other = np.random.default_rng(0), np.random.default_rng(other_seed)
    images, labels = rng.integers(0, 256, (120, 3, 6, 6), dtype=np.uint8), rng.integers(0, 3, 120)
    images[..., 3:] = other.integers(0, 256, (120, 3, 6, 3), dtype=np.uint8)
    return Dataset.from_arrays(images[:90], labels[:90], images[90:], labels[90:], num_classes=3)


def test_leak__a_run_of_left_views_knows_nothing_of_the_right_halves(tmp_path: Path) -> None:
    """The digest is over all weights; the right halves do matter where they are seen."""

    def run(seed: int, *view: str) -> tuple[str, dict[str, float]]:
        config = load_config(table(peers={"view": [*view, "flip", "blur"]}))
        result = simulate(config, tmp_path, data=halves(seed))
        found = result.summary["probes"]["knn"]
        return result.summary["digest"], {name: found[name] for name in ("raw_pixels", "calibrated", "trained")}

    assert run(1, "left") == run(2, "left")
    assert run(1, "right")[0] != run(2, "right")[0]


def test_run__a_view_that_changes_nothing_changes_no_bit(tmp_path: Path) -> None:
    """A greyscale that is never drawn leaves the run as it is without views, and its normalisation."""
    rare = {"kind": "greyscale", "probability": 1e-12}
    plain, seen = (simulate(load_config(table(peers={"view": view})), tmp_path) for view in ([], [rare]))
    assert plain.summary["digest"] == seen.summary["digest"]
    assert plain.summary["probes"]["knn"] == seen.summary["probes"]["knn"]
    wanted = channel_statistics(load_data(plain.config).train_images)
    for result in (plain, seen):
        assert all(np.array_equal(one, two) for one, two in zip(result.normalisation, wanted, strict=True))


@pytest.mark.slow
def test_run__the_same_bits_in_ray_actors(tmp_path: Path) -> None:
    settings = {"groups": [GROUPS[0], {"count": 1, "view": ["noisy", "resized-crop", "cutout"]}]}
    here = simulate(load_config(table(peers=settings)), tmp_path)
    hosting = {"pool": "ray", "peers_per_host": 2, "cpus_per_peer": 0.5, "evaluators": 0, "side_runs": 0}
    there = simulate(load_config(table(peers=settings, hosting=hosting)), tmp_path)
    assert here.summary["digest"] == there.summary["digest"]
    assert here.summary["probes"] == there.summary["probes"]
