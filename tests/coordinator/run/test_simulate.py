"""A whole run in this process: what it says about learning, what it leaves, and how it ends early."""

import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from coordinator import Result, load_config, simulate
from coordinator.experiment.config import to_table
from coordinator.records.events import Note, RoundCompleted, RunEvent
from coordinator.reports.result import print_result
from peers.learning.peer import Peer

METRICS = ("rounds", "bytes_exchanged", "probes", "flags", "consensus", "relative_weight_change", "digest")


def run(tmp_path: Path, *observers: Any, **sections: Any) -> Result:
    table: dict[str, Any] = {
        "run": {"rounds": 12, "seed": 2},
        "data": {"kind": "synthetic", "num_train": 160, "num_test": 80, "batch_size": 32},
        "peers": {
            "count": 3,
            "model": {"kind": "small-cnn", "channels": [8, 16]},
            "head": {"kind": "linear", "dim": 8},
            "optimizer": {"kind": "adam", "lr": 1e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"every": 4, "probe_batch": 40, "probes": ["knn", "linear"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    merged = {name: {**table.get(name, {}), **values} for name, values in sections.items()}
    if "kind" in sections.get("data", {}):  # another kind has other keys
        merged["data"] = sections["data"]
    return simulate(load_config({**table, **merged}), tmp_path, observers)


@pytest.mark.figures
def test_simulate__the_folder_holds_the_run_and_starts_it_again(tmp_path: Path):
    first = run(tmp_path / "a", evaluation={"every": 5, "probe_every": 5})
    again = simulate(load_config(first.folder / "config.toml"), tmp_path / "b")
    for name in METRICS:
        assert first.summary[name] == again.summary[name], name
    assert json.loads((first.folder / "summary.json").read_text())["digest"] == first.summary["digest"]
    config = tomllib.loads((first.folder / "config.toml").read_text())
    assert config == first.summary["config"] == to_table(load_config(config))
    rounds = pq.read_table(first.folder / "metrics" / "rounds.parquet").to_pylist()
    assert [row["round"] for row in rounds] == list(range(13))
    assert [row["round"] for row in rounds if row["agreement"] is not None] == [0, 5, 10, 12]
    assert rounds[-1]["bytes_so_far"] == first.summary["bytes_exchanged"] == 12 * 6 * 32 * 8 * 4
    peers = pq.read_table(first.folder / "metrics" / "peers.parquet").to_pylist()
    probed = [(row["round"], row["peer"]) for row in peers if row["knn_accuracy"] is not None]
    assert probed == [(t, peer) for t in (5, 10, 12) for peer in range(3)]
    edges = pq.read_table(first.folder / "metrics" / "edges.parquet").to_pylist()
    links = {(row["student"], row["teacher"]) for row in edges}
    assert links == {(i, j) for i in range(3) for j in range(3) if i != j}
    assert {row["round"] for row in edges} == {0, 5, 10, 12}
    assert all(row["weight"] == pytest.approx(0.5) for row in edges)
    for name in ("topology.png", "consensus.png"):
        assert (first.folder / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_simulate__agreement_grows_and_the_numbers_hang_together(tmp_path: Path):
    summary = run(tmp_path, run={"rounds": 40, "seed": 2}).summary
    consensus = summary["consensus"]
    assert consensus["relative_distance"]["last"] < 0.7 * consensus["relative_distance"]["first"]
    assert consensus["weight_change"]["first"] == 0 < consensus["weight_change"]["last"]
    assert consensus["weight_change"]["last"] == summary["relative_weight_change"]
    for row in summary["probes"].values():
        assert row["gain"] == pytest.approx(row["trained"] - row["calibrated"])
        assert row["interval"][0] <= row["gain"] <= row["interval"][1]
        assert row["over_untrained"]["mean"] == pytest.approx(row["trained"] - row["untrained"])


def test_simulate__the_papers_learning_rate_is_flagged_as_an_artefact(tmp_path: Path):
    """At 1e-8 no weight moves noticeably; the paper's probe gains all the same, by BatchNorm's buffers alone."""
    summary = run(
        tmp_path,
        run={"rounds": 60, "seed": 0},
        data={"kind": "digits", "batch_size": 32},
        peers={
            "head": {"kind": "none"},
            "optimizer": {"kind": "adam", "lr": 1e-8},
            "model": {"kind": "small-cnn", "channels": [16, 32, 64]},
        },
        topology={"kind": "random-pair"},
        exchange={"what": "features", "target": {"kind": "none"}, "loss": {"kind": "salient"}},
        evaluation={"every": 20, "probes": ["knn", "linear", "sgd"]},
    ).summary
    assert summary["relative_weight_change"] < 1e-6
    assert summary["flags"] == ["artefact"]
    sgd = summary["probes"]["sgd"]
    assert sgd["over_untrained"]["low"] > 0.05 and "verdict" not in sgd
    assert summary["probes"]["linear"]["verdict"] == summary["probes"]["knn"]["verdict"] == "not distinguishable"


def test_simulate__without_steps_the_trained_are_the_calibrated_exactly(tmp_path: Path):
    """The calibrated control is the run less its steps: same batches, flips, and number of forward passes.

    So is the control "alone", on a sparse topology too, where most peers only teach.
    """
    result = run(
        tmp_path,
        data={"flip": True},
        peers={"optimizer": {"kind": "sgd", "lr": 1e-30}},
        topology={"kind": "random-pair"},
        evaluation={"every": 4, "probe_batch": 40, "probes": ["knn", "linear", "sgd"], "controls": ["alone"]},
    )
    assert result.summary["relative_weight_change"] < 1e-20
    for row in result.summary["probes"].values():
        assert row["trained"] == row["calibrated"] == row["alone"] and row["interval"] == [0, 0]
    assert result.summary["probes"]["sgd"]["untrained"] != result.summary["probes"]["sgd"]["trained"]


def test_simulate__without_batchnorm_untrained_is_calibrated(tmp_path: Path):
    probes = run(tmp_path, peers={"norm": "layer"}).summary["probes"]
    assert all(row["untrained"] == row["calibrated"] for row in probes.values())


def test_simulate__alone_on_topology_self_is_the_same_run(tmp_path: Path):
    """Where every peer already is its own teacher, the control repeats the run: no difference, exactly."""
    evaluation = {"every": 4, "probe_batch": 40, "probes": ["knn", "linear"], "controls": ["alone"]}
    probes = run(tmp_path, topology={"kind": "self"}, evaluation=evaluation).summary["probes"]
    for row in probes.values():
        assert row["alone"] == row["trained"]
        assert row["over_alone"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        assert row["controls"] == {"alone": "no difference"}


def test_simulate__alone_equals_a_run_on_topology_self(tmp_path: Path):
    evaluation = {"every": 4, "probe_batch": 40, "probes": ["knn", "linear"]}
    ring = run(tmp_path / "ring", evaluation=evaluation | {"controls": ["alone"]}).summary
    own = run(tmp_path / "self", topology={"kind": "self"}, evaluation=evaluation).summary
    without = run(tmp_path / "without", evaluation=evaluation).summary
    for name in ("knn", "linear"):
        assert ring["probes"][name]["alone"] == own["probes"][name]["trained"]
        assert ring["probes"][name]["trained"] == without["probes"][name]["trained"]
    assert ring["digest"] == without["digest"]


def test_simulate__frozen_peers_do_not_move_and_are_not_counted(tmp_path: Path):
    result = run(tmp_path, peers={"frozen": [0]}, topology={"kind": "star"})
    rows = pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist()
    last = {row["peer"]: row for row in rows if row["round"] == 12}
    assert last[0]["weight_change"] == 0 and last[0]["loss"] is None
    assert last[1]["weight_change"] > 0 and last[1]["loss"] is not None
    mean = (last[1]["knn_accuracy"] + last[2]["knn_accuracy"]) / 2
    assert result.summary["probes"]["knn"]["trained"] == pytest.approx(mean)


def test_simulate__a_diverging_run_stops_with_round_peer_and_checkpoint(tmp_path: Path):
    result = run(
        tmp_path,
        run={"rounds": 12, "seed": 2},
        peers={"optimizer": {"kind": "sgd", "lr": 1e30}, "norm": "none"},
        checkpoint={"every": 1},
    )
    assert result.status == result.summary["status"] == "stopped"
    assert result.message.startswith("round 2, peer 0: outputs are not finite")
    assert "no checkpoint" in result.message or "checkpoint is of round" in result.message
    assert result.summary["rounds"] == 1 and result.summary["flags"] == []
    assert json.loads((result.folder / "summary.json").read_text())["message"] == result.message
    assert pq.read_table(result.folder / "metrics" / "rounds.parquet").num_rows == 2
    saved = result.folder / "checkpoints"
    assert not saved.exists() or not list(saved.glob("round-*"))  # the state after round 1 is not a good one


def poison(monkeypatch: pytest.MonkeyPatch, peer: int, round_index: int) -> None:
    """Make one peer's loss nan in one round."""
    original = Peer._loss

    def loss(self: Peer, tasks: Any) -> Any:
        value = original(self, tasks)
        return value * float("nan") if (self.index, tasks[0].pending.round_index) == (peer, round_index) else value

    monkeypatch.setattr(Peer, "_loss", loss)


def test_simulate__the_last_good_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    poison(monkeypatch, peer=2, round_index=7)
    result = run(tmp_path, checkpoint={"every": 3, "seconds": 0})
    assert result.message.startswith("round 8, peer 2: the loss is nan; the last good checkpoint is of round 6")
    assert sorted(path.name for path in (result.folder / "checkpoints").glob("round-*")) == [
        "round-000003",
        "round-000006",
    ]


def test_simulate__drop_peer_goes_on_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    poison(monkeypatch, peer=2, round_index=4)
    result = run(tmp_path, run={"rounds": 12, "seed": 2, "on_nonfinite": "drop-peer"})
    summary = result.summary
    assert (result.status, summary["rounds"]) == ("finished", 12)
    assert summary["not_finite"] == {"2": {"round": 5, "reason": "the loss is nan"}}
    assert summary["flags"] == ["dropped-peers"]
    rows = pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist()
    assert [row["round"] for row in rows if row["peer"] == 2 and row["loss"] is not None] == [1, 2, 3, 4]
    assert [row["round"] for row in rows if row["peer"] == 1 and row["loss"] is not None] == list(range(1, 13))
    bytes_per_round = pq.read_table(result.folder / "metrics" / "rounds.parquet").to_pylist()
    message = 32 * 8 * 4
    assert [row["bytes"] for row in bytes_per_round[1:]] == [6 * message] * 5 + [4 * message] * 7
    final = [row for row in rows if row["round"] == 12 and row["rankme"] is not None]
    assert [row["peer"] for row in final] == [0, 1]


def test_simulate__interrupted_says_what_was_done(tmp_path: Path):
    class Impatient:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted) and event.completed == 7:
                raise KeyboardInterrupt

    result = run(tmp_path, Impatient())
    assert result.status == "interrupted"
    where = "in the rounds, with round 7 of 12 completed"
    assert result.message == f"{where}; go on with: peer-consensus resume {result.folder}"
    assert result.summary["rounds"] == 7
    assert "trained" not in result.summary["probes"]["knn"] and "calibrated" in result.summary["probes"]["knn"]
    assert pq.read_table(result.folder / "metrics" / "rounds.parquet").num_rows == 8


def test_simulate__a_peer_that_never_studies_is_not_counted(tmp_path: Path):
    """Peer 0 only teaches, by the file's edges: its gain of exactly 0 would dilute the others'."""
    (tmp_path / "edges.csv").write_text("student,teacher\n1,0\n2,0\n")
    result = run(tmp_path, topology={"kind": "file", "path": str(tmp_path / "edges.csv")})
    last = [row for row in pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist() if row["round"] == 12]
    assert [row["weight_change"] > 0 for row in last] == [False, True, True]
    assert result.summary["relative_weight_change"] == pytest.approx(sum(row["weight_change"] for row in last) / 2)
    mean = sum(row["knn_accuracy"] for row in last[1:]) / 2
    assert result.summary["probes"]["knn"]["trained"] == pytest.approx(mean)


def test_simulate__a_control_alone_that_diverges_gives_no_verdict_on_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = Peer._loss

    def loss(self: Peer, tasks: Any) -> Any:
        value = original(self, tasks)
        return value * float("nan") if len(tasks[0].teachers) == 1 and self.index == 1 else value  # itself

    monkeypatch.setattr(Peer, "_loss", loss)
    evaluation = {"every": 4, "probe_batch": 40, "probes": ["knn"], "controls": ["alone"]}
    summary = run(tmp_path, evaluation=evaluation).summary
    assert summary["status"] == "finished" and summary["flags"] == ["control-not-finite"]
    assert "exchange" not in summary["probes"]["knn"] and "verdict" in summary["probes"]["knn"]


def test_simulate__only_students_count_for_collapse(tmp_path: Path):
    """Three frozen peers that keep their features must not hide that the only student lost its own."""
    result = run(
        tmp_path,
        run={"rounds": 40, "seed": 0},
        peers={
            "count": 4,
            "model": {"kind": "mlp", "hidden": [32]},
            "norm": "none",
            "optimizer": {"kind": "sgd", "lr": 1.0, "weight_decay": 0.9},
            "frozen": [1, 2, 3],
        },
        topology={"kind": "complete"},
    )
    assert result.summary["flags"] == ["collapsed"]


def test_simulate__one_survivor_still_gets_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With one peer left there is no consensus to measure: the summary and the table do without."""
    poison(monkeypatch, peer=1, round_index=3)
    result = run(tmp_path, run={"rounds": 12, "seed": 2, "on_nonfinite": "drop-peer"}, peers={"count": 2})
    assert result.status == "finished" and "relative_distance" not in result.summary["consensus"]
    console = Console(file=io.StringIO(), width=160)
    print_result(result, console)
    assert "flag dropped-peers: values that are not finite in peer 1" in console.file.getvalue()  # type: ignore[attr-defined]


def test_simulate__drop_peer_keeps_every_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    poison(monkeypatch, peer=2, round_index=4)
    result = run(
        tmp_path, run={"rounds": 8, "seed": 2, "on_nonfinite": "drop-peer"}, checkpoint={"every": 1, "keep": 8}
    )
    folders = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert folders == [f"round-{completed:06d}" for completed in range(1, 9)]


def test_simulate__interrupted_before_anything_was_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def impatient(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["coordinator.run.simulate"], "Tracker", impatient)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_simulate__a_last_step_to_infinity_is_not_a_result(tmp_path: Path):
    result = run(
        tmp_path, run={"rounds": 1, "seed": 0}, peers={"optimizer": {"kind": "sgd", "lr": 1e38}, "norm": "none"}
    )
    assert result.status == "stopped" and result.message.startswith("round 1, peer 0: ")
    assert "not finite" in result.message


def test_simulate__an_unexpected_error_leaves_the_numbers_and_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: Peer, tasks: Any) -> Any:
        if tasks[0].pending.round_index == 5:
            raise ZeroDivisionError("a defect")
        return original(self, tasks)

    original = Peer._loss
    monkeypatch.setattr(Peer, "_loss", fail)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path)
    (folder,) = tmp_path.glob("run-*")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "stopped" and summary["message"] == "in the rounds: ZeroDivisionError: a defect"
    assert pq.read_table(folder / "metrics" / "rounds.parquet").num_rows == summary["rounds"] + 1 >= 3


def test_simulate__interrupted_while_closing_keeps_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def impatient(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coordinator.figures.run.save", impatient)
    result = run(tmp_path)
    assert (result.status, result.summary["status"]) == ("interrupted", "finished")
    assert "verdict" in result.summary["probes"]["knn"] and result.message.startswith("the numbers are written; ")


@pytest.mark.parametrize("channels", [1, 3])
def test_simulate__vectorised_peers_have_one_layout(channels: int, tmp_path: Path):
    """Images of one channel are contiguous in both, by torch's word."""
    data = {"kind": "synthetic", "shape": [channels, 8, 8], "num_train": 160, "num_test": 80, "batch_size": 32}
    found = {
        (execution, layout): run(
            tmp_path / execution / layout,
            run={"rounds": 3},
            data=data,
            evaluation={"probes": []},
            hosting={"execution": execution, "layout": layout},
        ).summary["digest"]
        for execution in ("loop", "vectorised")
        for layout in ("contiguous", "by-rule")
    }
    assert found["vectorised", "contiguous"] == found["vectorised", "by-rule"]
    assert found["loop", "contiguous"] != found["loop", "by-rule"]


def test_simulate__what_was_timed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told: list[str] = []

    def note(event: object) -> None:
        if isinstance(event, Note):
            told.append(event.text)

    result = run(tmp_path, note, run={"rounds": 1}, hosting={"layout": "auto"})
    (line,) = (text for text in told if text.startswith("hosting.layout = 'auto': "))
    layout = result.config.hosting.layout
    assert line.endswith(f"'auto': {layout}, the fastest here, as remembered in {tmp_path}/cache/peer-consensus/ways")
    assert layout in ("contiguous", "channels-last") and list((tmp_path / "cache").rglob("*.json"))


def test_simulate__mixed_groups_learn_together(tmp_path: Path):
    groups = [
        {"count": 2, "model": {"kind": "mlp", "hidden": [16]}, "norm": "none"},
        {"count": 1, "model": {"kind": "small-cnn", "channels": [8]}, "optimizer": {"kind": "sgd", "lr": 0.01}},
    ]
    result = run(tmp_path, peers={"count": 3, "groups": groups, "head": {"kind": "linear", "dim": 8}})
    assert [group["model"] for group in result.summary["peers"]] == ["mlp", "small-cnn"]
    rows = pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist()
    assert all(row["weight_change"] > 0 for row in rows if row["round"] == 12)
