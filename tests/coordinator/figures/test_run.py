"""Which figures a run gets, and from which of its numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.figures import run as figures
from coordinator.records.files.run_folder import RunFolder
from topologies import schedule
from topologies.analysis.measures import describe

pytestmark = pytest.mark.figures
PROBES = {"knn": {"calibrated": 0.6, "trained": 0.8, "gain": 0.2, "interval": [0.1, 0.3]}}
ROWS = [{"round": 0, "relative_distance": 1.0, "agreement": 0.25}]


def test_peer_gains__linear_before_knn_and_never_the_papers_probe() -> None:
    table = {name: {"peers": {"peer": [0, 2], "gain": [0.1, gain]}} for name, gain in (("knn", 0.2), ("linear", 0.3))}
    assert figures.peer_gains(table) == ("linear", {0: 0.1, 2: 0.3})
    assert figures.peer_gains({"sgd": table["knn"], "linear": {"raw_pixels": 0.9}}) == ("", {})
    assert figures.peer_gains({"sgd": table["linear"], "knn": table["knn"]}) == ("kNN", {0: 0.1, 2: 0.2})


def test_known_facts__those_of_a_summary_or_none() -> None:
    facts = describe(schedule.complete(4))
    assert figures.known_facts(dict(vars(facts), more=1)) == facts
    assert figures.known_facts({"num_peers": 4}) is None


def test_save__writes_what_there_is(tmp_path: Path) -> None:
    folder, alone = RunFolder(tmp_path, "run"), schedule.self_taught(2)
    figures.save(alone, folder, {"probes": {}})
    assert [path.name for path in (folder.path / "figures").iterdir()] == ["topology.png"]
    folder.record("rounds", {"round": 0}, ROWS[0])
    figures.save(alone, folder, {"probes": PROBES})
    names = sorted(path.name for path in (folder.path / "figures").iterdir())
    assert names == ["consensus-narrow.png", "consensus.png", "gains-narrow.png", "gains.png", "topology.png"]


def test_save__kind_facts_and_curves_of_peers_that_did_not_diverge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(figures, "save_topology", lambda *_, **options: seen.update(options))
    monkeypatch.setattr(figures, "save_consensus", lambda rows, probes, path, probed, narrow: seen.update(probed))
    folder = RunFolder(tmp_path, "run")
    for completed, accuracy in ((5, 0.5), (10, 0.8)):
        for peer in range(3):
            row = {"loss": 1.0, "knn_accuracy": accuracy + 0.1 * peer}
            folder.record("peers", {"round": completed, "peer": peer}, row)
    made = schedule.complete(3)
    summary = {"config": {"topology": {"kind": "complete"}}, "topology": vars(describe(made))}
    figures.save(made, folder, {"probes": PROBES, "not_finite": {"2": {}}, **summary})
    assert (seen["kind"], seen["facts"]) == ("complete", describe(made))
    assert np.allclose(seen["knn"].mean, [0.55, 0.85])
