"""One small case of each of two other simulators of decentralised learning: the same ages and losses, or why not.

gossipy-dfl 0.0.1 (PyPI) counts whole ticks. Its figures below are those of 8 nodes on a directed ring that each push
once in a round of 10 ticks, 4,000 rounds, seed 1, a model that does nothing: the share of messages that failed, and the
age of the newest message that a node has received, sampled after each tick from tick 100 on. A sample after a tick
misses half a tick of the age in continuous time. `online_prob` is a coin for each node and tick, without memory: for
ages it is loss, and nothing like churn, in which a peer that is away now is probably away in the next round.

SACS-sim (sacs-epfl/decentralized-learning-simulator) makes the graph of tasks first, as a trace does. It has neither
latency nor loss, and bandwidth goes to whoever comes first: a transfer takes what is left of its sender's and its
receiver's, and gives nothing back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from topologies import graphs, mixing, schedule
from topologies.given import schedule_of
from topologies.network.simulation import build_trace
from topologies.network.trace import SECOND, Delivery, Fate, Step, Trace
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig

TICK = 0.1  # seconds
GOSSIPY = {  # (delay in ticks, drop_prob, online_prob): share of failed messages, mean age in ticks
    (3, 0.0, 1.0): (0 / 32000, 7.4999843),
    (3, 0.3, 1.0): (9682 / 32000, 11.7882184),
    (25, 0.3, 1.0): (9682 / 32000, 33.7847596),
    (3, 0.3, 0.8): (14116 / 32000, 15.3306004),
}


def trace_of(links: Schedule, **network: object) -> Trace:
    config = NetworkConfig.model_validate(network)
    return build_trace(config, links, links.num_peers, np.random.SeedSequence(1), [1_000_000] * links.num_peers)


def deliveries(trace: Trace, rounds: int) -> list[Delivery]:
    return [each for done in islice(trace.rounds(), rounds) for each in done.deliveries]


def steps(trace: Trace, rounds: int) -> list[Step]:
    return [step for done in islice(trace.rounds(), rounds) for wave in done.waves for step in wave.steps]


def mean_age(messages: Iterable[Delivery], receiver: int) -> float:
    """The age of the newest message that a peer has received, in seconds, averaged over time."""
    came = sorted(
        (each.arrived, each.sent) for each in messages if each.receiver == receiver and each.fate == Fate.ARRIVED
    )
    arrived, sent = np.array(came).T / SECOND
    newest, lasted = np.maximum.accumulate(sent)[:-1], np.diff(arrived)
    return float(np.sum(lasted * (arrived[:-1] - newest + lasted / 2)) / lasted.sum())


@pytest.mark.parametrize(
    "case", [case if case == (3, 0.3, 1.0) else pytest.param(case, marks=pytest.mark.slow) for case in GOSSIPY], ids=str
)
def test_gossipy__the_same_losses_and_ages(case: tuple[int, float, float]):
    delay, drop, online = case
    lost = 1 - (1 - drop) * online
    ring = schedule_of([(peer, (peer + 1) % 8) for peer in range(8)], 8)
    loss = {"kind": "bernoulli", "probability": lost} if lost else {"kind": "none"}
    trace = trace_of(ring, clock="free-running", compute={"seconds": 1.0}, latency={"seconds": delay * TICK}, loss=loss)
    seen = deliveries(trace, 400)
    failed, age = GOSSIPY[case]
    assert np.mean([each.fate == Fate.LOST for each in seen]) == pytest.approx(failed, abs=0.02)
    ours = np.mean([mean_age(seen, receiver) for receiver in range(8)])
    assert ours == pytest.approx((age + 0.5) * TICK, rel=0.03)


@dataclass
class Transfer:
    """A transfer of one unit; rate 0: it waits."""

    sender: int
    receiver: int
    left: float = 1.0
    rate: float = 0.0


def first_come_first_served(pairs: Iterable[tuple[int, int]], up: float = 1.0, down: float = 1.0) -> list[float]:
    """When each transfer of one unit ends by SACS-sim's rule; all are asked for at 0, in this order."""
    transfers = [Transfer(*pair) for pair in pairs]
    ended, now = [0.0] * len(transfers), 0.0

    def give(each: Transfer) -> None:
        under_way = [other for other in transfers if other.left > 0]
        sending = sum(other.rate for other in under_way if other.sender == each.sender)
        receiving = sum(other.rate for other in under_way if other.receiver == each.receiver)
        each.rate += min(up - sending, down - receiving)

    for each in transfers:
        give(each)
    while any(each.left > 0 for each in transfers):
        going = [each for each in transfers if each.left > 0 and each.rate > 0]
        passed = min(each.left / each.rate for each in going)
        now += passed
        for each in going:
            each.left -= passed * each.rate
            if each.left < 1e-9:
                each.left, ended[transfers.index(each)] = 0.0, now
        waiting = [each for each in transfers if each.left > 0]
        for each in sorted(waiting, key=lambda each: each.rate == 0):  # those under way grow first
            give(each)
    return ended


def in_turn(num_peers: int) -> list[tuple[int, int]]:
    """The transfers of a round on a ring, as they are asked for: each peer's first, then each peer's second."""
    neighbours = [list(graphs.ring(num_peers).neighbors(peer)) for peer in range(num_peers)]
    return [(peer, neighbours[peer][turn]) for turn in range(2) for peer in range(num_peers)]


def ring_starts(num_peers: int) -> set[float]:
    """Seconds at which the peers of a ring take the messages of their first round: 1 MB over links of 1 MB/s."""
    links = schedule.static(schedule.Round.from_mixing(mixing.metropolis_hastings(graphs.ring(num_peers))))
    trace = trace_of(links, clock="synchronous", bandwidth={"up": 1e6, "down": 1e6})
    return {step.start / SECOND for step in steps(trace, 1)}


def test_sacs__an_even_ring_takes_the_same_time_and_all_ages_are_0_in_both():
    assert max(first_come_first_served(in_turn(4))) == pytest.approx(2.0)
    assert ring_starts(4) == {2.0}


def test_sacs__first_come_leaves_bandwidth_idle_on_an_odd_ring():
    assert max(first_come_first_served(in_turn(5))) == pytest.approx(3.0)
    assert ring_starts(5) == {2.0}


def test_sacs__first_come_serves_students_in_turn_and_fair_sharing_all_at_once():
    students = [1, 2, 3, 4]
    assert first_come_first_served([(0, student) for student in students]) == pytest.approx([1.0, 2.0, 3.0, 4.0])
    star = schedule_of([(0, student) for student in students], 5)
    trace = trace_of(star, compute={"seconds": 10.0}, bandwidth={"up": 1e6, "down": 1e6})
    starts = {step.peer: step.start / SECOND for step in steps(trace, 1)}
    assert [starts[student] for student in students] == pytest.approx([4.0] * 4, abs=1e-6)
