"""Runs with own views, two views and private data: nothing differs after a kill, nor in processes of their own."""

from pathlib import Path
from typing import Any

import pytest

from coordinator import resume
from tests.coordinator.run.test_resume import assert_same, killed_before, run

pytestmark = pytest.mark.slow
CROP = {"kind": "crop", "padding": 1}
UNEQUAL: dict[str, Any] = {
    "run": {"rounds": 12, "seed": 4},
    "data": {"partition": {"kind": "iid"}, "public": {"kind": "share", "share": 0.4}, "private_batch_size": 8},
    "peers": {
        "groups": [{"count": 2, "view": ["left", CROP]}, {"count": 1, "view": [CROP, {"kind": "noisy", "sigma": 0.1}]}]
    },
    "exchange": {"self_loss": 0.5, "target_self_share": 0.25},
    "evaluation": {"controls": ["alone", "shuffled", "private-only"]},
}


@pytest.mark.parametrize("nth", [7, 19, 42], ids=["in the run", "in alone", "in private-only"])
def test_resume__of_a_run_with_views_and_private_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int):
    """Peers learn from private batches and two views of them, with centres of teachers and of their own outputs."""
    straight = run(tmp_path / "straight", **UNEQUAL)
    assert straight.summary["status"] == "finished"
    with killed_before(monkeypatch, "advance", nth):
        run(tmp_path / "killed", **UNEQUAL)
    (folder,) = (tmp_path / "killed").iterdir()
    resumed = resume(folder)
    assert_same(resumed, straight)
    assert resumed.summary["probes"] == straight.summary["probes"]


def test_pools__peers_with_views_and_private_data_have_the_same_bits_in_processes_of_their_own(
    cluster: Any, tmp_path: Path
):
    """One peer, and two, of a host: what a peer sees depends on no other peer of its process."""
    here = run(tmp_path / "here", **UNEQUAL)
    for per_host in (1, 2):
        hosting = {"pool": "ray", "peers_per_host": per_host}
        assert_same(run(tmp_path / str(per_host), **UNEQUAL, hosting=hosting), here)
