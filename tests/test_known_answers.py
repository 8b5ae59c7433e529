"""Experiments of which the answer is known: what the verdicts say of them (`pytest -m slow`, minutes)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import load_config, simulate
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.measures.statistics import Estimate, estimate
from coordinator.measures.verdict import Flag
from coordinator.planning.plan import load_data, peer_settings, prepare
from peers.data.datasets import Dataset
from peers.learning.peer import Peer
from peers.probing.measuring import ProbeOutcome, ProbeSubject

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.toml"
LIGHT = ("hosting.pool=in-process", "tracking.enabled=false", "checkpoint.every=0", "evaluation.controls=[]")
PLAIN = ("evaluation.probes=['knn','linear']", "evaluation.every=200")
SEEDS = (1, 2, 3, 4, 5)


def summaries(
    output: Path, *overrides: str, seeds: Sequence[int] = SEEDS, dataset: Dataset | None = None
) -> list[dict[str, Any]]:
    """The quickstart with these settings, under each seed."""
    found = []
    for seed in seeds:
        config = load_config(QUICKSTART, [*LIGHT, *PLAIN, *overrides, f"run.seed={seed}"])
        found.append(simulate(config, output, data=dataset).summary)
    return found


def over_seeds(found: list[dict[str, Any]], probe: str, gain: str) -> Estimate:
    rows = [summary["probes"][probe] for summary in found]
    return estimate([row["gain"] if gain == "gain" else row[gain]["mean"] for row in rows])


def verdicts(found: list[dict[str, Any]]) -> set[str]:
    return {summary["probes"][probe]["verdict"] for summary in found for probe in ("knn", "linear")}


@pytest.mark.slow
def test_known__labels_teach(tmp_path: Path):
    """Mutual learning with labels, and the control with labels only, by each probe and by the peers' own outputs."""
    labels = ("exchange.supervised=1.0", "exchange.target={ kind = 'none' }", "exchange.loss={ kind = 'kl' }")
    found = summaries(tmp_path, *labels, "evaluation.controls=['supervised']")
    for probe in ("knn", "linear", "top1"):
        trained, supervised = (over_seeds(found, probe, gain) for gain in ("gain", "over_supervised"))
        assert trained.low is not None and trained.low > 0, probe
        assert abs(supervised.mean) < 0.03, probe  # labels alone teach about as much
    assert all(0.9 < summary["probes"]["top1"]["ensemble"]["supervised"] <= 1 for summary in found)
    assert all(summary["probes"]["top1"]["calibrated"] < 0.4 for summary in found)


@pytest.mark.slow
def test_known__plain_consensus_degrades(tmp_path: Path):
    """Mean squared error on outputs as they are, without normalisation: the peers agree on nothing that tells apart."""
    mse = ("exchange.target={ kind = 'none' }", "exchange.loss={ kind = 'mse' }", "peers.norm=none")
    found = summaries(tmp_path, *mse, "peers.optimizer.lr=1e-3")
    linear = over_seeds(found, "linear", "gain")
    assert linear.high is not None and linear.high < 0
    for summary in found:
        assert Flag.COLLAPSED in summary["flags"] or summary["probes"]["linear"]["verdict"] == "degraded (this run)"


@pytest.mark.slow
def test_known__a_learning_rate_of_nothing_is_an_artefact_of_batchnorm_or_nothing(tmp_path: Path):
    tiny = ("peers.optimizer.lr=1e-8", "evaluation.probes=['knn','linear','sgd']")
    found = summaries(tmp_path, *tiny)
    assert all(Flag.ARTEFACT in summary["flags"] and "sgd" in summary["artefacts"] for summary in found)
    assert verdicts(found) == {"not distinguishable"}
    without = summaries(tmp_path, *tiny, "peers.norm=none")
    assert verdicts(without) == {"not distinguishable"} and all(summary["flags"] == [] for summary in without)
    for probe in ("knn", "linear", "sgd"):
        assert abs(over_seeds(without, probe, "gain").mean) < 1e-3


def shuffled(data: Dataset) -> Dataset:
    rng = np.random.default_rng(0)
    return replace(
        data,
        name="shuffled labels",
        train_labels=rng.permutation(data.train_labels),
        test_labels=rng.permutation(data.test_labels),
    )


@pytest.mark.slow
def test_known__labels_that_mean_nothing_show_nothing(tmp_path: Path):
    """And they do not reach the training: the weights are those with the true labels."""
    data = load_data(load_config(QUICKSTART))
    wrong = summaries(tmp_path, data=shuffled(data))
    assert verdicts(wrong) == {"not distinguishable"}
    for probe in ("knn", "linear"):
        gain = over_seeds(wrong, probe, "gain")
        assert gain.low is not None and gain.high is not None and gain.low < 0 < gain.high
    right = summaries(tmp_path, seeds=SEEDS[:1], data=data)
    assert right[0]["digest"] == wrong[0]["digest"]


@pytest.mark.slow
def test_known__noise_on_the_weights_is_not_learning():
    """Peers whose weights get 5% of random noise instead of training: none of 20 verdicts is `learned`."""
    found = []
    for seed in range(10):
        config = load_config(QUICKSTART, [*LIGHT, *PLAIN, f"run.seed={seed}"])
        plan, table = prepare(config), ProbeTable(("knn", "linear"))
        peers = [Peer(settings, plan.dataset) for settings in peer_settings(config, plan.dataset)]
        rounds = list(range(config.run.rounds - 50, config.run.rounds))

        def probed(subject: ProbeSubject, peers: list[Peer] = peers, rounds: list[int] = rounds) -> list[ProbeOutcome]:
            return [peer.probe(subject, rounds) for peer in peers]

        table.add(Condition.UNTRAINED, probed(ProbeSubject.AS_IS))
        table.add(Condition.CALIBRATED, probed(ProbeSubject.CALIBRATED))
        rng = np.random.default_rng(seed)
        for peer in peers:
            for parameter in peer.network.parameters():
                noise = rng.standard_normal(tuple(parameter.shape)).astype(np.float32)
                scale = 0.05 * float(parameter.detach().square().mean().sqrt())
                parameter.data += scale * parameter.new_tensor(noise)
        table.add(Condition.TRAINED, probed(ProbeSubject.CALIBRATED))
        found += [row["verdict"] for row in table.summary(list(range(4))).values()]
    assert set(found) == {"not distinguishable"} and len(found) == 20


@pytest.mark.slow
def test_known__a_stranger_teaches_as_a_stranger_does(tmp_path: Path):
    """The students of a frozen random hub against those of another one: whoever is above alone is not above that."""
    star = ("topology.kind=star", "peers.frozen=[0]", "evaluation.controls=['stranger','shuffled']")
    found = summaries(tmp_path, *star)
    for probe in ("knn", "linear"):
        stranger = over_seeds(found, probe, "over_stranger")
        assert stranger.low is not None and stranger.high is not None and stranger.low < 0 < stranger.high
    told = {summary["probes"][probe]["controls"]["stranger"] for summary in found for probe in ("knn", "linear")}
    assert told == {"no difference"}
    linear = over_seeds(found, "linear", "over_shuffled")
    assert linear.low is not None and linear.low > 0  # the controls can tell something apart
