"""A run that probes some of its peers says of them what a run says that probes all, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import ConfigError, Result, load_config, load_result, resume, simulate
from coordinator.documents.document import run_document
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.planning.plan import prepare
from coordinator.records.events import Note, Probed, RoundCompleted, RunEvent
from coordinator.reports.sentences import in_words
from coordinator.reports.unequal import NOT_PROBED, group_rows
from peers.probing.measuring import ProbeOutcome

COUNT, ROUNDS = 7, 8


class Seen:
    """What was probed: by condition, round and peer, which images were right. stop_at: the round in which it raises."""

    def __init__(self, stop_at: int = 0) -> None:
        self.right: dict[tuple[Any, ...], list[bool]] = {}
        self.notes: list[str] = []
        self.stop_at = stop_at

    def observe(self, event: RunEvent) -> None:
        match event:
            case Probed():
                for peer, outcome in zip(event.probed, event.outcomes, strict=True):
                    for name, correct in outcome.correct.items():
                        self.right[event.condition, event.completed, peer, name] = correct.tolist()
            case Note(text=text):
                self.notes.append(text)
            case RoundCompleted() if event.completed == self.stop_at:
                raise RuntimeError("enough")
            case _:
                pass


def table_of(probe_peers: int = 64, **sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "num_classes": 3, "batch_size": 10},
        "peers": {
            "model": {"kind": "mlp", "hidden": [8]},
            "head": {"kind": "linear", "dim": 4},
            "norm": "batch",
            "groups": [{"name": "many", "count": 4}, {"name": "few", "count": 3, "view": ["flip"]}],
            "frozen": [6],
        },
        "topology": {"kind": "ring"},
        "exchange": {"supervised": 0.5},
        "evaluation": {
            "every": 4,
            "probe_every": 4,
            "probe_batch": 20,
            "probes": ["knn", "sgd"],
            "controls": ["alone"],
            "reset": True,
            "recalibrated": True,
            "probe_peers": probe_peers,
        },
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2, "seconds": 0},
    }
    return base | {name: base.get(name, {}) | values for name, values in sections.items()}


def run(folder: Path, seen: Seen, probe_peers: int = 64, **sections: Any) -> Result:
    return simulate(load_config(table_of(probe_peers, **sections)), folder, [seen])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Result]:
    seen = Seen()
    return seen, run(tmp_path_factory.mktemp("full"), seen)


@pytest.fixture(scope="module")
def probed() -> list[int]:
    """Four of seven peers: two of each group."""
    found = prepare(load_config(table_of(4))).probed
    assert found is not None and len(found) == 4 and len({peer for peer in found if peer < 4}) == 2
    return list(found)


def check(seen: Seen, full: Seen, probed: list[int]) -> None:
    """All that was probed is what the full run has of these peers."""
    assert seen.right == {
        key: right for key, right in full.right.items() if key[2] in probed or key[0] is Condition.RAW_PIXELS
    }
    assert {key[0] for key in seen.right} >= {
        Condition.UNTRAINED,
        Condition.CALIBRATED,
        Condition.TRAINED,
        Condition.RESET,
        Condition.RECALIBRATED,
        Condition.ALONE,
    }


def test_simulate__as_many_as_there_are_is_all(full: tuple[Seen, Result], tmp_path: Path) -> None:
    seen = Seen()
    result = run(tmp_path, seen, COUNT)
    assert seen.right == full[0].right and seen.notes == full[0].notes == []
    for name in ("probes", "groups", "digest", "flags", "consensus", "probed"):
        assert result.summary[name] == full[1].summary[name], name
    assert result.summary["probed"] == {"count": COUNT, "of": COUNT}


def test_simulate__the_rows_are_those_of_the_full_run(
    full: tuple[Seen, Result], probed: list[int], tmp_path: Path
) -> None:
    seen = Seen()
    result = run(tmp_path, seen, 4)
    check(seen, full[0], probed)
    assert result.summary["digest"] == full[1].summary["digest"]
    assert result.summary["probed"] == {"count": 4, "of": COUNT}
    students = [peer for peer in probed if peer != 6]
    ours, theirs = (each.summary["probes"]["knn"] for each in (result, full[1]))
    assert ours["peers"]["peer"] == students
    places = [theirs["peers"]["peer"].index(peer) for peer in students]
    assert ours["peers"]["gain"] == [theirs["peers"]["gain"][place] for place in places]
    assert ours["gain"] == pytest.approx(np.mean(ours["peers"]["gain"]))
    accuracies = pq.read_table(result.folder / "metrics" / "peers.parquet").to_pylist()
    known = {row["peer"] for row in accuracies if row["knn_accuracy"] is not None}
    assert known == set(probed) and {row["peer"] for row in accuracies} == set(range(COUNT))
    assert any("4 of 7 peers" in note for note in seen.notes)
    assert any("4 of 7 peers" in line for line in in_words(result.summary))
    assert ["many", "2 of 4"] in [row[:2] for row in group_rows(result.summary)]
    colouring = next(each for each in run_document(result.folder)["nodes"] if each["name"] == "knn_gain")
    assert all(
        {peer for peer, gain in enumerate(row) if gain is not None} == set(probed) for row in colouring["values"]
    )
    assert load_result(result.folder).summary["probes"] == result.summary["probes"]


@pytest.mark.parametrize(("evaluators", "per_host"), [(0, 4), (1, COUNT)])
def test_simulate__in_ray_too(
    cluster: Any, full: tuple[Seen, Result], probed: list[int], tmp_path: Path, evaluators: int, per_host: int
) -> None:
    seen = Seen()
    hosting = {"pool": "ray", "peers_per_host": per_host, "evaluators": evaluators, "side_runs": 0}
    run(tmp_path, seen, 4, hosting=hosting)
    check(seen, full[0], probed)


def test_resume__goes_on_with_the_same_peers(full: tuple[Seen, Result], probed: list[int], tmp_path: Path) -> None:
    seen = Seen(stop_at=5)
    with pytest.raises(RuntimeError, match="enough"):
        run(tmp_path, seen, 4)
    (folder,) = tmp_path.glob("run-*")
    seen.stop_at = 0
    resume(folder, observers=[seen])
    check(seen, full[0], probed)


def test_resume__another_number_is_another_experiment(tmp_path: Path) -> None:
    result = run(tmp_path, Seen(), 4, evaluation=table_of(4)["evaluation"] | {"controls": []})
    config = result.folder / "config.toml"
    config.write_text(config.read_text().replace("probe_peers = 4", "probe_peers = 5"))
    with pytest.raises(ConfigError, match=r"evaluation\.probe_peers"):
        resume(result.folder, rounds=ROUNDS + 2)


def test_resume__more_rounds_keep_the_peers(tmp_path: Path) -> None:
    """Also where one student a round makes others students: the sample is that of the run's start."""
    seen = Seen()
    sections = {"exchange": {"supervised": 0.5, "roles": "one-student"}, "run": {"rounds": 3, "seed": 3}}
    sections["evaluation"] = table_of(4)["evaluation"] | {"controls": [], "probe_every": 1}
    result = run(tmp_path, seen, 4, **sections)
    first = {key[2] for key in seen.right if key[0] is Condition.TRAINED}
    again = Seen()
    resume(result.folder, rounds=6, observers=[again])
    assert {key[2] for key in again.right if key[0] is Condition.TRAINED} == first


def test_probe_table__keeps_whose_rows_it_has() -> None:
    table = ProbeTable(("knn",), [2, 5])
    right = [ProbeOutcome({"knn": np.arange(10) < count}) for count in (3, 6)]
    table.add(Condition.UNTRAINED, right)
    again = ProbeTable.from_bytes(table.to_bytes(), ("knn",))
    assert again.peers == (2, 5) and again.rows([0, 5, 2]) == [1, 0] and again.probed([0, 5]) == [5]
    assert again.summary([5])["knn"]["untrained"] == pytest.approx(0.6)
    assert again.summary([0, 1])["knn"] == {}  # nobody of these is probed


def test_probe_table__an_older_one_is_of_all_peers() -> None:
    table = ProbeTable(("knn",))
    table.add(Condition.TRAINED, [ProbeOutcome({"knn": np.arange(10) < count}) for count in (3, 6, 9)])
    again = ProbeTable.from_bytes(table.to_bytes(), ("knn",))
    assert again.begin([0]) is None and again.rows([0, 2]) == [0, 2]


def test_group_rows__a_group_of_which_nobody_was_probed_says_so() -> None:
    group = {"students": [4, 5], "probed": 0, "probes": {"knn": {}}, "hops": {}, "peers": [4, 5]}
    assert group_rows({"groups": {"few": group}}) == [["few", "0 of 2", NOT_PROBED, "", "", "", ""]]
