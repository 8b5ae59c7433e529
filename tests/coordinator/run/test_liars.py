"""Runs with liars and other rules than the mean: what is told of them, and that every way gives the same bits."""

from pathlib import Path
from typing import Any

import pytest

from coordinator import Result, load_config, resume, simulate
from coordinator.ablations.grids.measure_names import known_measures
from coordinator.documents.document import run_document
from coordinator.measures.gains import Condition
from coordinator.measures.pooling import COLUMNS, POOLING
from coordinator.records.events import Probed, RoundCompleted, RunEvent
from coordinator.records.files.result import Status
from coordinator.records.tracking.mlflow_names import final_metrics
from coordinator.records.tracking.mlflow_observer import MlflowObserver
from coordinator.run.signals import Interrupts
from tests.coordinator.records.tracking.test_mlflow_names import DOCUMENT, Kept

SLOW_CLOCKS = ("synchronous", "neighbours", "deadline", "gossip")
LIARS = [
    {"peers": [1], "attack": {"kind": "lma"}, "share": 0.7},
    {"peers": [2], "attack": {"kind": "sign-flip"}, "from_round": 2},
]
CLOCKS = ["free-running", *(pytest.param(clock, marks=pytest.mark.slow) for clock in SLOW_CLOCKS)]


def table(small: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Six peers of whom each hears all and itself, pooled by a trimmed mean; checkpoints every 4 of 8 rounds."""
    found: dict[str, Any] = {
        **small,
        "topology": {"kind": "complete", "self_weight": 0.2},
        "exchange": {"what": "probabilities", "aggregation": {"kind": "trimmed-mean"}},
        "evaluation": {"every": 4, "probe_batch": 20, "probes": ["knn"]},
        "checkpoint": {"every": 4, "seconds": 0},
    }
    found["peers"] = {**small["peers"], "count": 6, "adversaries": LIARS}
    for name, values in sections.items():
        found[name] = {**found.get(name, {}), **values}
    return found


class Outcomes:
    """Keeps what peers in each condition were probed with."""

    def __init__(self) -> None:
        self.found = dict[Condition, Any]()

    def observe(self, event: RunEvent) -> None:
        if isinstance(event, Probed) and event.condition is not None:
            self.found[event.condition] = event.outcomes

    def of(self, condition: Condition) -> list[list[bool]]:
        return [outcome.correct["knn"].tolist() for outcome in self.found[condition]]


def run(of: dict[str, Any], output: Path, *observers: Any, **more: Any) -> Result:
    return simulate(load_config(of), output, list(observers), **more)


def check_interrupted(of: dict[str, Any], output: Path, whole: Result) -> None:
    """Interrupted after four rounds and resumed, the run has the numbers of the whole one, also of what was heard."""
    interrupts = Interrupts()

    def interrupt(event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.completed == 4:
            interrupts.stop_requested = True

    first = run(of, output, interrupt, interrupts=interrupts)
    assert first.status is Status.INTERRUPTED
    resumed = resume(first.folder)
    for name in ("digest", "pooling", "probes"):
        assert resumed.summary[name] == whole.summary[name], name
    assert resumed.table("rounds").select(["round", *COLUMNS]).equals(whole.table("rounds").select(["round", *COLUMNS]))


@pytest.mark.figures
def test_run__tells_what_became_of_messages(small: dict[str, Any], tmp_path: Path) -> None:
    config, live = load_config(table(small, run={"rounds": 12})), Kept()
    result = simulate(config, tmp_path, [MlflowObserver(live, config)])
    rows = result.table("rounds").to_pylist()[1:]
    told = result.summary["pooling"]
    assert told.keys() == POOLING.keys() and {f"pooling.{name}" for name in told} <= set(known_measures(config))
    for name in ("honest_dropped", "lies_dropped"):
        known = [row[name] for row in rows if row[name] is not None]
        assert told[name] == pytest.approx(sum(known) / len(known)) and all(0 <= each <= 1 for each in known)
    assert all(0 <= row["lie_auc"] <= 1 for row in rows if row["lie_auc"] is not None)
    assert {name for name, _ in live.points if name.startswith("pooling/")} == {f"pooling/{name}" for name in COLUMNS}
    names = {name for name in final_metrics(result.summary) if name.startswith("pooling/")}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert names and all(f"`{name}`" in text or f"`/{name.rpartition('/')[2]}`" in text for name in names)
    assert {"pooling.png", "pooling-narrow.png"} <= {path.name for path in (result.folder / "figures").iterdir()}
    curves = {curve["title"]: curve for curve in run_document(result.folder)["curves"]}
    drawn = curves["honest messages dropped"]
    assert drawn["y"] == pytest.approx([100 * row["honest_dropped"] for row in rows], abs=0.1)
    assert {"lies dropped", "AUC of lies by distance"} <= curves.keys()
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "pooling: honest students dropped" in page and "AUC: the probability that a lie" in page


def test_run__without_liars_and_with_the_mean_has_nothing_of_it(small: dict[str, Any], tmp_path: Path) -> None:
    result = run(table(small, exchange={"aggregation": {"kind": "mean"}}, peers={"adversaries": []}), tmp_path)
    assert "pooling" not in result.summary and not {*COLUMNS} & set(result.table("rounds").column_names)


@pytest.mark.filterwarnings("ignore:with network.clock .* pools late messages apart")
@pytest.mark.parametrize("clock", CLOCKS)
def test_run__in_every_clock_goes_on_from_a_checkpoint(clock: str, small: dict[str, Any], tmp_path: Path) -> None:
    """With what liars and their students remember: a first message, and weights by the past."""
    riders = [*LIARS, {"peers": [3], "attack": {"kind": "free-rider"}}]
    network = {
        "clock": clock,
        "compute": {"kind": "lognormal", "seconds": 1.0, "sigma": 0.5},
        "latency": {"kind": "constant", "seconds": 0.3},
        "loss": {"kind": "bernoulli", "probability": 0.1},
    }
    if clock == "deadline":
        network["deadline"] = 2.0
    if clock == "gossip":  # of outputs, a student hears one at a time
        network["message"] = "checkpoint"
    given = table(small, peers={"adversaries": riders}, exchange={"memory": "expguard"}, network=network)
    whole = run(given, tmp_path / "whole")
    check_interrupted(given, tmp_path / "parts", whole)


def test_run__messages_of_weights_are_lied_about_where_they_are_read(small: dict[str, Any], tmp_path: Path) -> None:
    """At equal ages a student's host computes what its teachers would have sent, so lies and numbers are the same."""
    network = {"clock": "synchronous", "latency": {"kind": "constant", "seconds": 0.3}}
    results = [
        run(table(small, network={**network, "message": message}), tmp_path / message)
        for message in ("outputs", "checkpoint")
    ]
    assert results[0].summary["digest"] == results[1].summary["digest"]
    assert results[0].summary["pooling"] == results[1].summary["pooling"]


def test_run__a_sum_has_the_lies_of_those_who_lie_where_they_publish(small: dict[str, Any], tmp_path: Path) -> None:
    """Students take of themselves what they know, be they liars or not: as from one message for each link."""
    losses = []
    for delivery in ("per-edge", "shared-sum"):
        exchange = {"aggregation": {"kind": "mean"}, "delivery": delivery}
        given = table(small, exchange=exchange, peers={"adversaries": [LIARS[1]]})
        rows = run(given, tmp_path / delivery).table("peers").to_pylist()
        losses.append([row["loss"] for row in rows if row.get("loss") is not None])
    assert len(losses[0]) == 48 and losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_run__truthful_peers_are_those_of_a_run_without_liars(small: dict[str, Any], tmp_path: Path) -> None:
    """Peers alone, too: nobody hears others there, and who hears itself only does not pool."""
    lying, honest = Outcomes(), Outcomes()
    run(table(small, evaluation={"controls": ["truthful", "alone"]}), tmp_path / "lying", lying)
    plain = {"peers": {"adversaries": []}, "evaluation": {"controls": ["alone"]}}
    run(table(small, **plain), tmp_path / "honest", honest)
    assert lying.of(Condition.TRUTHFUL) == honest.of(Condition.TRAINED) != lying.of(Condition.TRAINED)
    assert lying.of(Condition.ALONE) == honest.of(Condition.ALONE)


@pytest.mark.slow
def test_run__every_pool_has_the_same_bits(small: dict[str, Any], tmp_path: Path, cluster: Any) -> None:
    riders = [*LIARS, {"peers": [3], "attack": {"kind": "free-rider"}}]
    given = table(small, peers={"adversaries": riders}, exchange={"memory": "expguard"})
    inside = run(given, tmp_path / "inside")
    outside = run({**given, "hosting": {"pool": "ray", "peers_per_host": 3}}, tmp_path / "outside")
    assert outside.summary["digest"] == inside.summary["digest"]
    assert outside.summary["pooling"] == inside.summary["pooling"]
