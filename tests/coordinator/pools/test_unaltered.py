"""What was changed in this process alone is not silently left out of what Ray's workers run."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import coordinator.pools.ray_pool
import coordinator.run.simulate  # noqa: F401
import peers.exchange.objectives
import peers.hosting.host
from coordinator import ConfigError, RunConfig, ablate, load_ablation, load_config, simulate
from coordinator.planning.plan import peer_settings, prepare
from coordinator.pools.opening import open_pool
from coordinator.pools.unaltered import altered
from peers.learning.peer import Peer
from peers.learning.settings import OtherNetwork
from peers.networks import models
from peers.networks.variants import MLP, LinearHead


def config(pool: str) -> RunConfig:
    table = {
        "run": {"rounds": 2},
        "data": {"kind": "synthetic", "num_train": 40, "num_test": 20, "batch_size": 10},
        "peers": {"count": 2, "model": {"kind": "mlp", "hidden": [6]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn"], "probe_batch": 10, "knn": {"k": 3}},
        "hosting": {"pool": pool},
        "tracking": {"enabled": False},
    }
    return load_config(table)


def wider(self: MLP, shape: models.Shape, norm: models.Norm) -> nn.Module:
    return models.mlp(shape, (11,), norm)


@pytest.mark.figures
def test_altered__nothing_is_in_a_process_that_changed_nothing():
    assert altered("peers") == altered("coordinator") == altered("topologies") == []


def test_altered__functions_classes_and_methods(monkeypatch: pytest.MonkeyPatch):
    class Other(Peer):
        pass

    monkeypatch.setattr(MLP, "build", wider)
    monkeypatch.setattr(peers.hosting.host, "Peer", Other)  # a name that is imported there, not defined
    monkeypatch.setattr(peers.exchange.objectives, "mse", lambda student, target: (student - target).abs().mean())
    monkeypatch.setattr(Peer, "index", 3, raising=False)  # a value, as tests set them
    assert altered("peers") == ["peers.exchange.objectives.mse", "peers.networks.variants.MLP.build"]
    monkeypatch.setattr("peers.learning.peer.Peer", Other)
    assert altered("peers")[1] == "peers.learning.peer.Peer"


def test_simulate__a_class_changed_in_this_process_is_refused_under_ray(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In this process it is what the peers are made of."""
    monkeypatch.setattr(MLP, "build", wider)
    with pytest.raises(
        ConfigError, match=r"hosting.pool: 'peers.networks.variants.MLP.build' was replaced in this process, but"
    ):
        simulate(config("ray"), tmp_path / "ray")
    assert not (tmp_path / "ray").exists()
    result = simulate(config("in-process"), tmp_path / "here")
    assert result.summary["peers"][0]["feature_dim"] == 11


def test_simulate__a_class_changed_between_two_runs_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each run describes and trains the class as it is when the run starts."""
    dims = []
    for name in ("before", "changed", "restored"):
        with monkeypatch.context() as patched:
            if name == "changed":
                patched.setattr(MLP, "build", wider)
            (peer, *_) = simulate(config("in-process"), tmp_path / name).summary["peers"]
            dims.append(peer["feature_dim"])
    assert dims == [6, 11, 6]


def test_simulate__a_head_changed_between_two_runs_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dims = []
    for name in ("before", "changed", "restored"):
        with monkeypatch.context() as patched:
            if name == "changed":
                patched.setattr(LinearHead, "build", lambda self, width: nn.Linear(width, 12))
            (peer, *_) = simulate(config("in-process"), tmp_path / name).summary["peers"]
            dims.append(peer["output_dim"])
    assert dims == [4, 12, 4]


def test_pool__a_process_that_builds_another_network_is_refused(cluster: Any):
    """As where a node has another version of the package."""
    asked = config("ray")
    plan = prepare(asked)
    settings = peer_settings(asked, plan.dataset)
    other = tuple(line.replace("64x6", "64x7").replace("6x64", "7x64") for line in settings[1].layout)
    assert other != settings[1].layout
    with (
        pytest.raises(
            ConfigError, match=r"peers.model: the process of peer 1 builds another network.*'encoder.1.weight"
        ),
        open_pool([settings[0], replace(settings[1], layout=other)], plan.dataset, asked.hosting),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [each.replace("float32", "float64") for each in lines], "float64"),
        (lambda lines: [each.replace("ReLU", "Tanh") for each in lines], "'encoder.3: ReLU', here 'encoder.3: Tanh'"),
        (lambda lines: lines[:-1], "modules and tensors"),
    ],
    ids=["dtype", "class", "count"],
)
def test_peer__compares_what_it_builds(change: Any, told: str):
    plan = prepare(config("in-process"))
    settings = peer_settings(plan.config, plan.dataset)[0]
    changed = replace(settings, layout=tuple(change(list(settings.layout))))
    with pytest.raises(OtherNetwork) as raised:
        Peer(changed, plan.dataset)
    assert told in str(raised.value)


def test_altered__one_of_the_module_in_place_of_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers.exchange.objectives, "mse", peers.exchange.objectives.cosine)
    assert altered("peers") == ["peers.exchange.objectives.mse"]


def test_ablate__a_class_changed_in_this_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its cells run in Ray's workers, whatever their pool."""
    monkeypatch.setattr(MLP, "build", wider)
    table = config("in-process").model_dump(mode="json", exclude_none=True, exclude={"checkpoint"})
    ablation = load_ablation({**table, "name": "a", "seeds": [0], "grid": {"run.rounds": [1, 2]}})
    with pytest.raises(ConfigError, match=r"'peers.networks.variants.MLP.build' was replaced in this process"):
        ablate(ablation, tmp_path)


def test_altered__of_a_file_that_was_changed_and_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "some_package.py").write_text("def f(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("some_package")
    assert altered("some_package") == []
    (tmp_path / "some_package.py").write_text("from pathlib import PurePath as f\ndef g(): ...\n")
    importlib.reload(module)
    assert altered("some_package") == []
    monkeypatch.setattr(module, "g", lambda: None)
    assert altered("some_package") == ["some_package.g"]
    monkeypatch.delitem(sys.modules, "some_package")
