"""Networks in which nobody would hear anybody are refused before a run, by the setting that is to blame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.topologies.network.traces import scheduled, traced
from topologies.network.checks import check_trace
from topologies.worlds.config import NetworkConfig


def check(kind: str, num_peers: int = 4, rounds: int = 60, **network: Any) -> None:
    schedule = scheduled(kind, num_peers)
    check_trace(traced(schedule, **network), NetworkConfig(**network), schedule, rounds)


@pytest.mark.parametrize(
    ("field", "network"),
    [
        ("network.deadline", {"clock": "deadline", "deadline": 0.5, "latency": {"seconds": 0.6}}),
        ("network.max_age", {"clock": "free-running", "max_age": 1, "latency": {"seconds": 2.5}}),
        (
            "network.bandwidth",
            {
                "clock": "free-running",
                "compute": {"kind": "constant", "seconds": 0.001},
                "bandwidth": {"kind": "caps", "up": 1e3, "down": 1e3},
            },
        ),
    ],
)
def test_check_trace__names_what_keeps_peers_apart(
    field: str, network: dict[str, Any], told: Callable[..., str]
) -> None:
    assert told(check, "ring", **network).startswith(f"{field}: ")


def test_check_trace__churn_that_never_lets_two_meet(tmp_path: Path, told: Callable[..., str]) -> None:
    path = tmp_path / "online.csv"
    path.write_text("peer,start,end\n0,0,9\n1,10,19\n2,20,29\n3,30,39\n")
    told_of = told(check, "complete", rounds=30, churn={"kind": "trace", "path": path, "period": 40})
    assert told_of.startswith("network.churn: must let two peers be online at once")
    path.write_text("peer,start,end\n0,0,9\n1,10,19\n2,20,29\n3,25,39\n")
    check("complete", rounds=60, churn={"kind": "trace", "path": path, "period": 40})


def test_check_trace__gossip_on_directed_links(told: Callable[..., str]) -> None:
    for kind in ("one-peer-exponential", "exponential", "random"):
        assert told(check, kind, num_peers=8, clock="gossip").startswith(
            "network.clock: gossip must have links in both"
        )
    for kind in ("ring", "complete", "random-matching", "star"):
        check(kind, num_peers=8, clock="gossip")


@pytest.mark.parametrize("clock", ["synchronous", "neighbours", "free-running"])
def test_check_trace__nobody_is_meant_to_hear_anybody(clock: str) -> None:
    check("self", clock=clock)
    check("random-pair", num_peers=8, clock=clock, latency={"seconds": 0.5})
