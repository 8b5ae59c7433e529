"""A run with a peer that lies, but only after its last round, and the same without: other means, nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import Result, load_config, simulate

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
    return truthful, simulate(load_config(table), folder)


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
