"""The round loop: the topology binds, rounds are double-buffered, and the result is that of a plain loop."""

import copy
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from coordinator.experiment.config import HostingConfig, RunConfig, load_config
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.pools.base import HostLost, Pool, Ref, ask
from coordinator.pools.in_process import InProcessHost, InProcessPool
from coordinator.records.events import PeersRestored, RunEvent
from coordinator.run.simulate import simulate
from coordinator.scheduling.scheduler import Cadence, Phase, RoundRecord
from coordinator.scheduling.synchronous import RoundLoop
from peers.exchange.assignment import Assignment, Stats
from peers.learning.control import Control
from peers.learning.settings import initial_network
from peers.networks.network import Network
from topologies.combinators import each_alone, one_student, without_students
from topologies.config import KINDS, Base, Random, RandomPair, Ring
from topologies.participation import participants
from topologies.schedule import Schedule
from topologies.topology import Topology


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


class RecordingHost:
    """A host whose peers only note what reaches them: message (sender, round) in call (peer, round).

    A bundle is the set of labels (sender, round) of its messages, which nobody but a host may open.
    """

    def __init__(self, pool: "RecordingPool", place: int, peers: list[int]) -> None:
        self.pool, self.place, self.peers = pool, place, peers
        self._due: dict[int, Assignment] = {}

    def advance(self, round_index: int, following: dict[int, Assignment | None], *bundles: Ref[Any]) -> Any:
        arrived = {label for bundle in bundles for label in bundle.value}
        assert arrived.isdisjoint((peer, t) for peer in self.peers for t in range(100)), "it never left its host"
        self.pool.travelled += [(*label, self.place) for label in arrived if label[1] == round_index]
        for peer in following:
            due = self._due.pop(peer)
            assert due.round_index == round_index
            heard = self.pool.heard[peer, round_index] = list(due.message_keys)
            for label in heard:
                assert label in (self.pool.published if label[0] in self.peers else arrived), label
        return self.publish({peer: each for peer, each in following.items() if each is not None})

    def publish(self, assignments: dict[int, Assignment]) -> Any:
        assert set(assignments) <= set(self.peers)
        self._due |= assignments
        teaching = {(peer, each.round_index) for peer, each in assignments.items() if each.teaches}
        self.pool.published |= teaching
        bundle = frozenset((peer, each.round_index) for peer, each in assignments.items() if each.remote)
        assert bundle <= teaching
        stats = {peer: Stats(sent_bytes=0) for peer in self.peers}
        return Ref(bundle), Ref(stats | {peer: Stats(sent_bytes=10) for peer, _ in teaching})


class RecordingPool:
    """Such hosts, and what has reached all of their peers."""

    hosting, evaluators, workers = HostingConfig(), (), {}

    def __init__(self, num_peers: int, peers_per_host: int) -> None:
        peers = list(range(num_peers))
        parts = [peers[first : first + peers_per_host] for first in range(0, num_peers, peers_per_host)]
        self.hosts = [RecordingHost(self, place, part) for place, part in enumerate(parts)]
        self.nodes = [list(range(len(self.hosts)))]
        self.heard: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.published: set[tuple[int, int]] = set()
        self.travelled: list[tuple[int, int, int]] = []  # (sender, round, to which host)

    def get(self, references: Any) -> list[Any]:
        values = [reference.value for reference in references]
        assert not any(isinstance(each, frozenset) for each in values), "the coordinator opened a bundle"
        return values

    def done(self, references: Any) -> bool:
        return True

    def restart(self, settings: Any) -> None: ...

    def revive(self) -> None: ...

    def advise(self, text: str) -> None: ...

    def concluding(self) -> None: ...

    def close(self) -> None: ...


def run_all(pool: Pool, schedule: Schedule, rounds: int, lookahead: int = 3, **every: Any) -> list[RoundRecord]:
    return list(RoundLoop(pool, schedule, Cadence(rounds, lookahead, **every)))


@pytest.mark.parametrize(
    "topology", [*KINDS.values(), Random(teachers=2), RandomPair(teachers=2), Base(max_degree=2)], ids=str
)
@given(
    num_peers=st.sampled_from([4, 8, 16]),
    seed=st.integers(0, 2**32),
    lookahead=st.integers(1, 9),
    wrapper=st.sampled_from(["as it is", "one student", "frozen", "alone"]),
    peers_per_host=st.integers(1, 5),
)
@settings(max_examples=25, deadline=None)
def test_round_loop__no_student_ever_hears_a_peer_outside_its_rounds_edges(
    topology_example: Callable[[type[Topology], int], Topology],
    topology: type[Topology] | Topology,
    num_peers: int,
    seed: int,
    lookahead: int,
    wrapper: str,
    peers_per_host: int,
):
    made = topology if isinstance(topology, Topology) else topology_example(topology, num_peers)
    assume(made.takes(num_peers))
    schedule = made.build(num_peers, np.random.SeedSequence(seed))
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
            expected_heard[peer, round_index] = [(edge.teacher, round_index) for edge in plan.incoming[peer]]
            if peer in plan.teaching:
                expected_published.add((peer, round_index))
        needed |= {(teacher, round_index, student // peers_per_host) for teacher, student in plan.links}
    assert pool.heard == expected_heard
    assert pool.published == expected_published
    abroad = {(sender, t, host) for sender, t, host in needed if sender // peers_per_host != host}
    assert abroad <= set(pool.travelled)  # beside them only what travels in the same bundles
    assert len(pool.travelled) == len(set(pool.travelled)), "a message reached a host twice"
    assert [record.completed for record in records] == list(range(1, rounds + 1))
    crossing = [sum(teacher != student for teacher, student in schedule(t).links) for t in range(rounds)]
    assert [record.num_bytes for record in records] == [10 * count for count in crossing]


@pytest.mark.parametrize("shared_sum", [False, True])
@pytest.mark.parametrize("first_aged", [0, 4])
def test_round_loop__refuses_a_round_with_aged_edges_when_it_plans_it(first_aged: int, shared_sum: bool):
    """In one line, and before any host is told of that round: only messages of the same round are delivered."""
    ring = Ring().build(4, np.random.SeedSequence(0))
    static = ring(0)
    (first, *others), *rest = static.incoming
    aged = replace(static, incoming=((first._replace(age=2), *others), *rest))
    schedule = replace(ring, period=None, round_at=lambda index: static if index < first_aged else aged)
    pool = RecordingPool(4, 2)
    loop = RoundLoop(pool, schedule, Cadence(8, 3), shared_sum)
    with pytest.raises(
        ValueError, match=f"^round {first_aged}: the edge from peer {first.teacher} to peer 0 has age 2, "
    ):
        list(loop)
    assert all(round_index < first_aged for _, round_index in pool.published)


def reference(config: RunConfig, rounds: int) -> list[dict[int, dict[str, torch.Tensor]]]:
    """The naive loop, written with two forwards and ordinary in-place BatchNorm; the peers' states after each round.

    Every peer that teaches runs its forward under no_grad, then every student runs its own and steps: the paper's
    listing, with all of a round's messages made before anybody's step. Teachers are copies where the config says so.
    """
    every_k, momentum = config.exchange.refresh_every, config.exchange.teacher_ema
    plan = prepare(config)
    every = peer_settings(config, plan.dataset)
    batches = every[0].batches(plan.dataset)
    networks: list[Network] = [initial_network(each, plan.dataset.shape).train() for each in every]
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-2) for network in networks]
    slow = [copy.deepcopy(network) for network in networks]
    states = []
    for round_index in range(rounds):
        images, _ = batches(round_index)
        round_ = plan.schedule(round_index)
        students = [peer for peer, edges in enumerate(round_.incoming) if edges]
        teaching = sorted({edge.teacher for edges in round_.incoming for edge in edges})
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
            targets = torch.stack([outputs[edge.teacher] for edge in round_.incoming[peer]])
            weights = torch.tensor([edge.weight for edge in round_.incoming[peer]])
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


class ThreadedHost:
    """A thread that takes the calls of one peer in order and waits for the bundles it is given, as in Ray.

    That of peer 0 does not come back from its first round until it is released.
    """

    def __init__(self, peer: int, released: Event) -> None:
        self.peers, self.released, self.advanced = [peer], released, 0
        self.thread = ThreadPoolExecutor(1)

    def publish(self, assignments: Any) -> Any:
        return self._submit(lambda: None)

    def advance(self, round_index: int, following: Any, *arrived: Ref[Any]) -> Any:
        def work() -> None:
            for bundle in arrived:
                bundle.value.result(60)
            assert self.peers[0] or self.released.wait(60)
            self.advanced += 1

        return self._submit(work)

    def _submit(self, work: Callable[[], None]) -> Any:
        bundle, stats = Future(), Future()

        def answer() -> None:
            work()
            bundle.set_result(())
            stats.set_result({self.peers[0]: Stats(sent_bytes=1)})

        self.thread.submit(answer)
        return Ref(bundle), Ref(stats)


class ThreadedPool:
    """Such hosts."""

    hosting, evaluators, workers = HostingConfig(), (), {}

    def __init__(self, num_peers: int) -> None:
        self.released = Event()
        self.hosts = [ThreadedHost(peer, self.released) for peer in range(num_peers)]
        self.nodes = [list(range(num_peers))]

    @property
    def advanced(self) -> list[int]:
        return [host.advanced for host in self.hosts]

    def get(self, references: Any) -> list[Any]:
        return [reference.value.result(60) for reference in references]

    def done(self, references: Any) -> bool:
        return True

    def restart(self, settings: Any) -> None: ...

    def revive(self) -> None: ...

    def advise(self, text: str) -> None: ...

    def concluding(self) -> None: ...

    def close(self) -> None:
        for host in self.hosts:
            host.thread.shutdown()


@pytest.mark.parametrize("lookahead", [2, 3, 6])
def test_round_loop__a_slow_peer_delays_its_neighbours_not_the_world(lookahead: int):
    """On a ring a peer at distance d of one that is stuck gets d rounds further, as far as rounds are submitted."""
    pool, rounds = ThreadedPool(8), 10
    schedule = Ring().build(8, np.random.SeedSequence(0))
    with ThreadPoolExecutor(1) as driver:
        records = driver.submit(run_all, pool, schedule, rounds, lookahead)
        expected = [min(distance, lookahead) for distance in (0, 1, 2, 3, 4, 3, 2, 1)]
        until = time.monotonic() + 30
        while pool.advanced != expected and time.monotonic() < until:
            time.sleep(0.01)
        stuck = pool.advanced
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
        digests.append(ask(pool, lambda host: host.digest()))
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
        digests.append(ask(pool, lambda host: host.digest()))
        pool.close()
    assert digests[0] == digests[1]


def test_build_schedule__alone_lets_the_same_peers_study_in_the_same_rounds():
    config = tiny(peers={"count": 6}, topology={"kind": "random-pair", "teachers": 3})
    with_others, alone = build_schedule(config), build_schedule(config, Control.ALONE)
    for round_index in range(30):
        others, own = with_others(round_index), alone(round_index)
        assert own.students == others.students
        assert own.links == tuple((student, student) for student in others.students)


def saved_after(tmp_path: Path, start: int = 0, **cadence: Any) -> list[int]:
    """After which of ten rounds a checkpoint is written, at two seconds a round."""
    config = tiny(run={"rounds": 10})
    plan = prepare(config)
    pool = InProcessPool(peer_settings(config, plan.dataset), plan.dataset, config.hosting)
    submitted, (host,) = [start], pool.hosts
    advance = host.advance

    def counting(*arguments: Any) -> Any:
        submitted[0] += 1
        return advance(*arguments)

    host.advance = counting  # type: ignore[method-assign]
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
    monkeypatch.setattr("coordinator.scheduling.in_flight.FIRST_CHECKPOINT", 1e-9)
    config = tiny(run={"rounds": 8}, checkpoint={"every": 100})
    lost, advance = [False], InProcessHost.advance
    told: list[RunEvent] = []

    def dying(self: InProcessHost, round_index: int, *arguments: Any) -> Any:
        if round_index == 6 and not lost[0]:
            lost[0] = True
            raise HostLost("a host was lost")
        return advance(self, round_index, *arguments)

    class Listening:
        def observe(self, event: RunEvent) -> None:
            told.append(event)

    monkeypatch.setattr(InProcessHost, "advance", dying)
    monkeypatch.setattr(InProcessPool, "revive", lambda self: None)
    assert simulate(config, tmp_path, [Listening()]).status == "finished"
    assert lost[0] and PeersRestored(Phase.ROUNDS, 1) in told
