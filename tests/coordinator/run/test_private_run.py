"""Runs on private data: the same bits in every pool and after a resume, and what a folder says of who holds what."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator.ablations.grids.measure_names import known_measures
from coordinator.ablations.runs.results_folder import scalars
from coordinator.experiment.config import load_config
from coordinator.figures import run as figures
from coordinator.records.files.probe_curves import class_curves, probe_curves
from coordinator.records.files.run_folder import RunFolder
from coordinator.reports.wording import measure_name
from coordinator.run.simulate import resume, simulate
from peers.data.chosen import Chosen

TABLE: dict[str, Any] = {
    "run": {"rounds": 6},
    "data": {
        "kind": "synthetic",
        "batch_size": 16,
        "num_train": 256,
        "num_test": 64,
        "partition": {"kind": "classes", "k": 2},
        "private_batch_size": 8,
    },
    "peers": {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}, "norm": "batch"},
    "topology": {"kind": "ring"},
    "exchange": {"what": "logits", "target": {"kind": "none"}, "loss": {"kind": "mse"}, "supervised": 1.0},
    "evaluation": {"every": 3, "controls": [], "probes": ["knn"]},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
}


def run(folder: Path, *overrides: str) -> Any:
    return simulate(load_config(TABLE, overrides), folder)


def test_run__says_who_holds_what_and_how_accurate_peers_are_on_whose_classes(tmp_path: Path) -> None:
    result = run(tmp_path)
    held = pq.read_table(result.folder / "metrics" / "holdings.parquet").to_pylist()
    private = [row for row in held if row["peer"] >= 0]
    assert sum(row["examples"] for row in held) == 256
    assert all(sum(row["examples"] > 0 for row in private if row["peer"] == peer) == 2 for peer in range(4))
    assert result.summary["holdings"]["public"] == 26 and result.summary["holdings"]["private"] == 230
    accuracies = pq.read_table(result.folder / "metrics" / "class_accuracy.parquet").to_pylist()
    trained = [row for row in accuracies if row["probe"] == "top1" and row["condition"] == "trained"]
    for scope in ("held", "own", "others"):
        mean = sum(row[scope] for row in trained) / 4
        assert result.summary["class_accuracy"]["top1"][scope]["trained"] == pytest.approx(mean)
    named = [name for name in known_measures(result.config) if name.startswith(("holdings.", "class_accuracy."))]
    found = [name for name in scalars(result.summary) if name.startswith(("holdings.", "class_accuracy."))]
    assert sorted(named) == sorted(name for name in found if name != "holdings.public_of")
    assert all(measure_name(name) != name.replace("_", " ") for name in named)  # all have words
    # four classes of about equal size, all of which are held: own and others' make up the whole
    whole = result.summary["probes"]["top1"]["trained"]
    assert result.summary["class_accuracy"]["top1"]["held"]["trained"] == pytest.approx(whole)


def test_run__follows_how_accurate_peers_are_on_whose_classes(tmp_path: Path) -> None:
    """After the last round as in the table of the end; the curves are means over the students."""
    result = run(tmp_path, "evaluation.probe_every=2")
    peers = result.table("peers").to_pylist()
    probed = [row for row in peers if row["knn_accuracy_own"] is not None]
    assert sorted({row["round"] for row in probed}) == [2, 4, 6] and len(probed) == 12
    ends = pq.read_table(result.folder / "metrics" / "class_accuracy.parquet").to_pylist()
    for probe in ("knn", "top1"):
        for row in (row for row in ends if (row["probe"], row["condition"]) == (probe, "trained")):
            (last,) = (each for each in probed if (each["round"], each["peer"]) == (6, row["peer"]))
            assert (last[f"{probe}_accuracy_own"], last[f"{probe}_accuracy_others"]) == (row["own"], row["others"])
    curves = class_curves(peers)
    assert curves.keys() == {"knn", "top1"} and probe_curves(peers).keys() == {"knn", "top1"}
    for scope, curve in curves["knn"].items():
        assert curve.rounds.tolist() == [2, 4, 6]
        assert curve.mean[-1] == pytest.approx(result.summary["class_accuracy"]["knn"][scope]["trained"])
        middle = [row[f"knn_accuracy_{scope}"] for row in probed if row["round"] == 4]
        assert curve.mean[1] == pytest.approx(sum(middle) / 4)


def test_run__private_data_change_the_result_and_nothing_else_does(tmp_path: Path) -> None:
    one, other = run(tmp_path), run(tmp_path, "data.partition={kind='iid'}")
    again = run(tmp_path, "data.public={kind='share',share=0.1}")  # the default, said
    assert again.summary["digest"] == one.summary["digest"] != other.summary["digest"]


def test_run__a_peer_sees_no_private_example_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without exchange, a peer whose own examples stay the same ends the same, whatever others hold."""
    private = Chosen.private

    def swapped(self: Chosen, round_index: int, peer: int, pooled: bool = False) -> Any:
        return private(self, round_index, {1: 2, 2: 1}.get(peer, peer), pooled)

    digests = []
    for number in range(2):
        if number:
            monkeypatch.setattr(Chosen, "private", swapped)
        result = run(tmp_path, "topology={kind='self'}")
        digests.append([result.network(peer).state_dict() for peer in range(4)])
    for peer in (0, 3):
        assert all((digests[0][peer][name] == tensor).all() for name, tensor in digests[1][peer].items())
    assert any((digests[0][1][name] != tensor).any() for name, tensor in digests[1][1].items())


@pytest.mark.figures
def test_figures__the_map_and_the_curves_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "save_consensus", lambda *_: None)
    monkeypatch.setattr(figures, "save_topology", lambda *_, **__: None)
    monkeypatch.setattr(figures, "save_gains", lambda *_: None)
    result = run(tmp_path, "evaluation.probe_every=3")
    names, page = {path.name for path in (result.folder / "figures").iterdir()}, result.folder / "report.html"
    assert {f"{name}{form}.png" for name in ("holdings", "classes") for form in ("", "-narrow")} <= names
    assert "Who holds what" in page.read_text() and "What peers know of their own classes" in page.read_text()
    assert RunFolder.reopened(result.folder).path == result.folder


@pytest.mark.slow
def test_run__same_bits_in_every_pool_and_after_a_resume(tmp_path: Path) -> None:
    lists = tmp_path / "lists.json"
    lists.write_text(str([list(range(first, first + 40)) for first in range(0, 160, 40)]))
    for partition in ("{kind='dirichlet',alpha=1.0,smallest=20}", f"{{kind='file',path='{lists}'}}"):
        split = f"data.partition={partition}"
        public = "public.kind=digits"
        one = run(tmp_path, split, public)
        ray = run(tmp_path, split, public, "hosting.pool=ray", "hosting.peers_per_host=2", "hosting.cpus_per_peer=0.2")
        half = run(tmp_path, split, public, "run.rounds=3", "checkpoint.every=3")
        longer = resume(half.folder, rounds=6)
        assert one.summary["digest"] == ray.summary["digest"] == longer.summary["digest"]
