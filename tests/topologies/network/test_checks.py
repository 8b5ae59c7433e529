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


def test_check_trace__all_leave_before_the_run_is_over(tmp_path: Path, told: Callable[..., str]) -> None:
    path = tmp_path / "online.csv"
    path.write_text("peer,start,end\n" + "".join(f"{peer},0,5\n" for peer in range(4)))
    network: dict[str, Any] = {"churn": {"kind": "trace", "path": path}}
    schedule = scheduled("ring", 4)
    trace, config = traced(schedule, **network), NetworkConfig(**network)
    text = told(check_trace, trace, config, schedule, 12, ends=True)
    assert text.startswith("network.churn: must leave somebody online for all 12 rounds, got nobody after round 4; ")
    check_trace(trace, config, schedule, 4, ends=True)


def test_check_trace__gossip_without_links(told: Callable[..., str]) -> None:
    assert told(check, "self", clock="gossip").startswith("network.clock: gossip must have links")


def test_check_trace__what_to_change_is_not_what_has_no_part_in_it(told: Callable[..., str]) -> None:
    far = told(check, "ring", clock="free-running", max_age=1000, latency={"seconds": 9}, rounds=5)
    assert far.startswith("network.latency: ")
    awake = told(check, "ring", clock="gossip", wake_every=1e-7, compute={"seconds": 10})
    assert awake.startswith("network.wake_every: ")
    late: dict[str, Any] = {"clock": "deadline", "deadline": 0.5, "late": "use", "max_age": 0}
    assert told(check, "ring", latency={"seconds": 0.6}, **late).endswith("or raise network.max_age")
