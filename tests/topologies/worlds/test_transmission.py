"""When messages arrive and which are lost: closed forms, and the chain written forwards."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from topologies.worlds import aws, draws
from topologies.worlds.config import NetworkConfig
from topologies.worlds.loss import GilbertElliottLoss
from topologies.worlds.transmission import GilbertElliott
from topologies.worlds.world import World

SECOND = 1e9
COUNT = 4000


def sent(num_peers: int = 2, count: int = COUNT, **network: object) -> np.ndarray:
    """What becomes of the messages from peer 0 to peer 1."""
    world = World.of(NetworkConfig.model_validate(network), num_peers, 0, 1)
    return np.array([world.transmission(0, 1, number) for number in range(count)])


@pytest.mark.parametrize(
    ("latency", "expected"),
    [
        ({"kind": "lognormal", "seconds": 0.05, "sigma": 0.3}, stats.lognorm(0.3, scale=0.05)),
        ({"kind": "pareto", "seconds": 0.1}, stats.pareto(20, scale=0.095)),
    ],
)
def test_latency__has_the_law_that_it_names(latency: dict[str, object], expected: "stats.rv_frozen") -> None:
    found = sent(latency=latency) / SECOND
    assert stats.kstest(found, expected.cdf).pvalue > 0.01


def test_latency__pareto_has_the_mean_that_was_asked_for() -> None:
    assert stats.pareto(20, scale=0.095).mean() == pytest.approx(0.1)


def test_latency__constant_and_of_groups_by_sender() -> None:
    network = {"latency": {"seconds": 0.05}, "groups": [{"peers": [1], "latency": {"seconds": 0.2}}]}
    world = World.of(NetworkConfig.model_validate(network), 3, 0, 1)
    assert [world.transmission(*link, 0) for link in ((0, 1), (1, 0), (2, 1))] == [50e6, 200e6, 50e6]
    assert world.latency_ns is None
    plain = World.of(NetworkConfig.model_validate({"latency": {"seconds": 0.05}}), 3, 0, 1)
    assert plain.latency_ns == plain.transmission(2, 0, 9) == 50e6


def test_regions__half_a_round_trip_and_the_measured_90th_percentile() -> None:
    """us-east-1 to eu-west-1: median 69 ms, 90th percentile 70 ms there and back."""
    regions = ["us-east-1", "eu-west-1"]
    fixed = sent(latency={"kind": "regions", "regions": regions, "jitter": 0}, count=3)
    place = [aws.REGIONS.index(name) for name in regions]
    medians = np.array([int(value) for value in aws.MEDIANS.split()])
    round_trip = medians[place[0] * (place[0] + 1) // 2 + place[1]]
    assert fixed.tolist() == [round_trip * 500_000] * 3
    measured = sent(latency={"kind": "regions", "regions": regions})
    high = np.array([int(value) for value in aws.NINTIETHS.split()])[place[0] * (place[0] + 1) // 2 + place[1]]
    assert np.quantile(measured, [0.5, 0.9]) / 500_000 == pytest.approx([round_trip, high], rel=0.002)


def test_regions__two_peers_of_one_region_have_the_diagonal() -> None:
    network = {"latency": {"kind": "regions", "table": "home", "regions": ["japan", "europe"], "jitter": 0}}
    world = World.of(NetworkConfig.model_validate(network), 4, 0, 1)
    found = {pair: world.transmission(*pair, 0) for pair in ((0, 2), (1, 3), (0, 1), (1, 0))}
    assert found == {(0, 2): 12e6, (1, 3): 11e6, (0, 1): 252e6, (1, 0): 252e6}
    assert world.places == ("japan", "europe", "japan", "europe")


@pytest.mark.parametrize("retries", [0, 2])
def test_bernoulli__share_lost_and_delays_of_retries(retries: int) -> None:
    law = {"probability": 0.3, "retries": retries, "retry_after": 2.0}
    found = sent(latency={"seconds": 0.5}, loss=law, count=20_000)
    lost = found < 0
    expected = 0.3 ** (retries + 1)
    assert stats.binomtest(int(lost.sum()), lost.size, expected).pvalue > 0.01
    assert set(found[lost]) == {~int((0.5 + 2 * retries) * SECOND)}
    arrived, counts = np.unique(found[~lost], return_counts=True)
    assert arrived.tolist() == [int((0.5 + 2 * failed) * SECOND) for failed in range(retries + 1)]
    shares = 0.7 * 0.3 ** np.arange(retries + 1)
    assert stats.chisquare(counts, shares / shares.sum() * counts.sum()).pvalue > 0.01 if retries else True
    assert NetworkConfig.model_validate({"loss": law}).loss.share == pytest.approx(expected)


def test_bernoulli__each_direction_and_each_link_by_itself() -> None:
    world = World.of(NetworkConfig.model_validate({"loss": {"probability": 0.5}}), 3, 0, 1)
    links = ((0, 1), (1, 0), (0, 2))
    found = [[world.transmission(*link, number) < 0 for number in range(COUNT)] for link in links]
    correlations = np.corrcoef(found)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 4 / COUNT**0.5


def test_gilbert_elliott__share_lost_and_mean_burst() -> None:
    """Oracle: p = 0.01, r = 0.25: 3.85% lost, in bursts of 4 messages on average."""
    law = {"kind": "gilbert-elliott", "p": 0.01, "r": 0.25}
    assert NetworkConfig.model_validate({"loss": law}).loss.share == pytest.approx(0.0385, abs=5e-5)
    world = World.of(NetworkConfig.model_validate({"loss": law}), 13, 0, 1)
    lost = np.array([[world.transmission(0, peer, number) < 0 for number in range(2000)] for peer in range(1, 13)])
    starts = lost[:, 1:] & ~lost[:, :-1]
    bursts = starts.sum()
    of_whole = lost[:, 1:].sum() - sum(row.argmin() for row in lost[:, 1:] if row[0])
    by_link = lost.mean(axis=1)
    assert lost.mean() == pytest.approx(1 / 26, abs=4 * by_link.std() / 12**0.5)
    assert of_whole / bursts == pytest.approx(4, abs=4 * 12**0.5 / bursts**0.5 + 0.1)  # geometric: variance 12


@given(
    st.floats(0.0, 1.0),
    st.floats(0.02, 1.0),
    st.integers(0, 2**63),
    st.lists(st.integers(0, 300), min_size=1, max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_gilbert_elliott__is_the_chain_written_forwards(p: float, r: float, key: int, numbers: list[int]) -> None:
    if p == r == 1:
        return
    settings_ = GilbertElliottLoss.model_construct(p=p, r=r, bad=1.0, good=0.0, retries=0, retry_after=1.0)
    law, link = GilbertElliott(key, settings_), draws.stream(key, 2, 5)
    states = [draws.uniform(link, 0) < p / (p + r)]
    for number in range(1, max(numbers) + 1):
        draw = draws.uniform(link, number)
        states.append(draw < 1 - r if states[-1] else draw < p)
    assert [law.is_bad(2, 5, number) for number in numbers] == [states[number] for number in numbers]


def test_loss__of_zero_is_none() -> None:
    network = NetworkConfig.model_validate({"loss": {"probability": 0.0}, "latency": {"seconds": 0.1}})
    world = World.of(network, 2, 0, 1)
    assert not world.has_loss and world.transmission(0, 1, 5) == 100e6


def test_lognormal__never_overflows_at_the_largest_sigma() -> None:
    found = sent(latency={"kind": "lognormal", "seconds": 10.0, "sigma": 5.0})
    assert (found > 0).all() and math.isfinite(float(found.max()))
