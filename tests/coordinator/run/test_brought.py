"""Networks, data, losses and graphs of the user's own: the same digests in every pool, and never the wrong ones."""

import functools
import warnings
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coordinator import Result, load_config, simulate
from peers.data.datasets import Dataset

METRICS = ("rounds", "bytes_exchanged", "probes", "consensus", "relative_weight_change", "digest")
ROUNDS = 8


# ---- what a user might bring ----


class TinyViT(nn.Module):
    """Patches of a quarter of the image, one block of attention, mean over the patches."""

    def __init__(self, shape: tuple[int, ...], dim: int = 8) -> None:
        super().__init__()
        channels, height, _ = shape
        self.patches = nn.Conv2d(channels, dim, height // 4, stride=height // 4)
        self.places = nn.Parameter(torch.randn(1, 16, dim) * 0.02)
        self.block = nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.block(self.patches(images).flatten(2).transpose(1, 2) + self.places).mean(1)


class Convolution(nn.Module):
    """Along time, with BatchNorm; features, and outputs of a head of its own."""

    def __init__(self, shape: tuple[int, ...], channels: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(shape[0], channels, 5, padding=2), nn.BatchNorm1d(channels), nn.ReLU())
        self.head = nn.Linear(channels, 5)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(series).mean(2)
        return features, self.head(features)


def by_peer(shape: tuple[int, ...], peer: int) -> nn.Module:
    """Two architectures with as many features."""
    return TinyViT(shape) if peer % 2 else nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))


def huber(student: Tensor, target: Tensor, delta: float = 0.5) -> Tensor:
    return F.huber_loss(student, target, delta=delta)


def sines() -> Dataset:
    """Two channels of noisy sines of three frequencies."""
    draw, labels = np.random.default_rng(0), np.arange(120) % 3
    time = np.linspace(0, 6, 24) * (1 + labels[:, None])
    phase = draw.uniform(0, 6, (120, 1))
    series = np.stack([np.sin(time + phase), np.cos(time + phase)], 1) + draw.normal(0, 0.1, (120, 2, 24))
    return Dataset.from_arrays(series, labels, name="sines")


def kleinberg() -> nx.DiGraph:
    grid = nx.navigable_small_world_graph(2, p=1, q=1, seed=1)
    return nx.convert_node_labels_to_integers(grid)


IMAGES: dict[str, Any] = {"network": TinyViT, "loss": functools.partial(huber, delta=0.25), "topology": kleinberg()}
SERIES: dict[str, Any] = {"network": Convolution, "loss": huber, "data": sines(), "topology": kleinberg()}


def config(*overrides: str) -> Any:
    table = {
        "run": {"rounds": ROUNDS, "seed": 3},
        "data": {"kind": "digits", "batch_size": 16, "train_limit": 96, "test_limit": 48},
        "peers": {"count": 4, "head": {"kind": "linear", "dim": 6}},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 4, "probe_batch": 24, "probes": ["knn"]},
        "hosting": {"pool": "in-process", "execution": "loop"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2, "seconds": 0},
    }
    return load_config(table, overrides)


RAY = ("hosting.pool=ray", "hosting.peers_per_host=2")
SMALL = ("data.train_limit=0", "data.test_limit=0")


def run(output: Path, objects: dict[str, Any], *overrides: str, observers: Any = ()) -> Result:
    limits = SMALL if "data" in objects else ()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "peers.head")
        return simulate(config(*limits, *overrides), output, observers, **objects)


def assert_same(result: Result, other: Result) -> None:
    assert result.status == other.status == "finished", result.message
    for name in METRICS:
        assert result.summary[name] == other.summary[name], name


# ---- every pool ----


@pytest.mark.parametrize("objects", [IMAGES, SERIES, IMAGES | {"network": by_peer}], ids=["images", "series", "two"])
def test_simulate__has_the_same_digests_in_this_process_and_in_two_others(
    objects: dict[str, Any], cluster: Any, tmp_path: Path
) -> None:
    here, there = run(tmp_path / "here", objects), run(tmp_path / "there", objects, *RAY)
    assert_same(here, there)
    assert here.summary["relative_weight_change"] > 0
