"""Laws of computation times against their means and medians; stragglers."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from topologies.worlds.compute import (
    ExponentialCompute,
    LognormalCompute,
    ParetoCompute,
    Stragglers,
    TraceCompute,
)
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World

SECOND = 1e9


def steps(num_peers: int, count: int, **network: object) -> np.ndarray:
    """Seconds, peers x numbers."""
    world = World.of(NetworkConfig.model_validate(network), num_peers, 0, 1)
    return np.array([[world.step_ns(peer, number) for number in range(count)] for peer in range(num_peers)]) / SECOND


def test_constant__every_step_of_every_peer() -> None:
    assert (steps(3, 5, compute={"seconds": 0.25}) == 0.25).all()


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (LognormalCompute(seconds=0.05, sigma=0.6), stats.lognorm(0.6, scale=0.05)),
        (ExponentialCompute(seconds=0.05), stats.expon(scale=0.05)),
        (ParetoCompute(seconds=0.05, shape=3.0), stats.pareto(3.0, scale=0.05 * 2 / 3)),
    ],
)
def test_draw__has_the_law_that_it_names(law: LognormalCompute, expected: "stats.rv_frozen") -> None:
    found = steps(2, 3000, compute=law.model_dump()).ravel()
    assert stats.kstest(found, expected.cdf).pvalue > 0.01
    middle = {"lognormal": np.median, "exponential": np.mean, "pareto": np.mean}[law.kind]
    assert middle(found) == pytest.approx(0.05, rel=0.05)


def test_node_sigma__each_peer_keeps_its_speed() -> None:
    found = steps(4000, 2, compute={"seconds": 1.0, "node_sigma": 0.6})
    assert (found[:, 0] == found[:, 1]).all()
    assert stats.kstest(np.log(found[:, 0]), stats.norm(0, 0.6).cdf).pvalue > 0.01


def test_stragglers__as_many_as_asked_and_slower_by_as_much() -> None:
    found = steps(20, 3, compute={"seconds": 0.5}, stragglers={"share": 0.1, "slowdown": 10})
    assert sorted(found[:, 0]) == [0.5] * 18 + [5.0] * 2 and (found == found[:, :1]).all()
    assert [Stragglers(share=0.1).count(peers) for peers in (4, 16, 64)] == [1, 2, 6]


def test_groups__have_laws_and_factors_of_their_own() -> None:
    groups = [{"peers": [1], "slowdown": 4}, {"peers": [2], "compute": {"seconds": 7}}]
    assert steps(4, 1, compute={"seconds": 1}, groups=groups).ravel().tolist() == [1, 4, 7, 1]


def test_lognormal__barrier_of_16_peers_takes_2_55_mean_steps() -> None:
    """Oracle: E max / mean of 16 lognormal times of sigma 0.6, by the integral and as measured."""
    law = stats.lognorm(0.6)
    expected_max, _ = integrate.quad(lambda x: 1 - law.cdf(x) ** 16, 0, np.inf)
    expected = expected_max / math.exp(0.6**2 / 2)
    assert expected == pytest.approx(2.55, abs=0.005)
    found = steps(16, 4000, compute={"kind": "lognormal", "seconds": 0.05, "sigma": 0.6})
    error = 4 * found.max(axis=0).std() / 4000**0.5 / found.mean()
    assert found.max(axis=0).mean() / found.mean() == pytest.approx(expected, abs=error)


def test_trace__peers_take_devices_in_turn(tmp_path: Path) -> None:
    whole, fedscale = tmp_path / "own.csv", tmp_path / "fedscale.csv"
    whole.write_text("device,seconds\na,0.5\nb,1.5\n")
    fedscale.write_text("communication,computation\n1000,20\n2000,30\n")
    assert steps(3, 2, compute={"kind": "trace", "path": str(whole)}).tolist() == [[0.5] * 2, [1.5] * 2, [0.5] * 2]
    found = steps(2, 1, compute={"kind": "trace", "path": str(fedscale), "samples": 50})
    assert found.ravel().tolist() == [1.0, 1.5]
    found = steps(1, 3000, compute={"kind": "trace", "path": str(whole), "sigma": 0.3})
    assert stats.kstest(found.ravel(), stats.lognorm(0.3, scale=0.5).cdf).pvalue > 0.01


def test_trace__says_what_is_wrong(tmp_path: Path, told: "object") -> None:
    assert callable(told)
    path = tmp_path / "devices.csv"

    def message(text: str, samples: int | None = None) -> str:
        path.write_text(text)
        found = told(TraceCompute(path=path, samples=samples).factors, 4)
        assert isinstance(found, str)
        return found

    assert "samples: must be set" in message("computation\n20\n")
    assert "samples: must be left out" in message("seconds\n20\n", samples=3)
    assert "must have the column seconds or computation, got time" in message("time\n20\n")
    assert "row 2: seconds must be above 0, got 0" in message("seconds\n20\n0\n")
    assert "looks like milliseconds), got 20000" in message("seconds\n20000\n")
    assert "row 1: seconds must be a number, got 'x'" in message("seconds\nx\n")
    assert "at least one row below its header" in message("seconds\n")
    assert "cannot read" in str(told(TraceCompute(path=tmp_path / "no.csv").factors, 4))
