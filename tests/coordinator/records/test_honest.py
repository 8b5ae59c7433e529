"""Means of a run are of its honest peers: where a liar never lies, and where it lies, diverges and drops out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import Result, load_config, simulate
from coordinator.ablations.grids.measure_names import known_measures
from coordinator.ablations.runs.results_folder import scalars
from coordinator.documents.document import run_document
from coordinator.experiment.config import config_from
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.reports.sentences import in_words
from tests.coordinator.records.tracking.test_mlflow_names import Kept

LIAR = 1
GROUPS = [{"name": "good", "count": 2}, {"name": "poor", "count": 3}]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result]:
    """The run without liars, and with one."""
    table: dict[str, Any] = {
        "run": {"rounds": 4},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}, "groups": GROUPS},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_every": 2, "probe_batch": 20, "probes": ["knn"], "controls": ["alone"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    folder = tmp_path_factory.mktemp("runs")
    truthful = simulate(load_config(table), folder)
    table["peers"] |= {"adversaries": [{"peers": [LIAR], "attack": {"kind": "sign-flip"}, "from_round": 99}]}
    with pytest.warns(UserWarning, match="from_round is 99"):  # it never lies
        lying = simulate(load_config(table), folder)
    return truthful, lying


def column(result: Result, table: str, name: str, at: int) -> dict[int, float]:
    rows = result.table(table).to_pylist()
    return {row.get("peer", 0): row[name] for row in rows if row["round"] == at and row[name] is not None}


def test_run__the_same_peers_and_other_means(both: tuple[Result, Result]) -> None:
    truthful, lying = both
    assert truthful.summary["digest"] == lying.summary["digest"]
    assert (truthful.summary["liars"], lying.summary["liars"]) == ([], [LIAR])
    for name in ("loss", "rankme", "knn_accuracy"):
        assert column(truthful, "peers", name, 4) == column(lying, "peers", name, 4)  # of the liar, too
    for name in ("loss", "rankme"):
        honest = [value for peer, value in column(lying, "peers", name, 4).items() if peer != LIAR]
        assert column(lying, "rounds", name, 4)[0] == pytest.approx(np.mean(honest))


def test_summary__gains_are_means_over_the_honest(both: tuple[Result, Result]) -> None:
    truthful, lying = (result.summary for result in both)
    own = truthful["probes"]["knn"]["peers"]
    kept = [place for place, peer in enumerate(own["peer"]) if peer != LIAR]
    row = lying["probes"]["knn"]
    assert row["peers"]["peer"] == [0, 2, 3, 4]
    for key, mean in (("gain", row["gain"]), ("over_alone", row["over_alone"]["mean"])):
        assert row["peers"][key] == [own[key][place] for place in kept]
        assert mean == pytest.approx(np.mean([own[key][place] for place in kept]))


def test_summary__each_group_by_itself(both: tuple[Result, Result]) -> None:
    truthful, lying = (result.summary for result in both)
    own = dict(zip(truthful["probes"]["knn"]["peers"]["peer"], truthful["probes"]["knn"]["peers"]["gain"], strict=True))
    assert truthful["groups"]["good"]["probes"]["knn"]["gain"] == pytest.approx((own[0] + own[1]) / 2)
    assert lying["groups"]["good"]["peers"] == [0, 1] and lying["groups"]["good"]["students"] == [0]
    assert lying["groups"]["good"]["probes"]["knn"]["gain"] == pytest.approx(own[0])
    for summary in (truthful, lying):
        poor = summary["groups"]["poor"]
        assert poor["probes"]["knn"]["gain"] == pytest.approx((own[2] + own[3] + own[4]) / 3)
        assert {"verdict", "interval", "controls"} <= poor["probes"]["knn"].keys()
    # on the ring 0 1 | 2 3 4 the good ones are next to 4 and 2; the liar beside 2 is nobody's source
    assert {steps: of["students"] for steps, of in truthful["groups"]["poor"]["hops"].items()} == {
        "1": [2, 4],
        "2": [3],
    }
    for of in truthful["groups"]["poor"]["hops"].values():
        assert of["arrival"]["knn"].keys() == {"gain", "over_alone"}
    arrived = [name for name in scalars(truthful) if ".arrival." in name]
    assert len(arrived) == 6 and {*arrived} <= {*known_measures(config_from(truthful["config"]))}
    assert {steps: of["students"] for steps, of in lying["groups"]["poor"]["hops"].items()} == {"1": [4], "2": [2, 3]}


def test_tables__say_of_each_row_which_group_and_who_lies(both: tuple[Result, Result]) -> None:
    truthful, lying = both
    rows = lying.table("peers").to_pylist()
    assert {(row["peer"], row["group"], row["liar"]) for row in rows} == {
        (peer, "good" if peer < 2 else "poor", peer == LIAR) for peer in range(5)
    }
    assert "liar" not in truthful.table("peers").column_names


def test_report__says_whom_it_is_about(both: tuple[Result, Result]) -> None:
    truthful, lying = ((Path(result.folder) / "report.html").read_text() for result in both)
    assert "of the 4 honest peers alone" in lying and "honest peers alone" not in truthful


@pytest.fixture(scope="module")
def only_liars_left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Kept]:
    """A run whose honest peers drop out in its first rounds, so that the liars, who hear each other only, are left."""
    folder = tmp_path_factory.mktemp("diverging")
    links = folder / "links.csv"
    links.write_text("teacher,student\n2,3\n3,2\n2,0\n3,1\n")
    head, model = {"kind": "linear", "dim": 4}, {"kind": "mlp", "hidden": [8]}
    config = load_config(
        {
            "run": {"rounds": 8, "on_nonfinite": "drop-peer", "stop": {"measure": "consensus.rankme", "above": 0.5}},
            "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
            "peers": {
                "groups": [
                    {"count": 2, "head": head, "model": model, "optimizer": {"kind": "sgd", "lr": 1e38}},
                    {"count": 2, "head": head, "model": model},
                ],
                "adversaries": [{"peers": [2, 3], "attack": {"kind": "random"}}],
            },
            "topology": {"kind": "file", "path": str(links)},
            "evaluation": {"every": 4, "probe_every": 4, "probe_batch": 20, "probes": ["knn"], "controls": ["alone"]},
            "hosting": {"pool": "in-process"},
            "tracking": {"enabled": False},
        }
    )
    tracker = Kept()
    return simulate(config, folder, [MlflowObserver(tracker, config)]), tracker


def test_run__only_liars_are_left_and_no_mean_is_told(only_liars_left: tuple[Result, Kept]) -> None:
    result, tracker = only_liars_left
    summary = result.summary
    assert summary["not_finite"].keys() == {"0", "1"} and summary["rounds"] == 8
    assert summary["ended"] is None  # the liars' rank is above 0.5, too, but no rule looks at it
    assert result.table("rounds").to_pylist()[4]["rankme"] is None and column(result, "peers", "rankme", 4).keys() == {
        2,
        3,
    }
    assert summary["consensus"] == {} and "gain" not in summary["probes"]["knn"]
    later = {name for name, step in tracker.points if step and step >= 4}
    assert not [name for name in later if name.startswith(("consensus/", "peers/", "accuracy/"))]


def test_report__says_that_only_liars_are_left(only_liars_left: tuple[Result, Kept]) -> None:
    result, _ = only_liars_left
    said = in_words(result.summary)
    assert "consensus: every honest peer has dropped out, so there is no measure of the group at the end" in said
    drawn = run_document(result.folder)
    assert not [curve for curve in drawn["curves"] if curve["panel"] == "consensus" and max(curve["x"]) >= 4]
