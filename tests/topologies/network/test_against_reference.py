"""Whole traces against slow simulators that were written from the definitions alone: who hears whom, and when."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.topologies.network.gossip_reference import GossipReference
from tests.topologies.network.happenings import Did, Rules
from tests.topologies.network.reference import LOCK_STEP, Reference
from topologies.config import TopologyConfig
from topologies.given import schedule_of
from topologies.network.simulation import build_trace
from topologies.network.trace import SECOND, Fate, Step, TimedRound
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

ROUNDS = 8
Order = tuple[int, int]
COMPUTE = (
    {"kind": "constant"},
    {"kind": "constant", "node_sigma": 0.5},
    {"kind": "lognormal", "sigma": 0.6},
    {"kind": "exponential"},
)
LATENCY = (
    *({"kind": "constant", "seconds": seconds} for seconds in (0.0, 0.3, 0.5, 1.0, 2.5)),
    {"kind": "lognormal", "seconds": 0.7, "sigma": 0.9},
)
LOSS = ({"kind": "none"}, {"probability": 0.3}, {"kind": "gilbert-elliott", "p": 0.2, "r": 0.4})
CHURN = (
    {"kind": "none"},
    *(
        {"kind": "exponential", "up": up, "down": down, "leave": leave, "on_return": back}
        for up, down in ((6, 2), (3, 3))
        for leave, back in (("graceful", "own"), ("crash", "neighbour"))
    ),
)
CLOCKS = (
    {"clock": "synchronous"},
    {"clock": "neighbours"},
    *({"clock": "deadline", "deadline": seconds} for seconds in (0.2, 1.0)),
    *({"clock": "deadline", "deadline": seconds, "late": "use", "max_age": 2} for seconds in (0.2, 1.0)),
    *({"clock": "free-running", "max_age": age} for age in (0, 1, 10)),
    {"clock": "gossip", "wake_every": 1.0},
    {"clock": "gossip", "wake_every": 5.0},
)
TOPOLOGIES = (
    {"kind": "ring"},
    {"kind": "complete"},
    {"kind": "ring", "self_weight": 0.4},
    {"kind": "random", "teachers": 2},
    {"kind": "random-matching"},
    {"kind": "random-pair"},
    {"kind": "one-peer-exponential"},
    {"kind": "star"},
    {"kind": "self"},
)


def directed_star(num_peers: int) -> Schedule:
    """Peer 0 teaches all others, and learns from nobody."""
    return schedule_of([(0, student) for student in range(1, num_peers)], num_peers)


def finished(trace_rounds: list[TimedRound]) -> list[Step]:
    steps = [step for each in trace_rounds for wave in each.waves for step in wave.steps]
    return sorted(steps, key=lambda step: (step.finish, step.peer, step.version))


def link_of(world: World) -> Any:
    def link(sender: int, receiver: int, number: int) -> tuple[int, bool]:
        result = world.transmission(sender, receiver, number)
        return (result, False) if result >= 0 else (~result, True)

    return link


def expected(
    network: NetworkConfig, schedule: Schedule, seed: np.random.SeedSequence, end: int
) -> Reference | GossipReference:
    num_peers = schedule.num_peers
    world = World.of(network, num_peers, seed, 1000)
    crash = getattr(network.churn, "leave", "graceful") == "crash"
    deadline = round((network.deadline or 0) * SECOND)
    rules = Rules(network.clock, deadline, network.late, network.max_age, crash, link_of(world))
    if network.clock == "gossip":
        return GossipReference(rules, schedule, world, num_peers).run(end)
    return Reference(rules, schedule, world, num_peers).run(end)


def in_rounds(clock: str, reference: Reference | GossipReference, num_peers: int, rounds: int) -> Iterator[list[Did]]:
    """The reference's steps of each round of the run."""
    did = sorted(reference.did, key=lambda step: (step.finish, step.peer, step.version))
    if clock in LOCK_STEP:
        yield from ([step for step in did if step.version == index] for index in range(rounds))
        return
    counted: list[Order] = [(step.finish, step.peer) for step in did if clock != "gossip" or step.heard]
    counted = sorted(counted + (reference.idled if isinstance(reference, Reference) else []))
    last: Order = (-1, -1)
    for index in range(rounds):
        this = counted[(index + 1) * num_peers - 1]
        yield [step for step in did if last < (step.finish, step.peer) <= this]
        last = this


def same(step: Step, other: Did) -> bool:
    links = [(edge.teacher, edge.age) for edge in step.heard] == [(edge.teacher, edge.age) for edge in other.heard]
    weights = [edge.weight for edge in step.heard] == pytest.approx([edge.weight for edge in other.heard], abs=1e-12)
    times = (step.peer, step.version, step.published, step.start, step.finish)
    return links and weights and times == (other.peer, other.version, other.published, other.start, other.finish)


def compare(network: NetworkConfig, schedule: Schedule, entropy: int) -> None:
    seed = np.random.SeedSequence(entropy)
    trace = build_trace(network, schedule, schedule.num_peers, seed, [1000] * schedule.num_peers)
    taken = list(islice(trace.rounds(), ROUNDS))
    known = [delivery.arrived for each in taken for delivery in each.deliveries]
    reference = expected(network, schedule, seed, max([each.end for each in taken] + known))
    for each, did in zip(taken, in_rounds(network.clock, reference, schedule.num_peers, len(taken)), strict=True):
        steps = sorted(finished([each]), key=lambda step: (step.finish, step.peer, step.version))
        for step, other in zip(steps, did, strict=False):
            assert same(step, other), f"round {each.index}\n{step}\n{other}"
        assert len(steps) == len(did), f"round {each.index}: {steps[len(did) :]} {did[len(steps) :]}"
    fates = {(sent.sender, sent.receiver, sent.version): sent for sent in reference.messages}
    for delivery in (delivery for each in taken for delivery in each.deliveries):
        message = fates[delivery.sender, delivery.receiver, delivery.version]
        assert (message.sent, message.fate) == (delivery.sent, delivery.fate)
        assert message.arrives == delivery.arrived or delivery.fate == Fate.SENDER_CRASHED


@st.composite
def worlds(draw: st.DrawFn) -> tuple[NetworkConfig, dict[str, Any]]:
    clock = draw(st.sampled_from(CLOCKS))
    topologies = [each for each in TOPOLOGIES if clock["clock"] != "gossip" or each["kind"] in UNDIRECTED]
    network = {
        "compute": draw(st.sampled_from(COMPUTE)),
        "latency": draw(st.sampled_from(LATENCY)),
        "loss": draw(st.sampled_from(LOSS)),
        "churn": draw(st.sampled_from(CHURN)),
    }
    if clock["clock"] == "gossip" and network["latency"] == LATENCY[0]:
        network["compute"] = COMPUTE[2]  # else whole chains of exchanges share a nanosecond, in no order that is known
    return NetworkConfig.model_validate(clock | network), draw(st.sampled_from(topologies))


UNDIRECTED = ("ring", "complete", "random-matching", "star")


Given = tuple[NetworkConfig, dict[str, Any]]


def compare_built(world: Given, num_peers: int, entropy: int) -> None:
    network, topology = world
    parsed = TypeAdapter(TopologyConfig).validate_python(topology)
    compare(network, parsed.build(num_peers, np.random.SeedSequence(entropy)), entropy)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.integers(3, 6), st.integers(0, 2**20))
def test_trace__is_that_of_a_slow_simulator(world: Given, num_peers: int, entropy: int):
    compare_built(world, num_peers, entropy)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.integers(3, 8), st.integers(0, 2**20))
def test_trace__is_that_of_a_slow_simulator_in_many_worlds(world: Given, num_peers: int, entropy: int):
    compare_built(world, num_peers, entropy)


@pytest.mark.parametrize(
    "clock", [each for each in CLOCKS if each["clock"] != "gossip"], ids=lambda each: each["clock"]
)
def test_trace__of_a_directed_star_is_that_of_a_slow_simulator(clock: dict[str, Any]):
    for entropy, latency in enumerate(LATENCY[::2]):
        network = {"compute": COMPUTE[2], "latency": latency, "loss": LOSS[1], "churn": CHURN[1]}
        compare(NetworkConfig.model_validate(clock | network), directed_star(5), entropy)
