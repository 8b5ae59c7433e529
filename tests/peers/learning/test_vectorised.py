"""The vectorised execution against the loop: every network, norm, optimiser, loss and target, to float tolerance."""

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from coordinator.experiment.config import RunConfig, load_config
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.base import ask
from coordinator.pools.in_process import InProcessPool
from coordinator.scheduling.probing import observe
from coordinator.scheduling.synchronous import Cadence, RoundLoop, RoundRecord
from peers.base.brought import Given
from peers.base.section import Section, examples
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import LossConfig
from peers.exchange.targets import TargetConfig
from peers.hosting.host import PeerHost
from peers.networks.models import Norm
from peers.networks.optimizers import OptimizerConfig
from peers.networks.variants import HeadConfig, ModelConfig

ROUNDS = 10


def plain(value: Any) -> Any:
    """The table of an example, as an experiment file has it; what was given from Python has none."""
    return value.model_dump() if isinstance(value, Section) and not isinstance(value, Given) else value


def of_files(union: Any) -> list[Any]:
    """An example of every kind that a file can name."""
    return [each for each in examples(union) if each.kind != "given"]


def config_of(execution: str = "loop", **sections: Any) -> RunConfig:
    table: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 2},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 40, "batch_size": 16},
        "peers": {
            "count": 5,
            "model": {"kind": "mlp", "hidden": [12, 8]},
            "head": {"kind": "linear", "dim": 6},
            "optimizer": {"kind": "adamw", "lr": 1e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 24, "probes": ["knn"]},
        "tracking": {"enabled": False},
    }
    for name, values in sections.items():
        values = {key: plain(value) for key, value in values.items()}
        table[name] = {**table.get(name, {}), **values} if name != "topology" else values
    hosting = {"pool": "in-process", "execution": execution, "layout": "contiguous"}  # as vectorised peers have it
    table["hosting"] = {**hosting, **table.get("hosting", {})}
    return load_config(table)


def run(config: RunConfig) -> tuple[list[RoundRecord], dict[int, dict[str, torch.Tensor]], list[Any]]:
    """The records, the peers' final tensors, and what they see of the probe batch."""
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    cadence = Cadence(config.run.rounds, 3)
    records = list(RoundLoop(pool, build_schedule(config), cadence, config.exchange.delivery == "shared-sum"))
    host: PeerHost = pool._host
    states = {index: dict(peer.network.state_dict()) for index, peer in host.peers.items()}
    seen = list(observe(pool).get().peers.values())
    pool.close()
    return records, states, seen


def digests(pool: InProcessPool) -> list[bytes]:
    return ask(pool, lambda host: host.digest())


def relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    difference = (value.double() - reference.double()).norm()
    return float(difference / reference.double().norm().clamp_min(1e-12))


def without_effect(state: dict[str, torch.Tensor]) -> set[str]:
    """Biases in front of a BatchNorm, and its running means, which only take them up.

    Their gradient is zero but for rounding, which Adam blows up to steps of the learning rate; outputs ignore them.
    """
    norms = {name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")}
    found = {f"{norm}.running_mean" for norm in norms}
    for norm in norms:
        parent, _, place = norm.rpartition(".")
        found |= {f"{parent}.{int(place) - 1}.bias"} if place.isdigit() else set()
    return found


def deviation(**sections: Any) -> dict[str, float]:
    """The largest relative deviation of losses, gradient norms, outputs and weights after all rounds."""
    loop_records, loop_states, loop_seen = run(config_of("loop", **sections))
    records, states, seen = run(config_of("vectorised", **sections))
    found = {"loss": 0.0, "gradient": 0.0, "outputs": 0.0, "weights": 0.0}
    for one, other in zip(loop_records, records, strict=True):
        assert one.stats.keys() == other.stats.keys() and one.num_bytes == other.num_bytes
        for peer, stats in one.stats.items():
            new = other.stats[peer]
            assert (stats.loss is None) == (new.loss is None) and stats.failure == new.failure
            assert stats.sent_bytes == new.sent_bytes
            if stats.loss is not None:
                found["loss"] = max(found["loss"], abs(new.loss - stats.loss) / abs(stats.loss))
                off = abs(new.gradient_norm - stats.gradient_norm) / stats.gradient_norm
                found["gradient"] = max(found["gradient"], off)
    for one, other in zip(loop_seen, seen, strict=True):
        found["outputs"] = max(found["outputs"], relative(torch.tensor(other.outputs), torch.tensor(one.outputs)))
    for peer, state in loop_states.items():
        kept = [name for name in state if name not in without_effect(state)]
        one, other = (torch.cat([s[name].double().flatten() for name in kept]) for s in (state, states[peer]))
        found["weights"] = max(found["weights"], relative(other, one))
    assert any(record.stats[peer].loss for record in records for peer in record.stats), "nobody studied"
    return found


CNN = {"kind": "small-cnn", "channels": [4, 8]}
ADAMW = {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.05, "schedule": "cosine", "clip_norm": 0.5}
MOMENTUM = {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
PEERS: list[dict[str, Any]] = [
    *({"norm": norm, "optimizer": each} for norm in get_args(Norm) for each in (ADAMW, MOMENTUM)),
    {"optimizer": {"kind": "sgd", "lr": 0.05}},
    *({"optimizer": each} for each in examples(OptimizerConfig)),
    *({"model": CNN, "head": head, "optimizer": {"kind": "sgd", "lr": 1e-4}} for head in of_files(HeadConfig)),
    *({"model": CNN, "norm": norm} for norm in ("group", "layer", "none")),
    {"model": CNN, "frozen": [0, 3]},
    {"model": CNN, "locality": 0.5},
    {"model": CNN, "head_shared": True, "optimizer": ADAMW},
    {"model": CNN, "head_shared": "last-layer", "optimizer": {"kind": "sgd", "lr": 1e-6}}
    | {"head": {"kind": "bottleneck", "dim": 6, "hidden": 256, "bottleneck": 64}},
    {"groups": [{"count": 3, "model": CNN}, {"count": 1, "norm": "none"}, {"count": 3}]},
]


def fits(target: Any, loss: Any) -> bool:
    with suppress(ValidationError):
        return bool(ExchangeConfig(target=target, loss=loss))
    return False


def targets_and_losses() -> list[tuple[Any, Any]]:
    """Pairs that go together, so many that every target and every loss is in one."""
    pairs: list[tuple[Any, Any]] = []
    for loss, target in itertools.product(of_files(LossConfig), of_files(TargetConfig)):
        seen = [each for pair in pairs for each in pair]
        if (loss not in seen or target not in seen) and fits(target, loss):
            pairs.append((target, loss))
    assert [len({each.kind for each in side}) for side in zip(*pairs, strict=True)] == [
        len(of_files(union)) for union in (TargetConfig, LossConfig)
    ]
    return pairs


EXCHANGES: list[dict[str, Any]] = [
    *(
        {"target": target, "loss": loss, "average": average}
        for (target, loss), average in zip(targets_and_losses(), itertools.cycle(["outputs", "losses"]))
    ),
    *({"target": {"kind": "centre"}, "average": average} for average in ("outputs", "losses")),
    {"what": "probabilities"},
    {"what": "features"},
    {"supervised": 0.5},
    {"refresh_every": 3},
    {"refresh_every": 0},
    {"teacher_ema": 0.75},
    {"teacher_ema": 0.75, "teacher_anchor": 0.5},
    {"teacher_anchor": 0.25},
    {"roles": "one-student"},
]
TOPOLOGIES: list[dict[str, Any]] = [
    {"kind": "random-pair", "teachers": 2},
    {"kind": "random-matching", "self_weight": 0.25},
    {"kind": "star"},
    {"kind": "complete"},
    {"kind": "one-peer-exponential"},
    {"kind": "self"},
]


def named(table: dict[str, Any]) -> str:
    values = [plain(value) for value in table.values()]
    return " ".join(str(value.get("kind", value) if isinstance(value, dict) else value) for value in values)


@pytest.mark.parametrize("peers", PEERS, ids=named)
def test_vectorised__equals_the_loop_for_every_network_norm_and_optimiser(peers: dict[str, Any]):
    if "groups" in peers:
        peers = {**peers, "count": 7}
    assert max(deviation(peers=peers).values()) < 1e-5


@pytest.mark.parametrize("exchange", EXCHANGES, ids=named)
def test_vectorised__equals_the_loop_for_every_exchange(exchange: dict[str, Any]):
    found = deviation(exchange=exchange, topology={"kind": "random", "teachers": 2})
    assert max(found.values()) < 1e-5


def test_vectorised__peers_drop_out_as_in_the_loop():
    """Two of five diverge: the same rounds and reasons, and the others go on without them, with the same losses."""
    peers = {
        "count": 5,
        "groups": [{"count": 3}, {"count": 2, "norm": "none", "optimizer": {"kind": "sgd", "lr": 1e15}}],
    }
    (loop, states, _), (vectorised, others, _) = (
        run(config_of(execution, peers=peers)) for execution in ("loop", "vectorised")
    )
    assert [each.failure for each in loop[-1].stats.values()][:3] == ["", "", ""]
    assert all(loop[-1].stats[peer].failure for peer in (3, 4))
    for one, other in zip(loop, vectorised, strict=True):
        for peer, stats in one.stats.items():
            new = other.stats[peer]
            assert (stats.failure, stats.failure_round) == (new.failure, new.failure_round)
            assert new.loss == (None if stats.loss is None else pytest.approx(stats.loss, rel=1e-5))
    for peer in (3, 4):  # their last state, too, but for rounding at this size
        assert all(torch.allclose(each, others[peer][name], rtol=1e-3) for name, each in states[peer].items())


@pytest.mark.parametrize("exchange", [{}, {"teacher_ema": 0.5}, {"target": {"kind": "centre"}}], ids=named)
def test_vectorised__goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path, exchange: dict[str, Any]):
    """Parameters, buffers, moments, steps, centres and averages of stacked peers are saved, and taken up by others."""
    config = config_of("vectorised", exchange=exchange, run={"rounds": 4, "seed": 2})
    plan = prepare(config)
    settings = peer_settings(config, plan.dataset)
    pools = [InProcessPool(settings, plan.dataset, config.hosting) for _ in range(2)]
    list(RoundLoop(pools[0], plan.schedule, Cadence(4, 3)))
    saved, other = (pool.hosts[0] for pool in pools)
    saved.save(str(tmp_path), 4)
    unchecked = dict.fromkeys(range(5), "")
    assert pools[1].get([other.restore(str(tmp_path), unchecked)]) == [dict.fromkeys(range(5), 4)]
    saved.restore(str(tmp_path), unchecked)  # forgets what it has published
    assert digests(pools[0]) == digests(pools[1])
    for pool in pools:
        list(RoundLoop(pool, plan.schedule, Cadence(4, 3)))
    assert digests(pools[0]) == digests(pools[1])
    fresh = run(config)[1]
    assert any((fresh[0][name] != each).any() for name, each in pools[1]._host.peers[0].network.state_dict().items())


@pytest.mark.parametrize(
    "wire",
    [
        {"dtype": "float16"},
        {"dtype": "bfloat16"},
        {"dtype": "int8"},
        {"what": "probabilities", "dtype": "int8", "top_k": 2},
    ],
    ids=named,
)
def test_vectorised__every_wire_format(wire: dict[str, Any]):
    """Two rounds: in the long run a value that is rounded the other way is a step of the format away."""
    assert deviation(run={"rounds": 2}, exchange=wire)["loss"] < 1e-5


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=named)
@pytest.mark.parametrize("recompute", [False, True])
def test_vectorised__equals_the_loop_on_every_kind_of_round(topology: dict[str, Any], recompute: bool):
    assert max(deviation(topology=topology, hosting={"recompute": recompute}).values()) < 1e-5


SLOW = dict.fromkeys(("densenet121", "resnet18"), pytest.mark.slow)


@pytest.mark.parametrize(
    "model", [pytest.param(each, id=each.kind, marks=SLOW.get(each.kind, ())) for each in of_files(ModelConfig)]
)
def test_vectorised__equals_the_loop_for_every_network_on_images_of_32_pixels(model: ModelConfig):
    """Two rounds of 32x32 pixels in three colours."""
    small = {"kind": "synthetic", "shape": [3, 32, 32], "num_train": 32, "num_test": 16, "batch_size": 8}
    found = deviation(
        run={"rounds": 2},
        data=small,
        peers={"count": 2, "model": model, "optimizer": {"kind": "sgd", "lr": 1e-3}},
        evaluation={"probe_batch": 8},
    )
    assert found["outputs"] < 1e-4 and found["loss"] < 1e-4 and found["weights"] < 1e-5


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
@pytest.mark.parametrize(
    "setting",
    [{}, {"roles": "one-student"}, {"what": "probabilities"}, {"teacher_ema": 0.5}],
    ids=named,
)
@pytest.mark.parametrize("frozen", [[], [1]])
def test_shared_sum__equals_delivery_edge_by_edge(execution: str, setting: dict[str, Any], frozen: list[int]):
    """The loop adds each student's teachers up; the sum is made once and each student's own taken away."""
    sections: dict[str, Any] = {"peers": {"frozen": frozen}, "topology": {"kind": "complete", "self_weight": 0.3}}
    edge, _, edge_seen = run(config_of(execution, exchange=setting, **sections))
    total, _, seen = run(config_of(execution, exchange={**setting, "delivery": "shared-sum"}, **sections))
    for one, other in zip(edge, total, strict=True):
        assert one.num_bytes == other.num_bytes
        for peer, stats in one.stats.items():
            assert (
                stats.loss == pytest.approx(other.stats[peer].loss, rel=1e-5)
                if stats.loss
                else not other.stats[peer].loss
            )
    for one, other in zip(edge_seen, seen, strict=True):
        assert relative(torch.tensor(other.outputs), torch.tensor(one.outputs)) < 1e-5
