"""The measures by which cells are compared are those that a run's summary has."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, simulate
from coordinator.ablations.grids.measure_names import default_measures, known_measures, read_measures
from coordinator.ablations.runs.results_folder import scalars
from coordinator.experiment.config import ConfigError, RunConfig
from topologies.worlds.config import NetworkConfig


def _config(**evaluation: Any) -> RunConfig:
    return load_config(
        {
            "run": {"rounds": 2},
            "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
            "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
            "topology": {"kind": "ring"},
            "evaluation": {"probes": ["knn", "linear"], **evaluation},
            "hosting": {"pool": "in-process"},
            "tracking": {"enabled": False},
        }
    )


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("controls", [(), ("alone", "single-teacher")])
@pytest.mark.parametrize("supervised", [0.0, 1.0])
def test_known_measures__are_the_numbers_of_a_summary(
    tmp_path: Path, reset: bool, controls: tuple[str, ...], supervised: float
) -> None:
    config = _config(reset=reset, recalibrated=reset, controls=controls)
    exchange = config.exchange.model_copy(update={"supervised": supervised})
    config = config.model_copy(update={"exchange": exchange})
    row = scalars(simulate(config, tmp_path).summary)
    numbers = {name for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    numbers -= {f"probes.{probe}.interval_{end}" for probe in config.probe_names for end in ("low", "high")}
    known = known_measures(config)
    assert len({*known}) == len(known) and numbers <= {*known}
    assert {*known} - numbers <= {
        "topology.diameter",
        "topology.diameter_least",
        "topology.rounds_to",
        "topology.rounds_over",
        "topology.pooling_rounds_over",
    }


@pytest.mark.parametrize(
    ("control", "setting", "names"),
    [
        ("alone", {"controls": ["alone"]}, ["alone", "over_alone.mean", "over_alone.low"]),
        ("stranger", {"controls": ["stranger"]}, ["stranger", "over_stranger.high"]),
        ("alone-matched", {"controls": ["alone-matched"]}, ["alone_matched", "over_alone_matched.mean"]),
        ("reset", {"reset": True}, ["reset", "over_reset.mean", "reset_over_untrained.high"]),
        ("recalibrated", {"recalibrated": True}, ["recalibrated", "recalibrated_over_calibrated.mean"]),
    ],
)
def test_read_measures__controls_that_are_not_run_are_named(
    control: str, setting: dict[str, Any], names: list[str]
) -> None:
    asked = [f"probes.knn.{name}" for name in names]
    with pytest.raises(ConfigError) as refused:
        read_measures(asked, [_config()])
    key = "controls" if "controls" in setting else control
    needs = f"needs the control {control}: set evaluation.{key} = {json.dumps(setting[key])}"
    assert str(refused.value).splitlines() == [f"measures: '{name}' {needs}" for name in asked]
    assert read_measures(asked, [_config(), _config(**setting)]) == tuple(asked)  # where some cell runs it
    with pytest.raises(ConfigError, match=r"'probes\.sgd\.alone' is not in a run's summary"):
        read_measures(["probes.sgd.alone"], [_config(controls=["alone"])])


@pytest.mark.parametrize(
    "name",
    ["rounds_to.relative_distance.0.1", "bytes_to.js.0.5", "rounds_to.linear_gain.0.02", "bytes_to.knn_gain.0.1"],
)
def test_read_measures__targets_that_a_run_can_reach(name: str) -> None:
    assert read_measures([name], [_config(every=1, probe_every=1)]) == (name,)


@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        ("time_to.relative_distance.0.1", {"every": 1}, "needs virtual time: add a section [network], or measure "),
        ("rounds_to.relative_distance.1.5", {"every": 1}, "between 0 and 1, got 1.5"),
        ("rounds_to.relative_distance.half", {"every": 1}, "must end in a share of the value at round 0"),
        ("rounds_to.linear_gain.2", {"probe_every": 1}, "such as 0.02 for 2 points, between 0 and 1, got 2"),
        ("rounds_to.linear_gain.0.02", {}, "set evaluation.probe_every"),
        ("rounds_to.sgd_gain.0.02", {"probe_every": 1}, "needs the probe sgd: add it to evaluation.probes"),
        ("rounds_to.agreement.0.5", {"every": 1}, "is about what has no target"),
        ("rounds_to.relative_distanc.0.5", {"every": 1}, "did you mean 'relative_distance'?"),
        ("rounds_to.relative_distance.0.1", {"every": 20}, "lower evaluation.every"),
    ],
)
def test_read_measures__a_target_that_no_run_reaches_is_one_line(name: str, settings: Any, part: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_measures([name], [_config(**settings)])
    assert str(error.value).startswith(f"measures: '{name}' ") and part in str(error.value)
    assert "\n" not in str(error.value)


def test_known_measures__of_a_network_are_the_numbers_of_its_summary(tmp_path: Path) -> None:
    """Also of bandwidth, without which nothing waits for a link; the ages of gossip are in seconds only."""
    network = {"bandwidth": {"up": 1e4, "down": 1e4}, "churn": {"kind": "exponential", "up": 5.0, "down": 1.0}}
    config = _config(every=1)
    config = config.model_copy(update={"network": NetworkConfig.model_validate(network)})
    row = scalars(simulate(config, tmp_path).summary)
    found = {name for name, value in row.items() if name.startswith("network.")}
    found -= {name for name in found if isinstance(row[name], str | bool) or row[name] is None}
    assert found == {name for name in known_measures(config) if name.startswith("network.")}
    assert not [name for name in known_measures(_config()) if name.startswith("network.")]


def test_read_measures__virtual_time_to_a_target_needs_a_network() -> None:
    name = "time_to.relative_distance.0.1"
    config = _config(every=1).model_copy(update={"network": NetworkConfig()})
    assert read_measures([name], [_config(every=1), config]) == (name,)


def _grouped(**names: Any) -> RunConfig:
    config = _config(controls=["alone"])
    groups = [{"count": 2, **names}, {"count": 3}]
    peers = config.peers.model_validate({"model": {"kind": "mlp", "hidden": [8]}, "groups": groups})
    return config.model_copy(update={"peers": peers})


def test_known_measures__of_groups_and_distances_are_in_the_summary(tmp_path: Path) -> None:
    config = _grouped(name="good")
    row = scalars(simulate(config, tmp_path).summary)
    asked = ["groups.good.probes.knn.gain", "groups.1.probes.linear.over_alone.mean", "groups.1.hops.2.probes.knn.gain"]
    assert {*asked} <= {*known_measures(config)} & row.keys()
    assert {name for name in row if name.startswith("groups.")} <= {*known_measures(config)} | {
        name for name in row if name.endswith(("verdict", "controls.alone"))
    }
    assert read_measures(asked, [config]) == tuple(asked)


def test_default_measures__gains_of_groups_that_have_names() -> None:
    named, plain = (default_measures([config]) for config in (_grouped(name="good"), _grouped()))
    assert {*named} - {*plain} == {
        f"groups.{group}.probes.{probe}.{gain}"
        for group in ("good", "1")
        for probe in ("knn", "linear")
        for gain in ("gain", "over_alone.mean")
    }


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("groups.good.probes.knn.over_stranger.mean", "needs the control stranger"),
        ("groups.godo.probes.knn.gain", "did you mean 'groups.good.probes.knn.gain'"),
        ("groups.good.hops.9.probes.knn.gain", "is not in a run's summary"),
    ],
)
def test_read_measures__refuses_groups_and_distances_that_no_run_has(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_measures([name], [_grouped(name="good")])
    assert line in str(caught.value) and "\n" not in str(caught.value)
