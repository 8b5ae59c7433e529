"""The event-driven scheduler: a plain trace gives the bits of the round loop, and any trace the same in every pool."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.experiment.config import RunConfig, load_config
from coordinator.experiment.plan import peer_settings, prepare
from coordinator.experiment.schedules import build_schedule
from coordinator.pools.base import Pool, ask
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.opening import open_pool
from coordinator.scheduling.event_driven import TraceLoop
from coordinator.scheduling.scheduler import Cadence, RoundRecord
from coordinator.scheduling.synchronous import RoundLoop
from peers.exchange.assignment import Stats
from tests.coordinator.scheduling.traces import aged, in_waves, one_at_a_time, plain_trace
from topologies.network.trace import Trace

ROUNDS = 8


def tiny(overrides: tuple[str, ...] = (), **sections: Any) -> RunConfig:
    """Four peers with BatchNorm on synthetic 8x8 images, in this process, tracked nowhere."""
    table: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 16},
        "peers": {
            "count": 4,
            "model": {"kind": "small-cnn", "channels": [4, 8]},
            "head": {"kind": "linear", "dim": 6},
            "optimizer": {"kind": "adam", "lr": 1e-2},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"probe_batch": 24},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    for name, values in sections.items():
        table[name] = {**table.get(name, {}), **values} if name != "topology" else values
    return load_config(table, overrides)


def opened(config: RunConfig) -> InProcessPool:
    plan = prepare(config)
    return InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)


def numbers(stats: dict[int, Stats]) -> dict[int, tuple[Any, ...]]:
    """What the stats of a round say, but for the time that it took."""
    return {peer: (s.loss, s.gradient_norm, s.failure) for peer, s in stats.items()}


def outcome(pool: Pool, records: list[RoundRecord]) -> tuple[Any, ...]:
    digests = ask(pool, lambda host: host.digest())
    seen = [(r.completed, numbers(r.stats), r.num_bytes, r.observations and r.observations.peers) for r in records]
    return digests, [(c, n, b) for c, n, b, _ in seen]


def by_rounds(config: RunConfig, **every: Any) -> tuple[Any, ...]:
    pool = opened(config)
    return outcome(pool, list(RoundLoop(pool, build_schedule(config), Cadence(ROUNDS, 3, **every))))


def by_trace(
    config: RunConfig, trace: Trace, pool: Pool | None = None, start: int = 0, **every: Any
) -> tuple[Any, ...]:
    pool = pool or opened(config)
    frozen = frozenset(config.peers.frozen)
    loop = TraceLoop(pool, build_schedule(config), trace, Cadence(ROUNDS, 3, **every), start, frozen=frozen)
    return outcome(pool, list(loop))


VARIANTS: dict[str, dict[str, Any]] = {
    "ring": {},
    "self weight": {"topology": {"kind": "ring", "self_weight": 0.3}},
    "random pair": {"topology": {"kind": "random-pair", "teachers": 2}},
    "matching of an odd number": {"topology": {"kind": "random-matching"}, "peers": {"count": 5}},
    "one student a round": {"topology": {"kind": "random", "teachers": 2}, "exchange": {"roles": "one-student"}},
    "each alone": {"topology": {"kind": "self"}},
    "frozen": {"peers": {"frozen": [1]}},
    "moving average": {"exchange": {"teacher_ema": 0.9}},
    "snapshots": {"exchange": {"refresh_every": 3}},
    "recompute": {"hosting": {"recompute": True}},
    "half a byte less": {"exchange": {"dtype": "float16"}, "topology": {"kind": "complete"}},
    "vectorised": {"hosting": {"execution": "vectorised"}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_trace_loop__a_plain_trace_gives_the_bits_of_the_round_loop(variant: str) -> None:
    config = tiny(**VARIANTS[variant])
    trace = plain_trace(build_schedule(config))
    assert by_trace(config, trace) == by_rounds(config)


def old(round_index: int, student: int, teacher: int) -> int:
    """Ages of 0 to 2 rounds, none of them always the same."""
    return (round_index + 2 * student + teacher) % 3


def test_trace_loop__the_order_of_calls_within_a_round_changes_no_bit() -> None:
    config = tiny()
    trace = aged(build_schedule(config), old, 2)
    split = in_waves(trace, one_at_a_time)
    assert by_trace(config, split) == by_trace(config, trace) != by_rounds(config)


@pytest.mark.parametrize("stopped_after", [1, 2, 5])
def test_trace_loop__goes_on_from_a_checkpoint_with_the_messages_under_way(stopped_after: int, tmp_path: Path) -> None:
    config = tiny()
    trace = aged(build_schedule(config), old, 2)
    whole = by_trace(config, trace)

    pool, schedule = opened(config), build_schedule(config)
    cadence = Cadence(ROUNDS, 3, checkpoint_every=stopped_after, aside=lambda completed: str(tmp_path / str(completed)))
    before = [record for record in TraceLoop(pool, schedule, trace, cadence) if record.completed <= stopped_after]
    again = opened(config)
    ask(again, lambda host: host.restore(str(tmp_path / str(stopped_after)), dict.fromkeys(host.peers, "")))
    digests, records = by_trace(config, trace, again, start=stopped_after)
    assert digests == whole[0]
    assert outcome(pool, before)[1] + records == whole[1]


@pytest.mark.parametrize("peers_per_host", [1, 2])
def test_trace_loop__older_messages_give_the_same_bits_in_ray_actors(cluster: Any, peers_per_host: int) -> None:
    config = tiny()
    trace = aged(build_schedule(config), old, 2)
    hosting = config.hosting.model_copy(update={"pool": "ray", "peers_per_host": peers_per_host})
    plan = prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, hosting) as pool:
        assert by_trace(config, trace, pool) == by_trace(config, trace)
