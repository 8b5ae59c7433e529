"""Every number that a run logs has a name in a group; curves and final values share none."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import ConfigError, load_config, simulate
from coordinator.measures.declared import GROUP, PEER
from coordinator.measures.gains import Gain
from coordinator.records.files.run_folder import RunFolder
from coordinator.records.files.summary import final_tags
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_names import VIEW, curve_name, curves_of_peer, final_metrics, gain_metrics
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.records.tracking.mlflow_rules import valid_name
from peers.learning.control import Control

DOCUMENT = Path(__file__).parents[4] / "coordinator" / "records" / "tracking" / "MLFLOW.md"


class Kept(Tracker):
    """Keeps what MLflow would get."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}
        self.final: dict[str, float] = {}

    def log_metrics(self, values: dict[str, Any], step: int) -> None:
        self.points |= {(name, step): value for name, value in values.items() if value is not None}

    def log_final(self, values: dict[str, Any]) -> None:
        self.final |= {name: value for name, value in values.items() if value is not None}

    def log_params(self, values: dict[str, Any]) -> None: ...

    def log_tags(self, values: dict[str, Any]) -> None: ...


def table(**sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "run": {"rounds": 4},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 24},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"dim": 4}, "frozen": [0]},
        "topology": {"kind": "complete"},
        "evaluation": {"probes": ["knn", "linear", "sgd"], "every": 3},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    return base | {name: base.get(name, {}) | section for name, section in sections.items()}


def observed(output: Path, **sections: Any) -> tuple[Kept, dict[str, Any], Path]:
    """What a run logs while it goes on, its summary, and its folder."""
    config, live = load_config(table(**sections)), Kept()
    result = simulate(config, output, [MlflowObserver(live, config)])
    return live, result.summary, result.folder


def again(output: Path, folder: Path, **sections: Any) -> Kept:
    """What is logged of the tables in a run's folder, as after a resume."""
    kept, copied = Kept(), RunFolder(output, "copied")
    for name, keys in (("rounds", ("round",)), ("peers", ("round", "peer"))):
        for row in pq.read_table(folder / "metrics" / f"{name}.parquet").to_pylist():
            copied.record(name, {key: row[key] for key in keys}, row)  # type: ignore[arg-type]
    MlflowObserver(kept, load_config(table(**sections))).send_again(copied, {})
    return kept


CURVES = {
    *(f"consensus/{measure.name}" for measure in GROUP),
    *(f"peers/{measure.name}" for measure in PEER),
    "learning/loss",
    "learning/students",
    "system/bytes_of_round",
    "system/bytes_exchanged",
}
FINAL = {
    *(f"probes/{probe}/{name}" for probe in ("knn", "linear", "sgd") for name in ("trained", "gain")),
    *(f"uncertainty/{probe}/gain_{end}" for probe in ("knn", "linear") for end in ("low", "high")),
    "system/rounds_per_second",
    "system/evaluation_share",
}
OVER_ALONE = {
    *(f"probes/{probe}/over_alone" for probe in ("knn", "linear")),
    *(f"uncertainty/{probe}/over_alone_{end}" for probe in ("knn", "linear") for end in ("low", "high")),
}


def final_names(summary: dict[str, Any]) -> set[str]:
    """The names of the final values, without the durations of stages."""
    return {name for name in final_metrics(summary) if not name.startswith("system/seconds_")}


def test_names__those_of_a_run(tmp_path: Path) -> None:
    """Without probes over the rounds there is no curve of them: it would be one of a single point."""
    live, summary, folder = observed(tmp_path)
    assert {name for name, _ in live.points} == CURVES and live.final == {}
    assert final_names(summary) == FINAL and not CURVES & final_metrics(summary).keys()
    assert again(tmp_path, folder).points == live.points
    steps = {name: sorted(step for other, step in live.points if other == name) for name in CURVES}
    assert steps["consensus/agreement"] == steps["peers/rankme"] == [0, 3, 4]
    assert steps["learning/loss"] == steps["system/bytes_exchanged"] == [1, 2, 3, 4]
    assert live.points["system/bytes_exchanged", 4] == summary["bytes_exchanged"] > 0
    assert live.points["consensus/agreement", 4] == summary["consensus"]["agreement"]["last"]


def test_names__with_probes_over_the_rounds_and_a_control_run(tmp_path: Path) -> None:
    evaluation = {"probe_every": 2, "controls": ["alone"]}
    live, summary, folder = observed(tmp_path, evaluation=table()["evaluation"] | evaluation)
    accuracy = {f"accuracy/{probe}" for probe in ("knn", "linear", "sgd")}
    assert {name for name, _ in live.points} == CURVES | accuracy and live.final == {}
    assert sorted(step for name, step in live.points if name == "accuracy/sgd") == [2, 4]
    assert final_names(summary) == FINAL | OVER_ALONE
    sent = again(tmp_path, folder, evaluation=table()["evaluation"] | evaluation)
    assert sent.points == pytest.approx(live.points)


@pytest.mark.parametrize("probe_every", [0, 2])
def test_names__per_peer_are_the_rows_of_the_table_that_were_measured(tmp_path: Path, probe_every: int) -> None:
    sections = {"tracking": {"enabled": False, "per_peer": True}, "evaluation": {"probe_every": probe_every}}
    live, _, folder = observed(tmp_path, **sections)
    own = {key: value for key, value in live.points.items() if re.match(r"peers/\d", key[0])}
    rows = pq.read_table(folder / "metrics" / "peers.parquet").to_pylist()
    columns = [*(measure.name for measure in PEER), "loss", "gradient_norm"]
    expected = {
        (f"peers/{row['peer']}/{name}", row["round"]): row[name]
        for row in rows
        for name in columns
        if row["round"] in (0, 3, 4) and row[name] is not None
    }
    accuracies = {
        (f"peers/{row['peer']}/{name}_accuracy", row["round"]): row[f"{name}_accuracy"]
        for row in rows
        for name in ("knn", "linear", "sgd")
        if row[f"{name}_accuracy"] is not None
    }
    assert {step for _, step in accuracies} == ({2, 4} if probe_every else {4}) and len(expected) == 3 * 24 + 2 * 4
    assert own == expected | (accuracies if probe_every else {})
    assert live.final == ({} if probe_every else {name: value for (name, _), value in accuracies.items()})
    sent = again(tmp_path, folder, **sections)
    assert (sent.points, sent.final) == (pytest.approx(live.points), live.final)


def test_names__a_peer_that_was_not_measured_has_none() -> None:
    assert curves_of_peer({"round": 2, "peer": 1, "loss": 0.5, "rankme": None, "knn_accuracy": 0.5}) == {}


def test_per_peer__is_refused_of_more_peers_than_a_page_can_show() -> None:
    with pytest.raises(ConfigError, match=r"tracking.per_peer is true, which is for at most 64 peers, .* is 65: leave"):
        load_config(table(tracking={"per_peer": True}, peers={"count": 65, "frozen": []}))
    assert load_config(table(tracking={"per_peer": True}, peers={"count": 64, "frozen": []})).tracking.per_peer


def test_view__its_columns_are_what_a_run_has() -> None:
    names = {re.sub(r".*`(.*)`", r"\1", column) for column in VIEW if column.startswith("metrics.")}
    tags = {re.sub(r".*`(.*)`", r"\1", column) for column in VIEW if column.startswith("tags.")}
    learned = {"verdict": "learned (this run)"}
    summary = {"status": "finished", "probes": {"linear": learned, "knn": learned}, "flags": []}
    assert names <= CURVES | FINAL | OVER_ALONE and tags <= final_tags(summary).keys()
    assert len(names) + len(tags) == len(VIEW)


def test_gain_metrics__are_points() -> None:
    names = ("probes/knn/over_alone", "uncertainty/knn/over_alone_low", "uncertainty/knn/over_alone_high")
    found = gain_metrics("knn", Gain.OVER_ALONE, 0.02, -0.01, 0.05)
    assert found == pytest.approx(dict(zip(names, (2.0, -1.0, 5.0), strict=True)))
    assert gain_metrics("knn", Gain.OVER_CALIBRATED, 0.0185) == {"probes/knn/gain": 1.85}  # not 1.8499999999999999


def test_final_metrics__every_control_run_and_the_ensemble() -> None:
    over = {f"over_{control.replace('-', '_')}": {"mean": 0.1, "low": 0.0, "high": 0.2} for control in Control}
    others = {"over_untrained": {"mean": 0.1, "low": 0.0, "high": 0.2}, "calibrated": 0.4}
    trained = {"trained": 0.5, "gain": 0.1, "interval": [0.0, 0.2], "ensemble": {"trained": 0.75, "calibrated": 0.4}}
    summary = {
        "probes": {"top1": trained | over | others, "knn": {"supervised": 0.5}},
        "rounds_per_second": None,
        "evaluation_share": 0.5,
        "seconds": {"control-runs": 3.0},
    }
    found = final_metrics(summary)
    gains = {"gain", *over}
    assert found == pytest.approx(
        {"probes/top1/trained": 0.5, "probes/top1/ensemble": 0.75}
        | {f"probes/top1/{name}": 10.0 for name in gains}
        | {f"uncertainty/top1/{name}_low": 0.0 for name in gains}
        | {f"uncertainty/top1/{name}_high": 20.0 for name in gains}
        | {"system/evaluation_share": 0.5, "system/seconds_control_runs": 3.0}
    )


def test_names__mlflow_takes_them_and_the_document_has_them() -> None:
    """The document joins names of a group: `a/b`, `/c` and `_high`; PROBE, CONTROL and N stand for any."""
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = re.findall(r"`([^`]+)`", text)
    for name in sorted(CURVES | FINAL | {curve_name("knn_accuracy"), curve_name("faults")}):
        general = re.sub("knn|linear|sgd", "PROBE", name)
        group, _, last = general.rpartition("/")
        ends = {general, f"/{last}", *([f"_{last.rpartition('_')[2]}"] if group.startswith("uncertainty") else [])}
        assert valid_name(name) == name and ends & set(parts), name
        assert any(part.startswith(f"{group}/") for part in parts), group


def test_final_metrics__gains_of_groups_that_have_names() -> None:
    table = {"gain": 0.02, "interval": [0.0, 0.04], "over_stranger": {"mean": 0.01, "low": 0.0, "high": 0.02}}
    groups = {"chroma": {"probes": {"knn": table, "sgd": table}}}
    summary = {"probes": {}, "rounds_per_second": None, "evaluation_share": None, "groups": groups}
    named = {"config": {"peers": {"groups": [{"name": "chroma"}]}}}
    assert final_metrics({**summary, **named}) == {
        "groups/chroma/knn/gain": 2.0,
        "groups/chroma/knn/over_stranger": 1.0,
    }
    assert final_metrics(summary) == {}
