"""Unequal peers in Ray actors: views, liars, private data, own terms and their control runs have the same bits."""

from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, simulate
from peers.learning.control import Control
from tests.coordinator.run.test_resume import assert_same

NAMES = ("digest", "probes", "controls", "pooling", "holdings", "consensus", "flags", "bytes_exchanged")


def table(small: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Four peers on a ring in two views, of which two draw; one lies; each learns of its own private data, too."""
    jitter = {"kind": "colour-jitter", "brightness": 0.4, "joint": True}
    groups = [{"name": sensor, "count": 2, "view": [jitter, sensor]} for sensor in ("left", "noisy")]
    liar = {"peers": [1], "attack": {"kind": "lma"}, "share": 0.7}
    network = {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}}
    found: dict[str, Any] = {
        **small,
        "run": {"rounds": 3},
        "data": {**small["data"], "partition": {"kind": "iid"}, "public": {"kind": "share", "share": 0.3}},
        "peers": {**network, "groups": groups, "adversaries": [liar]},
        "topology": {"kind": "ring", "self_weight": 0.3},
        "exchange": {"self_loss": 0.5, "aggregation": {"kind": "trimmed-mean"}, "memory": "expguard"},
        "evaluation": {**small["evaluation"], "controls": []},
    }
    return {**found, **{name: {**found.get(name, {}), **values} for name, values in sections.items()}}


def compare(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run it here, and in two actors of two peers each; the summary, of which the numbers named above are equal."""
    here = simulate(load_config(given), folder / "here")
    hosting = {"pool": "ray", "peers_per_host": 2, "cpus_per_peer": 0.25, "evaluators": 0, "side_runs": 0}
    there = simulate(load_config({**given, "hosting": hosting}), folder / "there")
    assert there.summary["status"] == "finished"
    assert_same(there, here)
    for name in NAMES:
        assert there.summary[name] == here.summary[name], name
    return dict(there.summary)


def test_pools__unequal_peers_have_the_same_bits(cluster: Any, small: dict[str, Any], tmp_path: Path) -> None:
    summary = compare(table(small), tmp_path)
    assert summary["liars"] == [1] and summary["pooling"]["lies_dropped"] is not None
    assert {*summary["groups"]} == {"left", "noisy"} and summary["holdings"]["private"] > 0


@pytest.mark.parametrize("delivery", ["per-edge", "shared-sum"])
def test_pools__lies_that_are_not_finite_reach_other_hosts(
    delivery: str, cluster: Any, small: dict[str, Any], tmp_path: Path
) -> None:
    given = table(small, topology={"kind": "complete", "self_weight": 0.3})
    given["peers"]["adversaries"] = [{"peers": [1], "attack": {"kind": "random", "sigma": 1e6}}]
    given["exchange"] = {"what": "logits", "dtype": "float16", "supervised": 0.5, "delivery": delivery}
    summary = compare(given, tmp_path)
    assert summary["pooling"]["lies_unusable"] == 3 * 3 and summary["not_finite"] == {}


@pytest.mark.slow
def test_pools__their_controls_have_the_same_bits(cluster: Any, small: dict[str, Any], tmp_path: Path) -> None:
    controls = [Control.IRRELEVANT, Control.PRIVATE_ONLY, Control.POOLED, Control.TRUTHFUL]
    other = {"kind": "synthetic", "num_train": 30, "num_test": 10}
    given = table(small, irrelevant=other, evaluation={"controls": [control.value for control in controls]})
    summary = compare(given, tmp_path)
    row = summary["probes"]["knn"]
    values = [row["trained"], *(row[control.replace("-", "_")] for control in controls)]
    assert all(value is not None for value in values) and len({*values}) > 2
