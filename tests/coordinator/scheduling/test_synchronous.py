"""The round loop: the topology binds, rounds are double-buffered, and the result is that of a plain loop."""

import copy
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from safetensors.torch import load_file

from coordinator.commands.topology import KINDS
from coordinator.experiment.config import RunConfig, load_config
from coordinator.experiment.plan import build_schedule, peer_settings, prepare
from coordinator.pools.base import HostLost, Pool, ask
from coordinator.pools.in_process import InProcessPool
from coordinator.records.terminal import Silent
from coordinator.run.simulate import simulate
from coordinator.scheduling.assignments import participants
from coordinator.scheduling.synchronous import Cadence, RoundLoop, RoundRecord
from peers.base.seeds import stream
from peers.data import batches
from peers.exchange.assignment import Assignment, Stats
from peers.learning.settings import initial_network
from peers.networks.models import Network
from topologies.config import TopologyConfig
from topologies.schedule import Schedule, each_alone, one_student, without_students

pytestmark = pytest.mark.usefixtures("without_figures")
TOPOLOGIES: list[dict[str, Any]] = [
    {"kind": "ring"},
    {"kind": "complete"},
    {"kind": "self"},
    {"kind": "star"},
    {"kind": "path"},
    {"kind": "torus"},
    {"kind": "hypercube"},
    {"kind": "exponential"},
    {"kind": "random-regular", "degree": 3},
    {"kind": "erdos-renyi", "p": 0.6},
    {"kind": "watts-strogatz", "degree": 4, "rewire": 0.2},
    {"kind": "file"},
    {"kind": "random", "teachers": 2},
    {"kind": "random-matching"},
    {"kind": "random-pair", "teachers": 2},
    {"kind": "one-peer-exponential"},
    {"kind": "base", "max_degree": 2},
]


def tiny(**sections: Any) -> RunConfig:
    """Three peers with BatchNorm on synthetic 8x8 images, in this process, tracked nowhere."""
    table: dict[str, Any] = {
        "run": {"rounds": 6, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 16},
        "peers": {
            "count": 3,
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
    return load_config(table)


class Opaque:
    """A reference to a bundle: labels (sender, round) of the messages in it."""

    def __init__(self, labels: frozenset[tuple[int, int]]) -> None:
        self.labels = labels


class RecordingPool:
    """Hosts whose peers only note what reaches them: message (sender, round) in call (peer, round).

    As in Ray, a bundle is a reference; nobody but a host may open it.
    """

    execution, evaluators = "loop", 0

    def __init__(self, num_peers: int, peers_per_host: int) -> None:
        peers = list(range(num_peers))
        self.hosts = [peers[first : first + peers_per_host] for first in range(0, num_peers, peers_per_host)]
        self.nodes = [list(range(len(self.hosts)))]
        self.heard: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.published: set[tuple[int, int]] = set()
        self.travelled: list[tuple[int, int, int]] = []  # (sender, round, to which host)
        self._due: dict[int, Assignment] = {}

    def submit(self, host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        if method == "publish":
            return self._publish(host, args[0])
        assert method == "advance", method
        round_index, following, *bundles = args
        arrived = {label for bundle in bundles for label in bundle.labels}
        assert arrived.isdisjoint((peer, t) for peer in self.hosts[host] for t in range(100)), "it never left its host"
        self.travelled += [(*label, host) for label in arrived if label[1] == round_index]
        for peer in following:
            due = self._due.pop(peer)
            assert due.round_index == round_index
            self.heard[peer, round_index] = list(due.message_keys)
            for label in self.heard[peer, round_index]:
                assert label in (self.published if label[0] in self.hosts[host] else arrived), label
        return self._publish(host, {peer: each for peer, each in following.items() if each is not None})

    def get(self, references: Any) -> list[Any]:
        assert not any(isinstance(each, Opaque) for each in references), "the coordinator opened a bundle"
        return list(references)

    def evaluate(self, evaluator: int, *args: Any) -> Any: ...

    def done(self, references: Any) -> bool:
        return True

    def revive(self) -> None: ...

    def advise(self, text: str) -> None: ...

    def concluding(self) -> None: ...

    def close(self) -> None: ...

    def _publish(self, host: int, assignments: dict[int, Assignment]) -> tuple[Opaque, dict[int, Stats]]:
        assert set(assignments) <= set(self.hosts[host])
        self._due |= assignments
        teaching = {(peer, each.round_index) for peer, each in assignments.items() if each.teaches}
        self.published |= teaching
        bundle = Opaque(frozenset((peer, each.round_index) for peer, each in assignments.items() if each.remote))
        assert bundle.labels <= teaching
        stats = {peer: Stats(sent_bytes=0) for peer in self.hosts[host]}
        return bundle, stats | {peer: Stats(sent_bytes=10) for peer, _ in teaching}


def run_all(pool: Pool, schedule: Schedule, rounds: int, lookahead: int = 3, **every: Any) -> list[RoundRecord]:
    return list(RoundLoop(pool, schedule, Cadence(rounds, lookahead, **every)))


def test_topologies__are_all_kinds_there_are():
    assert {topology["kind"] for topology in TOPOLOGIES} == set(KINDS)


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda table: table["kind"])
@given(
    num_peers=st.sampled_from([4, 8, 16]),
    seed=st.integers(0, 2**32),
    lookahead=st.integers(1, 9),
    wrapper=st.sampled_from(["as it is", "one student", "frozen", "alone"]),
    peers_per_host=st.integers(1, 5),
)
@settings(max_examples=25, deadline=None)
def test_round_loop__no_student_ever_hears_a_peer_outside_its_rounds_edges(
    tmp_path_factory: pytest.TempPathFactory,
    topology: dict[str, Any],
    num_peers: int,
    seed: int,
    lookahead: int,
    wrapper: str,
    peers_per_host: int,
):
    if topology["kind"] == "random-regular" and num_peers == 4:
        topology = {"kind": "random-regular", "degree": 2}
    if topology["kind"] == "watts-strogatz" and num_peers == 4:
        topology = topology | {"degree": 2}
    if topology["kind"] == "file":
        path = tmp_path_factory.mktemp("edges") / "edges.csv"
        path.write_text("student,teacher\n" + "".join(f"{i + 1},{i}\n" for i in range(num_peers - 1)))
        topology = topology | {"path": str(path)}
    schedule = TypeAdapter(TopologyConfig).validate_python(topology).build(num_peers, np.random.SeedSequence(seed))
    if wrapper == "one student":
        schedule = one_student(schedule, np.random.SeedSequence(seed + 1))
    elif wrapper == "frozen":
        schedule = without_students(schedule, frozenset({0, 2}))
    elif wrapper == "alone":
        schedule = each_alone(schedule)
    pool, rounds = RecordingPool(num_peers, peers_per_host), 12
    records = run_all(pool, schedule, rounds, lookahead)

    expected_heard, expected_published, needed = {}, set(), set()
    for round_index in range(rounds):
        plan = schedule(round_index)
        for peer in participants(plan):
            expected_heard[peer, round_index] = [(teacher, round_index) for teacher in plan.teachers[peer]]
            if peer in plan.teaching:
                expected_published.add((peer, round_index))
        needed |= {(teacher, round_index, student // peers_per_host) for student, teacher in plan.edges}
    assert pool.heard == expected_heard
    assert pool.published == expected_published
    abroad = {(sender, t, host) for sender, t, host in needed if sender // peers_per_host != host}
    assert abroad <= set(pool.travelled)  # beside them only what travels in the same bundles
    assert len(pool.travelled) == len(set(pool.travelled)), "a message reached a host twice"
    assert [record.completed for record in records] == list(range(1, rounds + 1))
    crossing = [sum(s != t for s, t in schedule(t).edges) for t in range(rounds)]
    assert [record.num_bytes for record in records] == [10 * count for count in crossing]


def reference(config: RunConfig, rounds: int) -> list[dict[int, dict[str, torch.Tensor]]]:
    """The naive loop, written with two forwards and ordinary in-place BatchNorm; the peers' states after each round.

    Every peer that teaches runs its forward under no_grad, then every student runs its own and steps: the paper's
    listing, with all of a round's messages made before anybody's step. Teachers are copies where the config says so.
    """
    every_k, momentum = config.exchange.refresh_every, config.exchange.teacher_ema
    plan = prepare(config)
    every = peer_settings(config, plan.dataset)
    networks: list[Network] = [initial_network(each, plan.dataset.shape).train() for each in every]
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-2) for network in networks]
    slow = [copy.deepcopy(network) for network in networks]
    states = []
    for round_index in range(rounds):
        images, _ = batches.batch(
            plan.dataset, 16, round_index, stream(3, "batches"), None, every[0].normalisation, torch.device("cpu")
        )
        round_ = plan.schedule(round_index)
        students = [i for i, row in enumerate(round_.teachers) if row]
        teaching = sorted({t for row in round_.teachers for t in row})
        outputs = {}
        if every_k and round_index % every_k == 0 and not momentum:
            slow = [copy.deepcopy(network) for network in networks]
        for peer in teaching:
            before = {name: buffer.clone() for name, buffer in networks[peer].named_buffers()}
            with torch.no_grad():
                networks[peer](images)
                outputs[peer] = slow[peer](images)[1]
            if peer in students:  # its student's forward sees the same batch: count it once
                for name, buffer in networks[peer].named_buffers():
                    buffer.copy_(before[name])
        for peer in students:
            targets = torch.stack([outputs[t] for t in round_.teachers[peer]])
            weights = torch.tensor(round_.weights[peer])
            loss = (networks[peer](images)[1] - weighted_mean(targets, weights)).square().mean()
            optimizers[peer].zero_grad()
            loss.backward()
            optimizers[peer].step()
            for old, new in zip(slow[peer].parameters(), networks[peer].parameters(), strict=True):
                old.data = torch.lerp(old.data, new.data, 1 - momentum) if momentum else old.data
        states.append(
            {
                i: {name: tensor.clone() for name, tensor in network.state_dict().items()}
                for i, network in enumerate(networks)
            }
        )
    return states


def weighted_mean(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(targets[0])
    for weight, target in zip(weights / weights.sum(), targets, strict=True):
        total = total + weight * target
    return total


class ThreadedPool:
    """One peer a host, each a thread that takes its calls in order and waits for the bundles it is given, as in Ray.

    The first host does not come back from its first round until it is released.
    """

    execution, evaluators = "loop", 0

    def __init__(self, num_peers: int) -> None:
        self.hosts = [[peer] for peer in range(num_peers)]
        self.nodes = [list(range(num_peers))]
        self.released = Event()
        self.advanced = [0] * num_peers
        self._threads = [ThreadPoolExecutor(1) for _ in range(num_peers)]

    def submit(self, host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        bundle, stats = Future(), Future()

        def work() -> None:
            for arrived in args[2:]:
                arrived.result(60)
            if method == "advance":
                assert host or self.released.wait(60)
                self.advanced[host] += 1
            bundle.set_result(())
            stats.set_result({host: Stats(sent_bytes=1)})

        self._threads[host].submit(work)
        return bundle, stats

    def get(self, references: Any) -> list[Any]:
        return [each.result(60) for each in references]

    def evaluate(self, evaluator: int, *args: Any) -> Any: ...

    def done(self, references: Any) -> bool:
        return True

    def revive(self) -> None: ...

    def advise(self, text: str) -> None: ...

    def concluding(self) -> None: ...

    def close(self) -> None:
        for thread in self._threads:
            thread.shutdown()


@pytest.mark.parametrize("lookahead", [2, 3, 6])
def test_round_loop__a_slow_peer_delays_its_neighbours_not_the_world(lookahead: int):
    """On a ring a peer at distance d of one that is stuck gets d rounds further, as far as rounds are submitted."""
    pool, rounds = ThreadedPool(8), 10
    schedule = TypeAdapter(TopologyConfig).validate_python({"kind": "ring"}).build(8, np.random.SeedSequence(0))
    with ThreadPoolExecutor(1) as driver:
        records = driver.submit(run_all, pool, schedule, rounds, lookahead)
        expected = [min(distance, lookahead) for distance in (0, 1, 2, 3, 4, 3, 2, 1)]
        until = time.monotonic() + 30
        while pool.advanced != expected and time.monotonic() < until:
            time.sleep(0.01)
        stuck = list(pool.advanced)
        pool.released.set()
        assert len(records.result(60)) == rounds
    pool.close()
    assert stuck == expected and pool.advanced == [rounds] * 8


TEACHERS: dict[str, dict[str, Any]] = {
    "itself": {},
    "snapshot of 3": {"refresh_every": 3},
    "frozen": {"refresh_every": 0},
    "average": {"teacher_ema": 0.75},
}


@pytest.mark.parametrize(
    ("recompute", "teacher"), [(True, "itself"), *((False, name) for name in TEACHERS), (True, "average")]
)
@pytest.mark.parametrize(
    "topology",
    [
        {"kind": "ring"},
        {"kind": "random-pair", "teachers": 2},
        {"kind": "random-matching", "self_weight": 0.25},
        {"kind": "star"},
    ],
    ids=lambda table: table["kind"],
)
def test_round_loop__every_state_equals_the_plain_loops_bit_for_bit(
    tmp_path: Path, topology: dict[str, Any], recompute: bool, teacher: str
):
    """Also the BatchNorm buffers, and also where a peer published rounds ahead: checkpoints show settled states."""
    rounds = 9
    config = tiny(
        run={"rounds": rounds, "seed": 3},
        peers={"count": 4},
        topology=topology,
        exchange={"target": {"kind": "none"}, "loss": {"kind": "mse"}, **TEACHERS[teacher]},
        hosting={"pool": "in-process", "recompute": recompute},
    )
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    run_all(pool, plan.schedule, rounds, checkpoint_every=1, aside=(str(tmp_path) + "/round-{:06d}").format)
    expected = reference(config, rounds)
    pool.close()
    moved = False
    for completed in range(1, rounds + 1):
        for peer in range(4):
            saved = load_file(tmp_path / f"round-{completed:06d}" / f"peer-{peer:04d}.safetensors")
            for name, tensor in expected[completed - 1][peer].items():
                assert torch.equal(saved[f"network.{name}"], tensor), (completed, peer, name)
                moved |= completed > 1 and not torch.equal(tensor, expected[0][peer][name])
    assert moved


def test_round_loop__lookahead_changes_nothing():
    config = tiny(peers={"count": 4}, topology={"kind": "random", "teachers": 1}, run={"rounds": 7})
    plan = prepare(config)
    digests, losses = [], []
    for lookahead in (1, 2, 7, 50):
        pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
        records = run_all(pool, plan.schedule, 7, lookahead, observe_every=2)
        losses.append([[stats.loss for stats in record.stats.values()] for record in records])
        digests.append(ask(pool, "digest"))
        pool.close()
    assert digests[0] == digests[1] == digests[2] == digests[3]
    assert losses[0] == losses[1] == losses[2] == losses[3]


def test_round_loop__an_observation_changes_nothing():
    config = tiny(topology={"kind": "random-pair"}, run={"rounds": 8})
    plan = prepare(config)
    digests = []
    for every in ({}, {"observe_every": 1, "probe_every": 2}):
        pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
        run_all(pool, plan.schedule, 8, **every)
        digests.append(ask(pool, "digest"))
        pool.close()
    assert digests[0] == digests[1]


def test_build_schedule__alone_lets_the_same_peers_study_in_the_same_rounds():
    config = tiny(peers={"count": 6}, topology={"kind": "random-pair", "teachers": 3})
    with_others, alone = build_schedule(config), build_schedule(config, alone=True)
    for round_index in range(30):
        others, own = with_others(round_index), alone(round_index)
        assert [bool(row) for row in own.teachers] == [bool(row) for row in others.teachers]
        assert all(row in ((), (peer,)) for peer, row in enumerate(own.teachers))


def saved_after(tmp_path: Path, start: int = 0, **cadence: Any) -> list[int]:
    """After which of ten rounds a checkpoint is written, at two seconds a round."""
    config = tiny(run={"rounds": 10})
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    submitted = [start]
    submit = pool.submit

    def counting(host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        submitted[0] += method == "advance"
        return submit(host, method, *args, num_returns=num_returns)

    pool.submit = counting  # type: ignore[method-assign]
    aside = (str(tmp_path) + "/{:06d}").format
    loop = RoundLoop(
        pool, plan.schedule, Cadence(10, 3, aside=aside, **cadence), start=start, clock=lambda: 2.0 * submitted[0]
    )
    saved = [record.completed for record in loop if record.saved]
    pool.close()
    return saved


def test_round_loop__checkpoints_are_due_by_rounds_or_by_seconds(tmp_path: Path):
    assert saved_after(tmp_path, checkpoint_every=100) == [10]
    assert saved_after(tmp_path, checkpoint_every=4) == [4, 8, 10]
    assert saved_after(tmp_path, checkpoint_every=100, checkpoint_seconds=300.0) == [3, 10]  # the first after 5 seconds
    assert saved_after(tmp_path, checkpoint_every=100, checkpoint_seconds=6.0) == [3, 6, 9, 10]
    assert saved_after(tmp_path, checkpoint_every=5, checkpoint_seconds=8.0) == [3, 5, 9, 10]
    assert saved_after(tmp_path, start=4, checkpoint_every=100, checkpoint_seconds=300.0) == [
        10
    ]  # there is one already
    assert saved_after(tmp_path, checkpoint_every=0, checkpoint_seconds=6.0) == []


def test_simulate__a_host_lost_early_costs_seconds_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Long before checkpoint.every rounds: the first few seconds of work are followed by a checkpoint."""
    monkeypatch.setattr("coordinator.scheduling.synchronous.FIRST_CHECKPOINT", 1e-9)
    config = tiny(run={"rounds": 8}, checkpoint={"every": 100})
    lost, submit = [False], InProcessPool.submit
    told: list[str] = []

    def dying(self: InProcessPool, host: int, method: str, *args: Any, num_returns: int = 1) -> Any:
        if method == "advance" and args[0] == 6 and not lost[0]:
            lost[0] = True
            raise HostLost("a host was lost")
        return submit(self, host, method, *args, num_returns=num_returns)

    class Listening(Silent):
        def phase(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(InProcessPool, "submit", dying)
    monkeypatch.setattr(InProcessPool, "revive", lambda self: None)
    assert simulate(config, tmp_path, Listening()).status == "finished"
    assert lost[0] and "from the checkpoint of round 1" in told
