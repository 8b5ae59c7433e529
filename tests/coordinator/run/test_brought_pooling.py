"""Rules of pooling from Python, and rules and attacks by name: the same run, and refused if they are others."""

import copy
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from coordinator import load_config, resume, simulate
from coordinator.experiment.config import ConfigError


def middle(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    return messages.median(dim=0).values


def last(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    return messages[-1]


def table(small: dict[str, Any], **exchange: Any) -> dict[str, Any]:
    """Four peers, each of which hears the three others, among them a liar."""
    found = copy.deepcopy(small)
    found["peers"] |= {"count": 4, "adversaries": [{"peers": [3], "attack": {"kind": "sign-flip"}}]}
    found["exchange"] = exchange
    found["run"] = {"rounds": 3}
    return found | {"topology": {"kind": "complete"}, "evaluation": {"probes": ["knn"], "probe_batch": 20}}


def test_rule__from_python_is_the_same_rule_by_name(small: dict[str, Any], tmp_path: Path) -> None:
    """Of three messages, the entry in the middle is the median of the package."""
    given = simulate(load_config(table(small)), tmp_path / "given", aggregation=middle)
    named = simulate(load_config(table(small, aggregation={"kind": "median"})), tmp_path / "named")
    assert given.summary["digest"] == named.summary["digest"]
    assert "its aggregation was given from Python" in (given.folder / "config.toml").read_text()
    with pytest.raises(ConfigError, match=r"^aggregation: must be what the run was given \('middle'"):
        resume(given.folder, rounds=10, aggregation=last)


def test_attack__by_name_is_known_again_by_its_digest(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_lies.py").write_text("def lie(own, honest):\n    return -honest.mean(dim=0)\n")
    lying = table(small)
    lying["peers"]["adversaries"] = [{"peers": [3], "attack": {"kind": "import", "target": "my_lies:lie"}}]
    run = simulate(load_config(lying), tmp_path / "runs")
    lying["peers"]["adversaries"] = [{"peers": [3], "attack": {"kind": "ipm", "epsilon": 1.0}}]
    assert simulate(load_config(lying), tmp_path / "runs").summary["digest"] == run.summary["digest"]
    kept = load_config(run.folder / "config.toml")
    digest = kept.peers.adversaries[0].attack.digest
    assert len(digest) == 64
    changed = kept.model_dump(mode="json", exclude_none=True)
    changed["peers"]["adversaries"][0]["attack"]["digest"] = "0" * 64
    with pytest.raises(ConfigError, match=r"^peers\.adversaries\.attack 'my_lies:lie': is not the code that the run"):
        simulate(load_config(changed), tmp_path / "runs")
