"""`evaluation.buffers`: every arm is probed with buffers of the same forward passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import load_config, simulate
from coordinator.experiment.config import RunConfig
from coordinator.planning.plan import peer_settings, prepare
from peers.learning.control import Control
from peers.learning.peer import Peer
from peers.learning.peer_files import PeerFiles
from peers.probing.measuring import ProbeSubject


def config_of(small: dict[str, Any], *overrides: str) -> RunConfig:
    evaluation = {**small["evaluation"], "probe_every": 3, "controls": ["alone", "stranger"]}
    peers = {**small["peers"], "norm": "batch", "optimizer": {"kind": "adamw", "lr": 0.01}}
    checkpoint = {"every": 3, "keep": 9}
    return load_config({**small, "peers": peers, "evaluation": evaluation, "checkpoint": checkpoint}, list(overrides))


def accuracies(
    config: RunConfig, folder: Path, control: Control | None = None, subject: ProbeSubject = ProbeSubject.RECALIBRATED
) -> list[float]:
    """Of the peers in a checkpoint: kNN's, with buffers of forward passes on all batches of the run."""
    plan, found = prepare(config), []
    for settings in peer_settings(config, plan.dataset, control):
        peer = Peer(settings, plan.dataset)
        peer.restore(PeerFiles(str(folder)).content(peer.index))
        found.append(float(peer.probe(subject, range(8)).correct["knn"].mean()))
    return found


def test_buffers__recalibrated_in_every_arm_and_under_way(small: dict[str, Any], tmp_path: Path):
    config = config_of(small, "evaluation.buffers=recalibrated")
    result = simulate(config, tmp_path)
    row, saved = result.summary["probes"]["knn"], result.folder / "checkpoints"
    arms = {"trained": ("round", None), "alone": ("alone", Control.ALONE), "stranger": ("stranger", Control.STRANGER)}
    for name, (phase, control) in arms.items():
        assert row[name] == pytest.approx(np.mean(accuracies(config, saved / f"{phase}-000008", control)))
    as_is = accuracies(config, saved / "round-000008", None, ProbeSubject.AS_IS)
    assert row["trained"] != pytest.approx(np.mean(as_is))
    table = result.table("peers").to_pandas()
    found = table[table["round"] == 3].sort_values("peer")["knn_accuracy"].tolist()
    assert found == pytest.approx(accuracies(config, saved / "round-000003"))
    assert "estimated anew in every arm" in (result.folder / "report.html").read_text()
