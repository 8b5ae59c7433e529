"""Rounds on a pretended GPU: a tensor that is made on the CPU amid them fails here, as it would on a GPU."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from coordinator.experiment.config import RunConfig, load_config
from coordinator.planning.plan import peer_settings, prepare
from peers.base.section import variants
from peers.exchange import losses
from peers.exchange.assignment import Assignment, Links, Study
from peers.exchange.losses import LossConfig
from peers.exchange.targets import TargetConfig
from peers.hosting.host import PeerHost
from peers.learning.settings import Execution
from peers.pooling.config import AggregationConfig
from peers.probing.measuring import ProbeSubject
from tests.peers.pretended import OnGPU, pretended_gpu

TABLE: dict[str, Any] = {
    "run": {"rounds": 2, "seed": 2},
    "data": {"kind": "synthetic", "shape": [1, 4, 4], "num_train": 24, "num_test": 8, "batch_size": 8, "flip": True},
    "peers": {"count": 3, "model": {"kind": "small-cnn", "channels": [2]}, "head": {"kind": "linear", "dim": 4}},
    "topology": {"kind": "complete"},
    "evaluation": {"probe_batch": 8, "probes": ["knn"]},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap, which counts for nothing here


def config_of(**sections: Any) -> RunConfig:
    return load_config({**TABLE, **{name: {**TABLE.get(name, {}), **values} for name, values in sections.items()}})


def kinds_of(union: Any) -> list[str]:
    """All but the user's own."""
    found = [variant.model_fields["kind"].default for variant in variants(union)]
    return [kind for kind in found if kind not in ("import", "given")]


class Seen(NamedTuple):
    """The losses of two rounds, and in a loop a peer's weights after them and which test images its probe knows."""

    losses: list[float | None]
    weights: np.ndarray | None = None
    correct: np.ndarray | None = None


def rounds(config: RunConfig, execution: Execution, device: str, late: bool = False, probed: bool = False) -> Seen:
    """Two rounds of peers that all teach each other and themselves. late: links follow. probed: measured, too."""
    dataset = prepare(config).dataset
    host, peers = PeerHost(), range(config.peers.count)
    everybody = Links(tuple(peers), (0.5, *[0.5 / (len(peers) - 1)] * (len(peers) - 1)))
    host.open([replace(each, device=device) for each in peer_settings(config, dataset)], dataset, 1, execution)
    assert all(isinstance(each, OnGPU) == (device == "cuda") for each in host.peers[1].network.state_dict().values())

    def parts(at: int) -> dict[int, Assignment]:
        return {peer: Assignment(at, at, Links() if late else everybody, True, links_follow=late) for peer in peers}

    host.publish(parts(0))
    found: list[float | None] = []
    for at in range(2):
        study = {peer: Study(at, everybody) for peer in peers}
        _, stats = host.step(study, parts(at + 1)) if late else host.advance(at, parts(at + 1))
        assert not any(each.failure for each in stats.values())
        found += [each.loss for each in stats.values()]
    if execution == "vectorised":  # the loss of its second round depends on the step of the first
        return Seen(found)
    weights = np.concatenate([each.ravel() for each in host.states([1])[1].values()])
    if not probed:
        return Seen(found, weights)
    host.observe(True, keep=True)
    return Seen(found, weights, host.probe(ProbeSubject.CALIBRATED, {0: [0]})[0].correct["knn"])


def check(config: RunConfig, execution: Execution = "loop", late: bool = False, probed: bool = False) -> None:
    """The pretended GPU refuses nothing, and computes what the CPU computes."""
    here = rounds(config, execution, "cpu", late, probed)
    with pretended_gpu():
        there = rounds(config, execution, "cuda", late, probed)
    assert None not in here.losses
    assert there.losses == pytest.approx(here.losses, rel=1e-3, abs=1e-5)
    if here.weights is not None and there.weights is not None:
        np.testing.assert_allclose(there.weights, here.weights, rtol=1e-2, atol=1e-3)
    assert probed == (there.correct is not None)
    if here.correct is not None and there.correct is not None:
        np.testing.assert_array_equal(there.correct, here.correct)


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
@pytest.mark.parametrize("kind", kinds_of(LossConfig))
def test_gpu__rounds_with_each_loss(kind: str, execution: Execution) -> None:
    check(
        config_of(
            exchange={"loss": {"kind": kind}, **({"target": {"kind": "none"}} if kind in losses.VECTOR_LOSSES else {})}
        ),
        execution,
    )


@pytest.mark.parametrize("kind", kinds_of(TargetConfig))
def test_gpu__rounds_with_each_target(kind: str) -> None:
    check(config_of(exchange={"target": {"kind": kind}}))


@pytest.mark.parametrize("kind", kinds_of(AggregationConfig))
def test_gpu__rounds_with_each_rule_of_pooling(kind: str) -> None:
    check(config_of(peers={"count": 6}, exchange={"aggregation": {"kind": kind}}))  # the most that any rule needs


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_gpu__rounds_with_each_wire(dtype: str) -> None:
    check(config_of(exchange={"dtype": dtype}))


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_gpu__steps_whose_links_follow(execution: Execution) -> None:
    check(config_of(), execution, late=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_gpu__steps_of_each_optimiser_with_a_teacher_and_what_is_measured(optimizer: str) -> None:
    settings = {"kind": optimizer, "clip_norm": 0.1, "weight_decay": 0.1}
    check(config_of(peers={"optimizer": settings}, exchange={"teacher_ema": 0.9}), probed=True)


def test_pretended_gpu__refuses_a_tensor_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that the tests above are for, amid a loss."""
    right = losses.MSE.__call__

    def on_the_cpu(self: losses.MSE, student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return right(self, student + torch.arange(float(student.shape[1])), target)

    monkeypatch.setattr(losses.MSE, "__call__", on_the_cpu)
    config = config_of(exchange={"loss": {"kind": "mse"}, "target": {"kind": "none"}})
    rounds(config, "loop", "cpu")
    with pretended_gpu(), pytest.raises(RuntimeError, match="on the CPU, others on the GPU"):
        rounds(config, "loop", "cuda")
