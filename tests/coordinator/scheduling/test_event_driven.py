"""The event-driven scheduler: a plain trace gives the bits of the round loop, and any trace the same in every pool."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from coordinator.experiment.config import RunConfig, load_config
from coordinator.planning.network import last_batches
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.base import Pool, ask
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.opening import open_pool
from coordinator.scheduling.choice import scheduler_of
from coordinator.scheduling.event_driven import EventDrivenScheduler, TraceLoop
from coordinator.scheduling.scheduler import Cadence, RoundRecord
from coordinator.scheduling.synchronous import RoundLoop
from peers.exchange.assignment import Stats
from peers.learning.learner import Learner, Pending
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


@pytest.mark.parametrize("peers_per_host", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_trace_loop__older_messages_give_the_same_bits_in_ray_actors(cluster: Any, peers_per_host: int) -> None:
    config = tiny()
    trace = aged(build_schedule(config), old, 2)
    hosting = config.hosting.model_copy(update={"pool": "ray", "peers_per_host": peers_per_host})
    plan = prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, hosting) as pool:
        assert by_trace(config, trace, pool) == by_trace(config, trace)


UNEQUAL = {"kind": "lognormal", "seconds": 1.0, "sigma": 0.6}
SLOW = {"kind": "lognormal", "seconds": 0.5, "sigma": 1.0}
LOST = {"kind": "bernoulli", "probability": 0.2}
AWAY = {"kind": "exponential", "up": 6.0, "down": 3.0}
FEW_BYTES = {"kind": "caps", "up": 1000.0, "down": 1000.0}
WORLDS: dict[str, dict[str, Any]] = {
    "synchronous, fresh weights": {"clock": "synchronous", "loss": LOST, "churn": {**AWAY, "on_return": "fresh"}},
    "neighbours": {"clock": "neighbours", "loss": LOST, "churn": AWAY},
    "neighbours, rewired": {"clock": "neighbours", "churn": {**AWAY, "on_return": "neighbour"}, "rewire": True},
    "deadline, late ones dropped": {"clock": "deadline", "deadline": 0.5, "loss": LOST},
    "deadline, late ones used": {"clock": "deadline", "deadline": 0.5, "late": "use", "loss": LOST},
    "free-running": {"clock": "free-running", "stragglers": {"share": 0.3, "slowdown": 3.0}},
    "free-running, copies": {"clock": "free-running", "churn": {**AWAY, "on_return": "neighbour", "leave": "crash"}},
    "free-running, rewired": {"clock": "free-running", "churn": AWAY, "rewire": True},
    "free-running, bandwidth": {"clock": "free-running", "bandwidth": FEW_BYTES, "churn": AWAY},
    "free-running, by the second": {"clock": "free-running", "round_seconds": 1.5, "churn": AWAY},
    "free-running, checkpoints": {"clock": "free-running", "message": "checkpoint", "churn": AWAY},
    "gossip": {"clock": "gossip", "wake_every": 2.0, "loss": LOST, "churn": {**AWAY, "on_return": "fresh"}},
    "gossip, checkpoints": {"clock": "gossip", "wake_every": 2.0, "message": "checkpoint"},
}
SLOWLY = pytest.mark.slow
OFTEN = ("neighbours", "deadline, late ones used", "free-running, copies", "gossip")


def in_world(name: str, **sections: Any) -> RunConfig:
    network = {"compute": UNEQUAL, "latency": SLOW, **WORLDS[name]}
    return tiny(network=network, **{"peers": {"count": 5}, **sections})


def by_network(config: RunConfig, pool: Pool | None = None, start: int = 0, **every: Any) -> tuple[Any, ...]:
    """The digests, and all numbers of the rounds with their times."""
    plan, pool = prepare(config), pool or opened(config)
    scheduler, cadence = scheduler_of(pool, plan.trace, False), Cadence(ROUNDS, 3, **every)
    records = list(scheduler.records(plan.schedule, cadence, start, lambda: False))
    digests, rounds = outcome(pool, records)
    return digests, [(*numbers, record.timing) for numbers, record in zip(rounds, records, strict=True)]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in OFTEN else SLOWLY) for name in WORLDS])
@pytest.mark.parametrize("topology", ["ring", pytest.param("random-matching", marks=SLOWLY)])
def test_scheduler__goes_on_from_the_cut_after_any_round(tmp_path: Path, name: str, topology: str) -> None:
    """With messages under way, abandoned ones, and peers that are away: weights, losses, bytes and times stay."""
    config = in_world(name, topology={"kind": topology})
    whole = by_network(config, checkpoint_every=1, aside=lambda completed: str(tmp_path / str(completed)))
    for start in range(1, ROUNDS):
        again, folder = opened(config), str(tmp_path / str(start))
        again.get([host.restore(folder, dict.fromkeys(host.peers, "")) for host in again.hosts])
        digests, rounds = by_network(config, again, start)
        assert digests == whole[0], start
        assert rounds == whole[1][start:], start


def test_scheduler__networks_see_the_batches_that_calibrate_their_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchNorm's statistics depend on the order of the batches, too."""
    config = in_world("free-running")
    trace, settle = prepare(config).trace, Learner.settle
    seen: dict[int, list[int]] = {peer: [] for peer in range(5)}

    def settled(learner: Learner, pending: Pending) -> None:
        seen[learner.index].append(pending.round_index)
        settle(learner, pending)

    monkeypatch.setattr(Learner, "settle", settled)
    by_network(config)
    assert trace is not None and last_batches(trace, ROUNDS, 10**6) == [seen[peer] for peer in range(5)]


def test_trace_loop__holds_no_more_messages_with_the_rounds() -> None:
    """Neither in the coordinator nor in its host, of a peer that never learns, too."""
    config = in_world("free-running, copies", peers={"count": 5, "frozen": [1]})
    plan, pool, rounds = prepare(config), opened(config), 30
    assert plan.trace is not None
    loop = TraceLoop(pool, plan.schedule, plan.trace, Cadence(rounds, 3), frozen=frozenset([1]))
    mailbox, held = pool.hosts[0]._host.mailbox, []
    for _ in loop:
        of_loop = (loop._bundles, loop._sizes, loop._timings._published, *loop._released.values())
        held.append(sum(map(len, (mailbox, mailbox._outputs, mailbox._expiry, *of_loop))))
    assert max(held[rounds // 2 :]) <= 1.5 * max(held[: rounds // 2]) < 200


@pytest.mark.slow
@pytest.mark.parametrize(("execution", "peers_per_host"), [("loop", 2), ("vectorised", 4)])
@pytest.mark.parametrize("name", WORLDS)
def test_scheduler__a_cluster_of_local_processes_gives_the_bits_of_one(
    cluster: Any, name: str, execution: str, peers_per_host: int
) -> None:
    """Vectorised, the same peers have to be stacked."""
    hosting = {"execution": execution, "peers_per_host": peers_per_host}
    here = in_world(name, peers={"count": 4}, hosting=hosting)
    config = in_world(name, peers={"count": 4}, hosting={**hosting, "pool": "ray"})
    plan = prepare(config)
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting) as pool:
        assert by_network(config, pool) == by_network(here)


def test_scheduler__peers_that_fail_drop_out_and_the_others_go_on() -> None:
    """A peer whose weights become infinite tells its students so, also those who would have heard it later."""
    optimizer = {"optimizer": {"kind": "sgd", "lr": 1e30}}
    groups = [{"count": 1, "model": {"kind": "mlp", "hidden": [4]}, "norm": "none", **optimizer}, {"count": 3}]
    config = in_world("free-running", peers={"count": 4, "groups": groups}, run={"on_nonfinite": "drop-peer"})
    _, rounds = by_network(config)
    failed = [{peer for peer, (_, _, failure) in stats.items() if failure} for _, stats, _, _ in rounds]
    assert failed[0] == set() and failed[-1] <= {0} and set().union(*failed) == {0}
    assert any(stats[peer][0] is not None for _, stats, _, _ in rounds[4:] for peer in stats if peer)


def test_plain_scheduler__adds_the_times_of_a_plain_trace_to_the_records_of_the_round_loop() -> None:
    network = {"clock": "neighbours", "compute": UNEQUAL, "latency": {"kind": "constant", "seconds": 0.25}}
    config = tiny(network=network, topology={"kind": "ring", "self_weight": 0.3})
    plan, pool = prepare(config), opened(config)
    assert plan.trace is not None and plan.trace.plain
    cadence = Cadence(ROUNDS, 3)
    records = list(scheduler_of(pool, plan.trace, False).records(plan.schedule, cadence, 2, lambda: False))
    waves = list(EventDrivenScheduler(opened(config), plan.trace).records(plan.schedule, cadence, 0, lambda: False))
    assert [record.timing for record in records] == [record.timing for record in waves[2:]]
    for record, timed in zip(records, islice(plan.trace.rounds(2), ROUNDS - 2), strict=True):
        assert record.timed == timed and record.timing is not None
        assert (record.timing.mean_age, record.timing.lost, record.timing.online) == (0.0, 0, 4)
        starts = [(step.start, step) for wave in timed.waves for step in wave.steps]
        published = {step.peer: step.published for _, step in starts}
        ages = [start - published[e.teacher] for start, step in starts for e in step.heard if e.teacher != step.peer]
        assert record.timing.mean_age_seconds == pytest.approx(sum(ages) / len(ages) / 1e9)
        assert record.timing.mean_age_seconds >= 0.25
