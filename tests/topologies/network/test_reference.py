"""The slow simulators themselves against closed forms: what else is compared with them stands on this."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.topologies.network.gossip_reference import GossipReference
from tests.topologies.network.happenings import Rules
from tests.topologies.network.reference import Reference
from topologies import schedule
from topologies.config import Complete, OnePeerExponential, Random, RandomPair, Ring, Topology

SEED = np.random.SeedSequence(5)


@dataclass
class Constant:
    """A world of constant steps, in which peers leave and come back at given times."""

    steps: list[int]
    changes: dict[int, list[tuple[int, bool]]] = field(default_factory=dict)

    def step_ns(self, peer: int, number: int) -> int:
        return self.steps[peer]

    def wake_ns(self, peer: int, number: int) -> int:
        return 1 + int(1e6 * np.random.default_rng([peer, number]).exponential())

    def choice(self, peer: int, number: int, count: int) -> int:
        return int(np.random.default_rng([7, peer, number]).integers(count))

    def is_online(self, peer: int, at: int) -> bool:
        return next((online for time, online in reversed(self.changes.get(peer, [])) if time <= at), True)

    def change_after(self, peer: int, at: int) -> tuple[int, bool] | None:
        return next((change for change in self.changes.get(peer, []) if change[0] > at), None)


@pytest.mark.parametrize("clock", ["synchronous", "neighbours", "deadline", "free-running"])
@pytest.mark.parametrize(
    "topology", [Ring(), Ring(self_weight=0.4), Complete(), Random(teachers=2), RandomPair(), OnePeerExponential()]
)
def test_reference__without_delays_every_round_is_that_of_the_schedule(clock: str, topology: Topology):
    links = topology.build(6, SEED)
    did = Reference(Rules(clock, deadline=5), links, Constant([10] * 6), 6).run(120).did
    assert len({(step.peer, step.version) for step in did}) == len(did) >= 24
    for step in did:
        assert step.heard == links(step.version).incoming[step.peer]


def test_reference__neighbours_follow_the_max_plus_recurrence():
    rng, links = np.random.default_rng(0), Ring().build(6, SEED)
    steps, delays = rng.integers(500, 1500, 6).tolist(), rng.integers(0, 2000, (6, 6)).tolist()
    rules = Rules("neighbours", link=lambda sender, receiver, number: (delays[sender][receiver], False))
    did = Reference(rules, links, Constant(steps), 6).run(130_000).did
    published = [0] * 6
    for version in range(30):
        starts = [
            max(published[peer], *(published[near % 6] + delays[near % 6][peer] for near in (peer - 1, peer + 1)))
            for peer in range(6)
        ]
        assert {step.peer: step.start for step in did if step.version == version} == dict(enumerate(starts))
        published = [start + step for start, step in zip(starts, steps, strict=True)]


def test_reference__an_absent_teacher_is_left_out_and_comes_back_to_the_round_of_its_students():
    rules = Rules("neighbours", link=lambda sender, receiver, number: (3, False))
    absent = Constant([10] * 4, {1: [(35, False), (120, True)]})
    did = Reference(rules, Ring().build(4, SEED), absent, 4).run(300).did
    heard = {step.version: [edge.teacher for edge in step.heard] for step in did if step.peer == 0}
    assert [version for version in sorted(heard) if heard[version] == [3]] == [3, 4, 5, 6, 7, 8]
    assert [step.version for step in did if step.peer == 1][:4] == [0, 1, 9, 10]


def test_reference__a_straggler_is_heard_late_and_jumps():
    rules = Rules("free-running", max_age=2)
    did = Reference(rules, Ring().build(4, SEED), Constant([10, 10, 35, 10]), 4).run(400).did
    assert [step.version for step in did if step.peer == 2][:4] == [0, 3, 6, 10]
    ages = [edge.age for step in did if step.peer == 1 for edge in step.heard if edge.teacher == 2]
    assert set(ages) == {0, 1, 2}


def test_gossip_reference__pairs_meet_uniformly_and_the_variance_falls_as_boyd_says():
    """E factor of an exchange of the complete graph: 1 - 1 / (n - 1); a pair's exchange is an answer and a reply."""
    values = np.random.default_rng(3).normal(size=8)
    gossip = GossipReference(Rules("gossip"), schedule.complete(8), Constant([0] * 8), 8).run(150_000_000)
    factors = []
    for pair in [(step.peer, step.heard[0].teacher) for step in gossip.did if step.heard][::2]:
        before = values.var()
        values[list(pair)] = values[list(pair)].mean()
        factors.append(values.var() / before)
        values = (values - values.mean()) / values.std()  # the factor does not depend on the size
    assert len(factors) > 1000
    assert np.mean(factors) == pytest.approx(1 - 1 / 7, abs=0.01)
