"""The `[network]` section: presets, what is left out, and one line for every mistake."""

import pathlib
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, create_model

from coordinator.experiment.errors import explain
from topologies.worlds.config import NetworkConfig
from topologies.worlds.presets import PRESETS

Root: type[BaseModel] = create_model("Root", network=(NetworkConfig, ...))


def line(**network: Any) -> str:
    """The one line about settings that are refused, as users see it."""
    table = {"network": network}
    with pytest.raises(ValidationError) as caught:
        Root.model_validate(table)
    (found,) = explain(caught.value, table, Root)
    assert "\n" not in found
    return found


def test_config__default_is_ideal_but_for_the_second_that_a_step_takes() -> None:
    network = NetworkConfig()
    kinds = [law.kind for law in (network.compute, network.latency, network.bandwidth, network.loss, network.churn)]
    assert kinds == ["constant", "constant", "none", "none", "none"]
    assert network.lock_step and network.stragglers.share == 0


@pytest.mark.parametrize("preset", ["", *PRESETS])
def test_config__what_is_resolved_reads_as_the_same(preset: str) -> None:
    network = NetworkConfig.model_validate({"preset": preset})
    table = network.model_dump(mode="json", exclude_none=True)
    assert NetworkConfig.model_validate(table) == network
    for key, section in PRESETS.get(preset, {}).items():
        assert getattr(network, key) == section


def test_config__preset_fills_only_what_is_left_out() -> None:
    network = NetworkConfig.model_validate(
        {"preset": "phones", "compute": {"sigma": 0.2}, "bandwidth": {"up": 1e6, "down": 2e6}, "loss": {"kind": "none"}}
    )
    assert network.compute.model_dump() == {"kind": "lognormal", "seconds": 0.5, "sigma": 0.2, "node_sigma": 0.6}
    assert network.bandwidth.model_dump() == {"kind": "caps", "up": 1e6, "down": 2e6}
    assert network.loss.kind == "none" and network.churn.kind == "diurnal"


@pytest.mark.parametrize(
    ("key", "table", "kind"),
    [
        ("compute", {"seconds": 2}, "constant"),
        ("latency", {"seconds": 0.1}, "constant"),
        ("bandwidth", {"up": 1e6, "down": 1e6}, "caps"),
        ("loss", {"probability": 0.1}, "bernoulli"),
        ("churn", {"up": 10, "down": 1}, "exponential"),
    ],
)
def test_config__kind_may_be_left_out(key: str, table: dict[str, float], kind: str) -> None:
    assert getattr(NetworkConfig.model_validate({key: table}), key).kind == kind
    group = NetworkConfig.model_validate({"groups": [{"peers": [0], key: table}]}).groups[0]
    assert getattr(group, key).kind == kind


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"latency": {"seconds": 80}}, r"network\.latency\.seconds: must be at most 10 seconds .*write 0\.08\), got 80"),
    ({"latency": {"seconds": -0.1}}, r"network\.latency\.seconds: must be at least 0 .*got -0\.1"),
    ({"latency": {"kind": "pareto", "seconds": 0.004}}, r"network\.latency\.seconds: must be above 0\.005"),
    ({"latency": {"kind": "regions"}}, r"network\.latency\.regions: missing"),
    ({"latency": {"kind": "regions", "regions": []}}, r"network\.latency\.regions: must name at least one region"),
    ({"compute": {"seconds": 5000}}, r"network\.compute\.seconds: must be at most an hour .*write 5\), got 5000"),
    ({"compute": {"seconds": -1}}, r"network\.compute\.seconds: must be at least 0"),
    ({"compute": {"kind": "lognormal", "sigma": -1}}, r"network\.compute\.sigma: must be .*got -1"),
    ({"bandwidth": {"up": 20, "down": 1e6}}, r"network\.bandwidth\.up: must be at least 1,000 .*2\.5e\+06.*got 20"),
    ({"bandwidth": {"up": 1e6, "down": 0}}, r"network\.bandwidth\.down: must be above 0 bytes a second .*got 0"),
    ({"bandwidth": {"up": 1e6}}, r"network\.bandwidth\.down: missing"),
    (
        {"bandwidth": {"kind": "home-links"}},
        r"network\.bandwidth: kind home-links needs network\.latency of kind regions",
    ),
    (
        {"loss": {"probability": 1}},
        r"network\.loss\.probability: must be from 0 to below 1, got 1; .*ever arrive; lower",
    ),
    ({"loss": {"probability": -0.1}}, r"network\.loss\.probability: must be from 0 to below 1, got -0\.1; raise it"),
    (
        {"loss": {"kind": "gilbert-elliott", "p": 0.1, "r": 0}},
        r"network\.loss\.r: must be above 0, got 0, .*; set it to",
    ),
    (
        {"loss": {"kind": "gilbert-elliott", "p": 0.1, "r": 0.5, "good": 1.0}},
        r"network\.loss\.bad: .*got 1; no message",
    ),
    ({"loss": {"kind": "gilbert-elliott", "p": 1, "r": 1}}, r"network\.loss\.p: .*must not both be 1.*lower one"),
    ({"churn": {"up": 0, "down": 1}}, r"network\.churn\.up: must be above 0 seconds, got 0; raise it"),
    ({"churn": {"up": 10, "down": -1}}, r"network\.churn\.down: must be above 0 seconds, got -1; raise it"),
    ({"churn": {"kind": "diurnal", "low": 0.9, "high": 0.2}}, r"network\.churn\.low: must be at most .*0\.2, got 0\.9"),
    (
        {"churn": {"kind": "outage", "region": "a", "start": 1, "seconds": 5, "every": 5}},
        r"network\.churn\.every: must",
    ),
    (
        {"churn": {"kind": "outage", "region": "a", "start": 1, "seconds": 5}},
        r"network\.churn: kind outage needs network\.l",
    ),
    ({"churn": {"kind": "weekly"}}, r"network\.churn\.kind: 'weekly' is not a kind"),
    ({"stragglers": {"share": 1.5}}, r"network\.stragglers\.share: must be"),
    ({"stragglers": {"slowdown": 0.5}}, r"network\.stragglers\.slowdown: must be"),
    ({"clock": "deadline"}, r"network\.deadline: must be set with network\.clock = deadline, got nothing; set"),
    ({"deadline": 2.0}, r"network\.deadline: must be left out with network\.clock = neighbours, got 2\.0; it is for"),
    ({"clock": "gossip", "deadline": 2.0}, r"network\.deadline: must be left out"),
    (
        {"late": "use"},
        r"network\.late: must be left out with network\.clock = neighbours, got use; it is for clock = d",
    ),
    ({"wake_every": 3}, r"network\.wake_every: must be left out .*it is for clock = gossip"),
    ({"max_age": 3}, r"network\.max_age: must be left out"),
    ({"clock": "deadline", "deadline": 1, "max_age": 3}, r"network\.max_age: must be left out .*late = use"),
    ({"round_seconds": 3}, r"network\.round_seconds: must be left out"),
    (
        {"clock": "free-running", "compute": {"seconds": 0}},
        r"network\.compute\.seconds: must be above 0 .*got 0, .*; raise",
    ),
    ({"clock": "lockstep"}, r"network\.clock: must be .*got 'lockstep'"),
    ({"groups": [{"peers": [1, 1]}]}, r"network\.groups\[0\]\.peers: .*got peer 1 twice; remove"),
    (
        {"groups": [{"peers": [0]}, {"peers": [2, 0]}]},
        r"network\.groups\[1\]\.peers: .*got peer 0 and network\.groups\[0\]",
    ),
    ({"groups": [{"peers": []}]}, r"network\.groups\[0\]\.peers: must"),
    ({"groups": [{"peers": [0], "region": "eu-west-1"}]}, r"network\.groups: region eu-west-1 needs network\.latency"),
    (
        {"groups": [{"peers": [0], "compute": {"seconds": 9999}}]},
        r"network\.groups\[0\]\.compute\.seconds: must be at most",
    ),
    ({"latncy": {}}, r"network\.latncy: no such key; did you mean 'latency'"),
]


@pytest.mark.parametrize(("network", "expected"), MISTAKES)
def test_config__one_line_for_each_mistake(network: dict[str, Any], expected: str) -> None:
    assert re.search(f"^{expected}", line(**network)), line(**network)


def test_config__settings_of_a_clock_are_taken_with_it() -> None:
    for network in (
        {"clock": "deadline", "deadline": 1, "late": "use", "max_age": 3, "round_seconds": 2},
        {"clock": "free-running", "max_age": 3},
        {"clock": "gossip", "wake_every": 3, "compute": {"seconds": 0}},
    ):
        assert not NetworkConfig.model_validate(network).lock_step


def test_config__path_is_a_path() -> None:
    network = NetworkConfig.model_validate({"latency": {"kind": "file", "path": "ping.csv"}})
    assert network.latency.path == pathlib.Path("ping.csv")
    assert network.model_dump(mode="json")["latency"]["path"] == "ping.csv"
