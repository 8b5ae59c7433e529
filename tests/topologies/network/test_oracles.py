"""Closed forms for times, ages and averages of simulated networks."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from pytest import approx

from tests.topologies.network.traces import Averaging, acts_of, by_hand, drawn, scheduled, steps_of, taken, traced
from topologies.given import schedule_of
from topologies.network.trace import SECOND, Step, Trace
from topologies.schedule import Schedule
from topologies.worlds.config import NetworkConfig

IDEAL = {"compute": {"kind": "constant", "seconds": 0.0}}


def exchanges(trace: Trace, count: int, num_peers: int) -> Iterator[np.ndarray]:
    """The matrix of each exchange of a gossip trace without delays, in which both take the average."""
    averaging, studied = Averaging(trace, np.eye(num_peers), 0.5), 0
    for timed in trace.rounds():
        for act in acts_of(timed):
            averaging.act(act)
            studied += isinstance(act, Step) and bool(act.heard)
            if studied == 2:
                yield averaging.rows
                averaging.rows, studied, count = np.eye(num_peers), 0, count - 1
                if not count:
                    return


def factor(matrices: Iterator[np.ndarray], start: np.ndarray) -> float:
    """By what the squared distance from the mean shrinks, on average."""
    return float(np.mean([np.sum((matrix @ start) ** 2) for matrix in matrices]) / np.sum(start**2))


@pytest.mark.parametrize(
    ("kind", "num_peers", "expected"),
    [
        ("complete", 8, 1 - 1 / 7),
        pytest.param("ring", 8, 1 - (1 - np.cos(2 * np.pi / 8)) / 8, marks=pytest.mark.slow),
        pytest.param("ring", 16, 1 - (1 - np.cos(2 * np.pi / 16)) / 16, marks=pytest.mark.slow),
    ],
)
def test_gossip__variance_of_an_exchange_shrinks_as_boyd_says(kind: str, num_peers: int, expected: float) -> None:
    trace = traced(scheduled(kind, num_peers), clock="gossip", **IDEAL)
    start = np.cos(2 * np.pi * np.arange(num_peers) / num_peers)  # the slowest mode of a ring; of sum 0
    found = factor(exchanges(trace, 1500, num_peers), start)
    assert 1 - found == approx(1 - expected, rel=0.1)


@pytest.mark.slow
def test_gossip__unequal_speeds_weigh_the_pairs() -> None:
    """E W = sum of s_i / S P_ij W_ij: AD-PSGD's, arXiv 1710.06952."""
    num_peers, speeds = 4, np.array([1.0, 2.0, 3.0, 6.0])
    clocks = [drawn(1 / speed, peer) for peer, speed in enumerate(speeds)]
    network = NetworkConfig(clock="gossip", **IDEAL)
    trace = by_hand(scheduled("ring", num_peers), network, wake_ns=lambda peer, number: clocks[peer]())
    expected = np.zeros((num_peers, num_peers))
    for peer, speed in enumerate(speeds):
        for other in ((peer + 1) % num_peers, (peer - 1) % num_peers):
            pair = np.eye(num_peers)
            pair[np.ix_([peer, other], [peer, other])] = 0.5
            expected += speed / speeds.sum() / 2 * pair
    found = np.mean(list(exchanges(trace, 3000, num_peers)), axis=0)
    assert found == approx(expected, abs=0.03)  # three standard errors of a share


def matrices(trace: Trace, schedule: Schedule, num_rounds: int) -> Iterator[np.ndarray]:
    """The matrix of each round, in which a student moves halfway to what it hears."""
    for timed in taken(trace, num_rounds):
        matrix = np.eye(schedule.num_peers)
        for step in steps_of([timed]):
            for edge in step.heard:
                matrix[step.peer] *= 0.5
                matrix[step.peer, edge.teacher] += 0.5 * edge.weight
        yield matrix


def test_matching__an_exchange_that_is_lost_whole() -> None:
    """1 - (1 - p) n / (2 (n - 1)): 0.6 for p = 0.3, n = 8."""
    schedule, rng = scheduled("random-matching", 8), np.random.default_rng(0)
    lost = rng.random((8, 8, 1000)) < 0.3

    def transmission(sender: int, receiver: int, number: int) -> int:
        first, second = sorted((sender, receiver))
        return ~0 if lost[first, second, number] else 0

    trace = by_hand(schedule, NetworkConfig(), transmission=transmission, loss_share=(0.3,) * 8)
    start = rng.standard_normal(8)
    start -= start.mean()
    assert not trace.plain
    assert factor(matrices(trace, schedule, 1000), start) == approx(1 - 0.7 * 8 / (2 * 7), abs=0.02)


@pytest.mark.slow
def test_matching__directions_lost_singly_let_the_mean_drift() -> None:
    """Squared drift p (1 - p) / (2 (n - 1)) of the variance; about the new mean the factor is less by as much."""
    schedule = scheduled("random-matching", 8)
    trace = traced(schedule, loss={"kind": "bernoulli", "probability": 0.3})
    start = np.random.default_rng(1).standard_normal(8)
    start = (start - start.mean()) / start.std()
    after = np.array([matrix @ start for matrix in matrices(trace, schedule, 1500)])
    drift = 0.3 * 0.7 / (2 * 7)
    assert np.mean(after.mean(axis=1) ** 2) == approx(drift, rel=0.15)
    assert np.mean(after.var(axis=1)) == approx(0.6 - drift, abs=0.02)


def period(trace: Trace, first: int = 100, last: int = 200) -> float:
    """Seconds of a round in the long run."""
    rounds = taken(trace, last)
    return (rounds[-1].end - rounds[first - 1].end) / SECOND / (last - first)


def ns(seconds: float) -> int:
    return round(seconds * SECOND)


@pytest.mark.parametrize("seed", range(4))
def test_neighbours__period_is_the_cycle_mean(seed: int) -> None:
    """The largest mean of compute and latency over cycles of links: here loops and pairs (max-plus algebra)."""
    rng, num_peers = np.random.default_rng(seed), 8
    compute, latency = rng.uniform(0.5, 2.5, num_peers), rng.uniform(0, 1, (num_peers, num_peers))
    latency = (latency + latency.T) / 2
    trace = by_hand(
        scheduled("ring", num_peers),
        NetworkConfig(),
        step_ns=lambda peer, number: ns(compute[peer]),
        transmission=lambda sender, receiver, number: ns(latency[sender, receiver]),
    )
    links = [(peer, (peer + 1) % num_peers) for peer in range(num_peers)]
    pairs = [(compute[a] + compute[b]) / 2 + latency[a, b] for a, b in links]
    assert period(trace) == approx(max(compute.max(), *pairs), rel=0.01)


def test_neighbours__period_of_a_directed_ring() -> None:
    rng, num_peers = np.random.default_rng(5), 8
    compute, latency = rng.uniform(0.5, 1.5, num_peers), rng.uniform(0.5, 2.5, num_peers)
    trace = by_hand(
        schedule_of([(peer, (peer + 1) % num_peers) for peer in range(num_peers)], num_peers),
        NetworkConfig(),
        step_ns=lambda peer, number: ns(compute[peer]),
        transmission=lambda sender, receiver, number: ns(latency[sender]),
    )
    assert period(trace) == approx(max(compute.max(), compute.mean() + latency.mean()), rel=0.01)
    slow = by_hand(
        schedule_of([(peer, (peer + 1) % num_peers) for peer in range(num_peers)], num_peers),
        NetworkConfig(),
        step_ns=lambda peer, number: ns(5.0 if peer == 3 else 1.0),
    )
    assert period(slow) == approx(5.0)


def test_synchronous__mean_round_is_the_harmonic_number() -> None:
    trace = traced(scheduled("ring", 16), clock="synchronous", compute={"kind": "exponential", "seconds": 1.0})
    harmonic = float(sum(Fraction(1, k) for k in range(1, 17)))
    assert period(trace, 1, 600) == approx(harmonic, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("num_peers", "expected"), [(4, 1.96), (8, 2.16), (16, 2.28)])
def test_neighbours__mean_round_of_a_ring_with_exponential_compute(num_peers: int, expected: float) -> None:
    """Measured elsewhere: no closed form."""
    trace = traced(scheduled("ring", num_peers), seed=2, compute={"kind": "exponential", "seconds": 1.0})
    assert period(trace, 100, 4000) == approx(expected, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("regular", "loss"), [(True, 0.0), (True, 0.4), (False, 0.0)])
def test_free_running__age_of_a_message_at_a_random_time(regular: bool, loss: float) -> None:
    """Delay d + T (1 + p) / (2 (1 - p)) if published every T, lost with p; d + 1 / lambda if Poisson."""
    delay, clocks = 0.35, [drawn(1.0, 1), drawn(0.05, 2)]
    network = NetworkConfig(
        clock="free-running",
        max_age=10**6,
        latency={"kind": "constant", "seconds": delay},
        loss={"kind": "bernoulli", "probability": loss} if loss else {"kind": "none"},
    )
    trace = by_hand(
        schedule_of([(0, 1)], 2),
        network,
        step_ns=lambda peer, number: SECOND if regular and peer == 0 else clocks[peer](),
    )
    sent, ages = {(0, 0): 0}, []
    for timed in taken(trace, 30_000):
        for step in steps_of([timed]):
            if step.following is not None:
                sent[step.peer, step.following.version] = step.finish
            ages += [step.start - sent[edge.teacher, step.version - edge.age] for edge in step.heard]
    expected = delay + ((1 + loss) / (2 * (1 - loss)) if regular else 1.0)
    assert np.mean(ages) / SECOND == approx(expected, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_gossip__wait_at_a_hub_is_that_of_a_queue(sigma: float) -> None:
    """M/G/1: lambda E[S^2] / (2 (1 - rho)) at a hub to which all others push (Pollaczek and Khinchine)."""
    rng, wakes = np.random.default_rng(0), drawn(10 / 0.7, 1)
    service = rng.lognormal(-(sigma**2) / 2, sigma, 100_000)
    trace = by_hand(
        scheduled("star", 11),
        NetworkConfig(clock="gossip"),
        wake_ns=lambda peer, number: 10**18 if peer == 0 else wakes(),
        step_ns=lambda peer, number: ns(service[number]) if peer == 0 else 0,
    )
    rounds = taken(trace, 7000)
    arrived = {(each.sender, each.version): each.arrived for timed in rounds for each in timed.deliveries}
    waits = [
        step.start - arrived[step.heard[0].teacher, step.version - step.heard[0].age]
        for step in steps_of(rounds)
        if step.peer == 0
    ]
    assert len(waits) > 30_000
    assert np.mean(waits) / SECOND == approx(0.7 * np.exp(sigma**2) / (2 * 0.3), rel=0.06)


@pytest.mark.parametrize(("delay", "share"), [(1, 0.5), (3, 0.5), (2, 0.8)])
def test_free_running__delayed_consensus_decays_at_the_root_of_its_polynomial(delay: int, share: float) -> None:
    """x_{t+1} = (1 - c) x_t + c lambda x_{t-tau} on a mode lambda of the links: largest root of z^(tau+1) - ..."""
    num_peers = 8
    trace = traced(
        schedule_of([((peer + hop) % num_peers, peer) for peer in range(num_peers) for hop in (1, 7)], num_peers),
        clock="free-running",
        latency={"kind": "constant", "seconds": float(delay)},
    )
    mode = np.cos(2 * np.pi * np.arange(num_peers) / num_peers)
    averaging, sizes = Averaging(trace, mode[:, None], share), []
    for timed in taken(trace, 120):
        for act in acts_of(timed):
            averaging.act(act)
        sizes.append(float(np.abs(averaging.rows).max()))
    heard = {edge.age for step in steps_of(taken(trace, 20, start=10)) for edge in step.heard}
    polynomial = np.zeros(delay + 2)
    polynomial[[0, 1, -1]] = [1, -(1 - share), -share * np.cos(2 * np.pi / num_peers)]
    assert heard == {delay}
    assert (sizes[-1] / sizes[-41]) ** (1 / 40) == approx(np.abs(np.roots(polynomial)).max(), rel=1e-3)
