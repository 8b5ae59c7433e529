"""What the shipped configs show on real images: minutes each, so only with `pytest -m slow`."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import Result, load_config, simulate

CONFIGS = Path(__file__).parent.parent / "configs"
FASHION_MNIST = Path(os.environ.get("PEER_CONSENSUS_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
CIFAR10 = os.environ.get("PEER_CONSENSUS_CIFAR10", "")
HERE = ("hosting.pool=in-process", "tracking.enabled=false")


def curve(result: Result, name: str) -> Any:
    rows = pq.read_table(result.folder / "metrics" / "rounds.parquet").to_pylist()
    return np.array([row[name] for row in rows if row[name] is not None])


@pytest.mark.slow
@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="no Fashion-MNIST: install dataset-fashion-mnist")
def test_fashion_mnist__a_ring_agrees_as_all_modes_of_its_mixing_matrix_predict(tmp_path: Path):
    """The complete graph's curve says how far a round carries; the ring's eigenvalues then predict the ring's curve.

    A step closes a part c of the gap: each mode shrinks by 1 - c (1 - lambda_k), on the complete graph by 1 - c.
    """
    runs = {
        kind: simulate(
            load_config(
                CONFIGS / "fashion-mnist.toml", [f"topology.kind={kind}", f'data.root="{FASHION_MNIST}"', *HERE]
            ),
            tmp_path / kind,
        )
        for kind in ("ring", "complete")
    }
    ring, complete = (curve(runs[kind], "relative_distance") for kind in ("ring", "complete"))
    gaps = 2 / 3 * (1 - np.cos(2 * np.pi * np.arange(1, 8) / 8))
    carried = -np.log(complete / complete[0]) / 2
    predicted = ring[0] * np.exp(-2 * np.outer(carried, gaps)).mean(axis=1)
    assert (ring[2:] > complete[2:]).all()
    assert ring[-1] == pytest.approx(predicted[-1], rel=0.15)
    slowest_alone = ring[0] * np.exp(-2 * carried[-1] * gaps.min())
    assert ring[-1] < slowest_alone  # so the spectral gap alone is too pessimistic here


@pytest.mark.slow
@pytest.mark.skipif(
    not (CIFAR10 and Path(CIFAR10).is_dir()), reason="no CIFAR-10 in Parquet: set PEER_CONSENSUS_CIFAR10 to its folder"
)
@pytest.mark.parametrize("kind", ["random-pair", "ring"])
def test_paper__the_sgd_probes_gain_at_1e_8_is_an_artefact(tmp_path: Path, kind: str):
    overrides = [f'topology={{kind = "{kind}"}}', f'data.path="{CIFAR10}"', *HERE]
    summary = simulate(load_config(CONFIGS / "paper" / "cifar10-small.toml", overrides), tmp_path).summary
    sgd = summary["probes"]["sgd"]
    assert sgd["trained"] > 2 * sgd["untrained"]
    assert abs(sgd["gain"]) < 0.1
    assert summary["flags"] == ["artefact"]
    for name in ("knn", "linear"):
        assert summary["probes"][name]["verdict"] == "not distinguishable"
        assert abs(summary["probes"][name]["gain"]) < 0.01
    assert summary["relative_weight_change"] < 1e-5
