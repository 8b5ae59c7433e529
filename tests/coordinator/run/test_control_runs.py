"""Control runs: what they did is recorded, they survive a kill anywhere, and idle ones give no verdict."""

from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, resume, simulate
from coordinator.measures.verdict import Verdict
from coordinator.records.events import ControlVoid, RoundCompleted, RunEvent
from coordinator.scheduling.scheduler import Phase
from peers.learning.control import Control
from tests.coordinator.run.test_resume import assert_same, killed_before, run

ALL = [control.value for control in Control]


def everything(summary: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(summary[name] for name in ("probes", "controls", "flags", "consensus", "digest", "bytes_exchanged"))


def with_all(small: dict[str, Any]) -> dict[str, Any]:
    """What each of the controls needs: private data, somebody who lies, another data set, terms of one's own."""
    partition = {"partition": {"kind": "iid"}, "public": {"kind": "share", "share": 0.3}}
    lies = {"adversaries": [{"peers": [2], "attack": {"kind": "sign-flip"}}]}
    return {
        **small,
        "data": {**small["data"], **partition},
        "irrelevant": {"kind": "synthetic", "num_train": 30, "num_test": 10},
        "peers": {**small["peers"], **lies},
        "exchange": {"self_loss": 0.5},
    }


def test_simulate__every_control_takes_the_steps_of_the_run(small: dict[str, Any], tmp_path: Path):
    small = with_all(small)
    table = {**small, "evaluation": {**small["evaluation"], "controls": ALL}}
    told = list[RunEvent]()

    class Keeping:
        def observe(self, event: RunEvent) -> None:
            told.append(event)

    result = simulate(load_config(table), tmp_path, [Keeping()])
    summary, row = result.summary, result.summary["probes"]["knn"]
    assert list(summary["controls"]) == ["exchange", *ALL]
    assert {training["steps"] for training in summary["controls"].values()} == {8.0}
    assert all(training["relative_weight_change"] > 0 for training in summary["controls"].values())
    for control in Control:
        name = control.replace("-", "_")
        assert row[f"over_{name}"]["mean"] == pytest.approx(row["trained"] - row[name]) and name in row["controls"]
        rounds = [each for each in told if isinstance(each, RoundCompleted) and each.phase is Phase(control.value)]
        assert [each.completed for each in rounds] == list(range(1, 9))
    norms = {name: training["first_gradient_norm"] for name, training in summary["controls"].items()}
    assert norms["alone-matched"] == norms["alone"] != norms["exchange"]  # as it is before it is scaled
    without = simulate(load_config(small), tmp_path / "alone").summary
    assert without["digest"] == summary["digest"] and without["probes"]["knn"]["alone"] == row["alone"]


def test_simulate__alone_matched_takes_steps_of_the_runs_size(small: dict[str, Any], tmp_path: Path):
    """By plain SGD in a single round: the weights move by the learning rate times the gradient's norm."""
    table = {**small, "run": {"rounds": 1}, "peers": {**small["peers"], "optimizer": {"kind": "sgd", "lr": 0.1}}}
    table["evaluation"] = {**small["evaluation"], "controls": ["alone", "alone-matched"]}
    controls = simulate(load_config(table), tmp_path).summary["controls"]
    moved = {name: training["relative_weight_change"] for name, training in controls.items()}
    assert moved["alone-matched"] == pytest.approx(moved["exchange"], rel=1e-4)
    assert moved["alone"] != pytest.approx(moved["exchange"], rel=1e-2)


@pytest.mark.parametrize("nth", [20, 31, 44, 45], ids=["in alone", "in shuffled", "in matched", "before a save"])
def test_resume__after_a_kill_in_any_control_nothing_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int):
    evaluation = {"controls": ["alone", "shuffled", "alone-matched"]}
    straight = run(tmp_path / "straight", evaluation=evaluation)
    with killed_before(monkeypatch, "advance", nth):
        run(tmp_path / "killed", evaluation=evaluation)
    (folder,) = (tmp_path / "killed").iterdir()
    resumed = resume(folder)
    assert_same(resumed, straight)
    assert everything(resumed.summary) == everything(straight.summary)


@pytest.mark.slow
@pytest.mark.parametrize("nth", [13, 21, 29, 37], ids=["in irrelevant", "in private-only", "in pooled", "in truthful"])
def test_resume__after_a_kill_in_a_control_of_unequal_peers_nothing_differs(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
):
    controls = {"controls": ["irrelevant", "private-only", "pooled", "truthful"], "buffers": "recalibrated"}
    table = {**with_all(small), "evaluation": {**small["evaluation"], **controls}, "checkpoint": {"every": 3}}
    straight = simulate(load_config(table), tmp_path / "straight")
    with killed_before(monkeypatch, "advance", nth):
        simulate(load_config(table), tmp_path / "killed")
    (folder,) = (tmp_path / "killed").iterdir()
    resumed = resume(folder)
    assert_same(resumed, straight)
    assert everything(resumed.summary) == everything(straight.summary)


@pytest.mark.parametrize(
    ("exchange", "idle"),
    [
        ({"loss": {"kind": "mse"}, "target": {"kind": "none"}}, True),
        ({"loss": {"kind": "kl"}, "target": {"kind": "none"}, "refresh_every": 0}, True),
        ({"loss": {"kind": "kl", "temperature": 0.1}, "target": {"kind": "none"}}, False),  # a sharper student
        ({"loss": {"kind": "cross-entropy", "temperature": 0.1}, "target": {"kind": "sinkhorn"}}, False),
    ],
    ids=["mse", "never renewed, equal temperatures", "unequal temperatures", "balanced"],
)
def test_simulate__peers_alone_without_a_gradient_give_no_verdict(
    small: dict[str, Any], tmp_path: Path, exchange: dict[str, Any], idle: bool
):
    evaluation = {**small["evaluation"], "controls": ["alone", "shuffled"]}
    summary = simulate(load_config({**small, "exchange": exchange, "evaluation": evaluation}), tmp_path).summary
    verdicts = summary["probes"]["knn"]["controls"]
    assert (summary["controls"]["alone"]["void"] == "idle") is idle is ("alone-idle" in summary["flags"])
    assert (verdicts["alone"] == Verdict.NONE) is idle and verdicts["shuffled"] != Verdict.NONE
    assert summary["controls"]["shuffled"]["void"] == ""


def test_simulate__a_control_that_diverges_is_void_and_the_others_are_not(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Shuffled messages of a peer become infinite; alone goes on as ever."""
    from peers.learning import replacement

    monkeypatch.setattr(replacement, "permuted", lambda outputs, *_: outputs * float("inf"))
    told = list[RunEvent]()

    class Keeping:
        def observe(self, event: RunEvent) -> None:
            told.append(event)

    evaluation = {**small["evaluation"], "controls": ["shuffled", "alone"]}
    summary = simulate(load_config({**small, "evaluation": evaluation}), tmp_path, [Keeping()]).summary
    assert summary["status"] == "finished" and "control-not-finite" in summary["flags"]
    assert [each.phase for each in told if isinstance(each, ControlVoid)] == [Phase.SHUFFLED]
    assert summary["controls"]["shuffled"]["not_finite"] == [0, 1, 2]
    verdicts = summary["probes"]["knn"]["controls"]
    assert verdicts["shuffled"] == Verdict.NONE != verdicts["alone"]
    assert summary["controls"]["shuffled"]["void"] == "diverged" and "over_shuffled" not in summary["probes"]["knn"]


def test_load_config__a_control_stands_once(small: dict[str, Any]):
    with pytest.raises(ValueError, match=r"^evaluation.controls has 'alone' twice: remove one$"):
        load_config({**small, "evaluation": {"controls": ["alone", "stranger", "alone"]}})
