"""What the shipped configs show on real images, minutes each (`pytest -m slow`), and the script beside them."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from pydantic import TypeAdapter

from coordinator import Result, load_config, simulate
from topologies.config import TopologyConfig
from topologies.schedule import Schedule

CONFIGS = Path(__file__).parent.parent / "configs"
FASHION_MNIST = Path(os.environ.get("PEER_CONSENSUS_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
CIFAR10 = os.environ.get("PEER_CONSENSUS_CIFAR10", "")
OF_FASHION = pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="no Fashion-MNIST: install dataset-fashion-mnist")
HERE = ("hosting.pool=in-process", "tracking.enabled=false")


def script(name: str) -> Any:
    """A script beside the findings as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, CONFIGS / "findings" / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def theory() -> Any:
    return script("theory.py")


def schedule_of(**topology: Any) -> Schedule:
    return TypeAdapter(TopologyConfig).validate_python(topology).build(8, np.random.SeedSequence(0))


def test_theory__closed_forms_of_ring_and_complete_graph():
    script, carried = theory(), np.array([0.1, 0.3, 0.2])
    complete = script.predicted(schedule_of(kind="complete"), carried)
    np.testing.assert_allclose(complete, np.cumprod([1.0, *(1 - carried * 8 / 7) ** 2]))
    np.testing.assert_allclose(script.carried_by(0.9 * complete, np.arange(4), 8), carried)
    modes = 1 - np.cos(2 * np.pi * np.arange(1, 8) / 8)
    ring = [np.mean(np.prod(1 - np.outer(carried[:t], modes), axis=0) ** 2) for t in range(4)]
    np.testing.assert_allclose(script.predicted(schedule_of(kind="ring"), carried), ring)
    assert script.slowest(schedule_of(kind="ring"), 10) == pytest.approx(modes.min())
    assert script.slowest(schedule_of(kind="complete"), 10) == pytest.approx(8 / 7)


def test_theory__where_a_falling_curve_reaches_a_level():
    script, rounds = theory(), np.array([0, 10, 20])
    assert script.first_at(np.array([1.0, 0.5, 0.3]), rounds, 0.4) == pytest.approx(15)
    assert script.first_at(np.array([1.0, 0.5, 0.3]), rounds, 0.1) == np.inf


def test_head_start__the_first_learns_from_itself_and_then_teaches():
    schedule = script("links/graphs.py").head_start(3, rounds=2)
    learning = [
        {student: [edge.teacher for edge in edges] for student, edges in enumerate(schedule(t).incoming)}
        for t in range(4)
    ]
    assert learning == [{0: [0], 1: [], 2: []}] * 2 + [{0: [], 1: [0], 2: [0]}] * 2
    np.testing.assert_array_equal(schedule(0).mixing.toarray(), np.eye(3))
    np.testing.assert_array_equal(schedule(2).mixing.toarray(), [[1, 0, 0]] * 3)


def test_subliminal__the_loss_is_the_divergence_of_the_outputs_that_mean_nothing():
    student, target = torch.randn(2, 5, 13, generator=torch.Generator().manual_seed(0))
    p, q = (values[:, 10:].double().softmax(dim=1).numpy() for values in (target, student))
    expected = scipy.stats.entropy(p, q, axis=1).mean()
    assert script("subliminal.py").other_outputs(student, target).item() == pytest.approx(expected, rel=1e-5)


def test_subliminal__what_students_share_with_the_teacher():
    module = script("subliminal.py")
    teacher = module.drawn(0, 3)
    start, last, nothing = module.students_of(teacher, 1)
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(start(images)[1], teacher(images)[1])
    assert torch.equal(last.last, teacher.last) and not torch.allclose(last(images)[0], teacher(images)[0])
    assert not torch.allclose(nothing.last, teacher.last)
    assert {name for name, _ in teacher.named_parameters()} == {
        "body.1.weight",
        "body.1.bias",
        "body.3.weight",
        "body.3.bias",
    }  # no training moves the last layer


def curve(result: Result, name: str) -> Any:
    rows = pq.read_table(result.folder / "metrics" / "rounds.parquet").to_pylist()
    return np.array([row[name] for row in rows if row[name] is not None])


@pytest.mark.slow
@OF_FASHION
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
    summary = simulate(load_config(CONFIGS / "paper" / "main-small.toml", overrides), tmp_path).summary
    sgd = summary["probes"]["sgd"]
    assert sgd["trained"] > 2 * sgd["untrained"]
    assert abs(sgd["gain"]) < 0.1
    assert summary["flags"] == ["artefact"]
    for name in ("knn", "linear"):
        assert summary["probes"][name]["verdict"] == "not distinguishable"
        assert abs(summary["probes"][name]["gain"]) < 0.01
    assert summary["relative_weight_change"] < 1e-5


def of_classes_held(name: str, tmp_path: Path, *settings: str) -> dict[str, float]:
    """Of a preset, shortened: the share of images of its own classes that a peer gets right, in each condition."""
    settings = (*HERE, f'data.root="{FASHION_MNIST}"', "evaluation.probes=[]", "evaluation.probe_every=0", *settings)
    config = load_config(CONFIGS / f"{name}.toml", ["run.rounds=100", "evaluation.every=100", *settings])
    shares: dict[str, float] = simulate(config, tmp_path).summary["class_accuracy"]["top1"]["held"]
    return shares


@pytest.mark.slow
@OF_FASHION
def test_fedmd_small__is_between_private_data_and_the_data_of_all(tmp_path: Path):
    found = of_classes_held("fedmd-small", tmp_path)
    assert found["trained"] - found["private_only"] > 0.06  # 9 points after 250 rounds, three seeds; here 8
    assert 0.03 < found["pooled"] - found["trained"] < 0.1


@pytest.mark.slow
@OF_FASHION
def test_ds_fl_small__the_plain_mean_helps_and_sharpening_takes_that_away(tmp_path: Path):
    plain = of_classes_held("ds-fl-small", tmp_path, 'exchange.target={kind = "none"}')
    sharpened = of_classes_held("ds-fl-small", tmp_path, "evaluation.controls=[]")
    assert plain["trained"] - plain["private_only"] > 0.08  # 16 points after 150 rounds; here 12
    assert plain["trained"] - sharpened["trained"] > 0.05  # 15 points; here 8


@pytest.mark.slow
@OF_FASHION
def test_idkd_small__is_well_above_private_data(tmp_path: Path):
    found = of_classes_held("idkd-small", tmp_path)
    assert found["trained"] - found["private_only"] > 0.09  # 16 points after 150 rounds; here 13


@pytest.mark.slow
@OF_FASHION
def test_codistillation__is_above_private_data(tmp_path: Path):
    found = of_classes_held("codistillation", tmp_path, "run.rounds=150", "evaluation.every=150")
    assert found["trained"] > found["private_only"]  # by 1 point
    assert found["trained"] > found["pooled"] - 0.03
