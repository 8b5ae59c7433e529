"""Batches on the peers' device, and bfloat16, on the CPU; on a GPU the same with `pytest -m gpu`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.planning.plan import peer_settings, prepare
from coordinator.pools.base import ask
from coordinator.pools.in_process import InProcessPool
from coordinator.scheduling.probing import probe
from coordinator.scheduling.synchronous import Cadence, RoundLoop, RoundRecord
from peers.base.precision import autocast, backward
from peers.exchange.assignment import Assignment, Links
from peers.exchange.messages import Message
from peers.probing.measuring import ProbeSubject

ROUNDS = 6
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def config_of(**sections: Any) -> RunConfig:
    table: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 2},
        "data": {
            "kind": "synthetic",
            "shape": [3, 8, 8],
            "num_train": 96,
            "num_test": 40,
            "batch_size": 16,
            "flip": True,
        },
        "peers": {"count": 4, "model": {"kind": "small-cnn", "channels": [8, 8]}, "head": {"kind": "linear", "dim": 6}},
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 24, "probes": ["knn", "sgd"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    return load_config({**table, **{name: {**table.get(name, {}), **values} for name, values in sections.items()}})


def run(**hosting: Any) -> tuple[list[RoundRecord], list[Any], InProcessPool]:
    config = config_of(hosting=hosting)
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    return list(RoundLoop(pool, plan.schedule, Cadence(ROUNDS, 3))), ask(pool, lambda host: host.digest()), pool


def losses(records: list[RoundRecord]) -> list[float]:
    return [stats.loss for record in records for stats in record.stats.values() if stats.loss is not None]


@pytest.mark.parametrize("flip", [False, True])
def test_batches__of_a_resident_data_set_equal_those_from_host_memory_bit_for_bit(flip: bool):
    """The way of a GPU, on the CPU, where the numbers are the same."""
    config = config_of(data={"flip": flip})
    dataset = prepare(config).dataset
    settings = peer_settings(config, dataset)[0]
    here, there = (settings.batches(dataset) for _ in range(2))
    resident = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
    there._examples._resident = resident
    for round_index in (0, 5, 17):  # 6 rounds an epoch
        assert all(map(torch.equal, there(round_index), here(round_index)))
    assert torch.equal(resident[0], torch.tensor(dataset.train_images))


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_bfloat16__forwards_only_and_close_to_float32(execution: str):
    """Losses agree to bfloat16's 8 bits in the first round, but are not the same; weights and messages stay float32."""
    exact, _, _ = run(execution=execution)
    rounded, _, pool = run(execution=execution, precision="bfloat16")
    first, other = losses(exact[:1]), losses(rounded[:1])
    assert other == pytest.approx(first, rel=0.1) and other != first
    host = pool._host
    assert {parameter.dtype for parameter in host.peers[0].network.parameters()} == {torch.float32}
    (message,), _ = host.publish({0: Assignment(ROUNDS, ROUNDS, Links(), teaches=True, remote=True)})
    assert isinstance(message, Message) and message.payload is not None and message.payload[0].dtype == np.float32
    assert all(stats.failure == "" for record in rounded for stats in record.stats.values())


def test_bfloat16__is_the_default_to_the_bit_when_it_is_off():
    assert run()[1] == run(precision="float32", deterministic=False, data_on_device=False)[1]
    assert run()[1] != run(precision="bfloat16")[1]


@pytest.mark.parametrize(
    ("hosting", "line"),
    [
        ({"precision": "tf32"}, "hosting.precision 'tf32' is a GPU's, but the peers run on the CPU: set it to float32"),
        pytest.param(
            {"device": "cuda"},
            "hosting.device is 'cuda' but there is no CUDA device here: set it to auto",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here"),
        ),
        (
            {"device": "cpu", "gpus_per_peer": 0.5},
            "hosting.gpus_per_peer is 0.5 but hosting.device is 'cpu': leave one",
        ),
        ({"device": "cuda", "gpus_per_peer": 0}, "hosting.device is 'cuda' but hosting.gpus_per_peer is 0: leave one"),
    ],
)
def test_hosting__what_the_device_cannot_do_is_refused_in_one_line(hosting: dict[str, Any], line: str):
    with pytest.raises(ConfigError) as refused:
        run(**hosting)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_tf32__only_in_the_passes_of_a_round() -> None:
    """The flags are the process's: what comes between two passes, measures and probes, is in float32."""

    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    gpu, before = torch.device("cuda"), flags()
    try:
        for context in (autocast, backward):
            with context(gpu, "tf32"):
                assert flags() == (True, True)
            assert flags() == (False, False)
            with context(gpu, "float32"):
                assert flags() == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("execution", ["loop", "vectorised"])
@pytest.mark.parametrize("options", [{}, {"data_on_device": False}, {"precision": "bfloat16"}, {"precision": "tf32"}])
def test_gpu__equal_runs(execution: str, options: dict[str, Any]):
    hosting = {"device": "cuda", "execution": execution, **options}
    assert run(**hosting)[1] == run(**hosting)[1]


@pytest.mark.gpu
@GPU
def test_gpu__close_to_the_cpu_and_the_vectorised_to_the_loop():
    here, gpu = losses(run()[0]), losses(run(device="cuda")[0])
    assert gpu[:4] == pytest.approx(here[:4], rel=1e-4)
    assert losses(run(device="cuda", execution="vectorised")[0]) == pytest.approx(gpu, rel=1e-3)


@pytest.mark.gpu
@GPU
def test_gpu__probes_and_measures_repeat_themselves():
    def everything() -> list[Any]:
        pool = run(device="cuda")[2]
        outcomes = probe(pool, ProbeSubject.AS_IS).get()
        return [{name: each.tolist() for name, each in outcome.correct.items()} for outcome in outcomes]

    assert everything() == everything()


def test_settings__carry_the_hosting_options_to_the_peers():
    config = config_of(hosting={"precision": "bfloat16", "deterministic": False, "data_on_device": False})
    settings = peer_settings(config, prepare(config).dataset)[0]
    assert settings == replace(settings, precision="bfloat16", deterministic=False, data_on_device=False)
