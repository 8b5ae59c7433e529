"""The same numbers in this process and in Ray actors, whatever the number of peers a host."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from coordinator import simulate
from coordinator.experiment.config import ConfigError, HostingConfig, RunConfig, load_config
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.base import Pool, ask
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.opening import open_pool
from coordinator.pools.ray_pool import RayPool
from coordinator.scheduling.probing import probe
from coordinator.scheduling.synchronous import Cadence, RoundLoop
from peers.exchange.assignment import StaleRound
from peers.hosting.host import PeerHost
from peers.probing.measuring import ProbeSubject

TOPOLOGIES = ({"kind": "ring"}, {"kind": "random-pair", "teachers": 2}, {"kind": "random", "teachers": 2})
NUM_PEERS, ROUNDS = 6, 20


def config_of(pool: str, **sections: Any) -> RunConfig:
    table: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 1},
        "data": {"kind": "synthetic", "num_train": 128, "num_test": 64, "batch_size": 32, "flip": True},
        "peers": {
            "count": NUM_PEERS,
            "model": {"kind": "small-cnn", "channels": [8, 8]},
            "head": {"kind": "linear", "dim": 16},
            "optimizer": {"kind": "adamw", "lr": 3e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 32, "every": 5},
        "hosting": {"pool": pool},
        "tracking": {"enabled": False},
    }
    return load_config({**table, **{name: {**table.get(name, {}), **values} for name, values in sections.items()}})


def everything(pool: Pool, config: RunConfig) -> dict[str, Any]:
    """Every number of a run but the timings."""
    pool.restart(peer_settings(config, prepare(config).dataset))
    records = list(RoundLoop(pool, build_schedule(config), Cadence(ROUNDS, 3, observe_every=5)))
    seen = [record.observations for record in records if record.observations]
    probes = probe(pool, ProbeSubject.AS_IS).get()
    return {
        "digests": ask(pool, lambda host: host.digest()),
        "losses": [{i: (s.loss, s.gradient_norm, s.sent_bytes) for i, s in r.stats.items()} for r in records],
        "bytes": [record.num_bytes for record in records],
        "outputs": np.array([[each.outputs for each in row.peers.values()] for row in seen]),
        "grams": np.array([[each.gram for each in row.peers.values()] for row in seen]),
        "weights": np.array([[(each.feature_std, each.weight_change) for each in row.peers.values()] for row in seen]),
        "probes": np.array([list(each.correct.values()) for each in probes]),
    }


def assert_identical(left: dict[str, Any], right: dict[str, Any]) -> None:
    for name, values in left.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(values, right[name], err_msg=name)
        else:
            assert values == right[name], name


def test_pools__bit_identical_whatever_the_hosting(cluster: None):
    """6 peers, 20 rounds, BatchNorm, three topologies of which two change every round."""
    configs = [
        config_of("ray").model_copy(
            update={"topology": load_config({"data": {"kind": "digits"}, "topology": t}).topology}
        )
        for t in TOPOLOGIES
    ]
    plan = prepare(configs[0])
    settings = peer_settings(configs[0], plan.dataset)
    here = InProcessPool(settings, plan.dataset, configs[0].hosting)
    expected = [everything(here, config) for config in configs]
    here.close()
    for peers_per_host in (1, 2, 4):
        hosting = configs[0].hosting.model_copy(update={"peers_per_host": peers_per_host})
        pool = RayPool(len(settings), hosting, lambda: (settings, plan.dataset))
        for config, numbers in zip(configs, expected, strict=True):
            assert_identical(everything(pool, config), numbers)
        pool.close()
    assert len({numbers["digests"][0] for numbers in expected}) == len(TOPOLOGIES)  # and topology does matter


@pytest.mark.parametrize("topology", [{"kind": "complete"}, {"kind": "random", "teachers": 2}], ids=lambda t: t["kind"])
def test_pools__vectorised_hosts_and_shared_sums_equal_the_loop_to_float_tolerance(
    cluster: None, topology: dict[str, Any]
):
    """Messages and sums also cross between hosts, of which the last has fewer peers."""
    layout = {"hosting": {"pool": "ray", "layout": "contiguous"}}  # as vectorised peers have it: less is rounded apart
    base = {"run": {"rounds": ROUNDS, "seed": 1}, "exchange": {"target": {"kind": "standardise"}}, **layout}
    delivery = "shared-sum" if topology["kind"] == "complete" else "per-edge"
    plain = config_of("ray", **base).model_copy(
        update={"topology": load_config({"data": {"kind": "digits"}, "topology": topology}).topology}
    )
    plan = prepare(plain)
    settings = peer_settings(plain, plan.dataset)
    here = InProcessPool(settings, plan.dataset, plain.hosting)
    expected = [record.stats for record in RoundLoop(here, plan.schedule, Cadence(ROUNDS, 3))]
    here.close()
    for execution, peers_per_host in (("loop", 1), ("vectorised", 4), ("vectorised", 6)):
        hosting = plain.hosting.model_copy(update={"execution": execution, "peers_per_host": peers_per_host})
        pool = RayPool(len(settings), hosting, lambda: (settings, plan.dataset))
        records = list(RoundLoop(pool, plan.schedule, Cadence(ROUNDS, 3), delivery == "shared-sum"))
        pool.close()
        for stats, record in zip(expected, records, strict=True):
            for peer, each in stats.items():
                assert record.stats[peer].loss == pytest.approx(each.loss, rel=1e-5), (execution, peers_per_host, peer)
                assert record.stats[peer].sent_bytes == each.sent_bytes


@pytest.mark.slow
def test_auto__notes_its_choice_and_a_repeated_run_takes_the_same_path(cluster: Any, tmp_path: Path):
    """The choice depends on the machine's mood; what follows from it does not."""
    digests = {}
    for execution in ("loop", "vectorised"):
        config = config_of(
            "ray", hosting={"pool": "ray", "peers_per_host": 3, "execution": execution}, run={"rounds": 4}
        )
        digests[execution] = simulate(config, tmp_path / execution).summary["digest"]
    assert digests["loop"] != digests["vectorised"]
    for pool, peers_per_host in (("ray", 3), ("in-process", 1)):
        hosting = {"pool": pool, "peers_per_host": peers_per_host, "execution": "auto"}
        result = simulate(config_of(pool, hosting=hosting, run={"rounds": 4}), tmp_path / pool)
        chosen = load_config(result.folder / "config.toml").hosting.execution
        assert result.summary["config"]["hosting"]["execution"] == chosen
        again = simulate(load_config(result.folder / "config.toml"), tmp_path / "again")
        assert again.summary["digest"] == result.summary["digest"]
        if pool == "ray":
            assert result.summary["digest"] == digests[chosen]


@pytest.mark.parametrize("chosen", ["vectorised", "loop"])
def test_auto__takes_the_faster(monkeypatch: pytest.MonkeyPatch, chosen: str):
    monkeypatch.setattr(PeerHost, "trial", lambda *given: next(way for way in given[-1] if way.execution == chosen))
    config = config_of("in-process", hosting={"pool": "in-process", "execution": "auto"})
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    assert pool.way.execution == chosen and bool(pool._host.stacks) == (chosen == "vectorised")
    pool.close()


def test_simulate__summaries_are_identical_between_pools_and_repetitions(cluster: None, tmp_path: Path):
    summaries = []
    for number, pool in enumerate(("in-process", "ray", "ray")):
        config = config_of(pool, peers={"count": 2}, hosting={"pool": pool, "peers_per_host": 2}, run={"rounds": 8})
        summaries.append(simulate(config, tmp_path / str(number)).summary)
    for name in ("rounds", "bytes_exchanged", "consensus", "probes", "flags", "relative_weight_change", "digest"):
        assert summaries[0][name] == summaries[1][name] == summaries[2][name], name
    assert summaries[0]["probes"]["knn"]["trained"] > 0


def test_ray_pool__an_error_in_a_peer_is_the_same_error(cluster: None):
    config = config_of("ray", peers={"count": 2}, hosting={"pool": "ray", "peers_per_host": 2})
    plan = prepare(config)
    settings = peer_settings(config, plan.dataset)
    with open_pool(settings, plan.dataset, config.hosting) as pool, pytest.raises(StaleRound, match="peer 1 has not"):
        pool.get(pool.hosts[0].advance(3, {1: None})[1:])


def test_ray_pool__more_gpus_than_the_cluster_has(cluster: None, tmp_path: Path):
    config = config_of("ray", hosting={"pool": "ray", "gpus_per_peer": 0.5})
    with pytest.raises(
        ConfigError, match=r"hosting.gpus_per_peer asks for 0.5 x 6 peers = 3 GPUs but the cluster has 0"
    ):
        simulate(config, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_ray_pool__leaves_a_cluster_that_it_did_not_start(cluster: None):
    config = config_of("ray", peers={"count": 2}, hosting={"pool": "ray", "peers_per_host": 2})
    plan = prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting):
        pass
    assert ray.is_initialized()


def test_settings__do_not_bring_the_coordinator_into_an_actor():
    """What an actor unpickles must not import matplotlib, MLflow or the command line with it."""
    config = config_of("in-process")
    settings = pickle.dumps(peer_settings(config, prepare(config).dataset))
    code = "import pickle, sys; pickle.load(sys.stdin.buffer); print(*sorted(m.split('.')[0] for m in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], input=settings, capture_output=True, check=True, env=environment
    )
    loaded = set(done.stdout.decode().split())
    assert "peers" in loaded
    assert not loaded & {"coordinator", "matplotlib", "mlflow", "sklearn", "torchvision", "ray"}


def test_pools__a_teacher_that_sits_out_a_round_is_heard_as_it_last_spoke(cluster: None):
    """Its message is in an older bundle, beside one of a host-mate whose newer message travels in a newer bundle."""
    config = config_of("ray", peers={"count": 4}, topology={"kind": "random-pair", "teachers": 2})
    plan = prepare(config)
    settings = peer_settings(config, plan.dataset)
    digests = []
    for pool in ({"pool": "in-process"}, {"pool": "ray", "peers_per_host": 2}):
        with open_pool(settings, plan.dataset, HostingConfig(**pool)) as opened:
            list(RoundLoop(opened, plan.schedule, Cadence(ROUNDS, 3)))
            digests.append(ask(opened, lambda host: host.digest()))
    assert digests[0] == digests[1]
