"""The trained peers back from a run: they are those that the run measured, in memory and from its folder."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from coordinator import ConfigError, Result, load_config, load_result, resume, simulate
from coordinator.checkpoints.trained_peers import trained_peer
from coordinator.planning.plan import load_data
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.records.files.run_folder import KEYS
from coordinator.run.signals import Interrupts
from peers.data.datasets import Dataset, channel_statistics
from peers.learning import snapshot
from peers.networks.config import PeersConfig
from peers.probing import probes
from peers.probing.config import ProbeConfig
from peers.probing.measuring import probe_images

COUNT = 3


def table(**sections: Any) -> dict[str, Any]:
    """Three small CNNs with BatchNorm on a ring, eight rounds, a checkpoint every four."""
    base: dict[str, Any] = {
        "run": {"rounds": 8, "seed": 5},
        "data": {"kind": "synthetic", "num_train": 96, "num_test": 48, "batch_size": 16, "shape": (2, 6, 6)},
        "peers": {
            "count": COUNT,
            "model": {"kind": "small-cnn", "channels": [4, 8]},
            "head": {"kind": "linear", "dim": 4},
            "optimizer": {"kind": "adam", "lr": 0.01},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"every": 4, "probe_batch": 24, "probes": ["knn"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 4, "seconds": 0},
    }
    return {**base, **{name: {**base.get(name, {}), **values} for name, values in sections.items()}}


def run(output: Path, **sections: Any) -> Result:
    return simulate(load_config(table(**sections)), output)


def digest(result: Result) -> str:
    """The digest in the summary, from the networks that come back."""
    return hashlib.sha256(b"".join(snapshot.digest(result.network(peer)) for peer in range(COUNT))).hexdigest()


def damage(folder: Path, name: str, peer: int) -> None:
    path = folder / "checkpoints" / name / f"peer-{peer:04d}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


# ---- what the run measured ----


def test_network__is_the_one_whose_digest_the_run_has(tmp_path: Path) -> None:
    """Of every peer, and not of a control run, whose checkpoints lie beside."""
    result = run(tmp_path, evaluation={"controls": ["alone", "supervised", "stranger"]})
    names = {path.name for path in (result.folder / "checkpoints").iterdir()}
    assert {f"{phase}-000008" for phase in ("round", "alone", "supervised", "stranger")} <= names
    assert digest(result) == digest(load_result(result.folder)) == result.summary["digest"]
    network = result.network(1)
    assert not network.training and network is not result.network(1)
    with torch.no_grad():
        next(network.parameters()).zero_()
    assert digest(result) == result.summary["digest"]


def test_features__give_the_accuracy_of_the_probe(tmp_path: Path) -> None:
    """With BatchNorm in eval mode; the probe fitted here on what comes back."""
    result = run(tmp_path)
    data, config = load_data(result.config), result.config
    chosen = probe_images(data, ProbeConfig(probes=("knn",), probe_batch=24), config.run.seed)
    correct = []
    for peer in range(COUNT):
        train, test = (
            torch.from_numpy(result.features(images, peer)) for images in (data.train_images, data.test_images)
        )
        labels = [torch.from_numpy(each.copy()) for each in (data.train_labels, data.test_labels)]
        options = config.evaluation.knn.model_dump()
        rows = [torch.from_numpy(rows) for rows in (chosen.train, chosen.test)]
        found = probes.knn(train[rows[0]], labels[0][rows[0]], test[rows[1]], labels[1][rows[1]], 4, **options)
        correct.append(found.float().mean().item())
    assert np.mean(correct) == pytest.approx(result.summary["probes"]["knn"]["trained"])


def test_outputs__are_as_far_from_each_other_as_the_run_says(tmp_path: Path) -> None:
    """Without BatchNorm, measures see what eval mode does. The distance is written out from its definition."""
    result = run(tmp_path, peers={"norm": "none"})
    data = load_data(result.config)
    batch = probe_images(data, ProbeConfig(probes=("knn",), probe_batch=24), result.config.run.seed).batch
    outputs = np.stack([result.outputs(data.test_images[batch], peer) for peer in range(COUNT)]).astype(np.float64)
    outputs -= outputs.mean(axis=2, keepdims=True)
    apart = ((outputs - outputs.mean(axis=0)) ** 2).sum(axis=2).mean()
    relative = apart / (outputs**2).sum(axis=2).mean()
    last = result.summary["consensus"]["relative_distance"]["last"]
    assert relative == pytest.approx(last, rel=1e-5) and last > 1e-3


def test_predict__is_right_as_often_as_the_run_says(tmp_path: Path) -> None:
    result = run(tmp_path, exchange={"supervised": 1.0}, data={"num_classes": 4})
    data = load_data(result.config)
    accuracies = [(result.predict(data.test_images, peer) == data.test_labels).mean() for peer in range(COUNT)]
    rows = result.table("peers").to_pylist()
    assert np.mean(accuracies) == pytest.approx(result.summary["probes"]["top1"]["trained"])
    assert max(accuracies) > 1 / 4 and rows


def test_predict__without_labels_no_output_is_a_class(tmp_path: Path) -> None:
    result = run(tmp_path)
    with pytest.raises(ConfigError, match=r"\Apredict: the peers learned without labels .* no output stands for a cla"):
        result.predict(load_data(result.config).test_images, 0)


def test_normalisation__is_that_of_the_training_images(tmp_path: Path) -> None:
    result = run(tmp_path)
    wanted = channel_statistics(load_data(result.config).train_images)
    for found in (
        result.normalisation,
        load_result(result.folder).normalisation,
        result.trained(0).inputs.normalisation,
    ):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, wanted, strict=True))


# ---- from the folder ----


def test_load_result__is_what_simulate_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path)
    monkeypatch.chdir(tmp_path)
    loaded = load_result(result.folder.name)  # a path that is relative then
    monkeypatch.chdir("/")
    assert loaded == result
    images = load_data(result.config).test_images
    assert np.array_equal(loaded.outputs(images, 2), result.outputs(images, 2))
    for name in KEYS:
        written = pq.read_table(result.folder / "metrics" / f"{name}.parquet")
        assert loaded.table(name).equals(result.table(name)) and result.table(name).equals(written) and written.num_rows


def test_load_result__needs_no_data_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (150, 2, 6, 6), dtype=np.uint8), rng.integers(0, 4, 150)
    mine = Dataset("mine", pixels[:100], labels[:100], pixels[100:], labels[100:], 4)
    result = simulate(load_config(table()), tmp_path, data=mine)
    assert np.array_equal(load_result(result.folder).features(pixels, 0), result.features(pixels, 0))


def test_load_result__of_an_interrupted_run_then_of_the_resumed(tmp_path: Path) -> None:
    interrupts = Interrupts()

    class Stopping:
        def observe(self, event: RunEvent) -> None:
            interrupts.stop_requested |= isinstance(event, RoundCompleted) and event.completed == 3

    result = simulate(load_config(table()), tmp_path, [Stopping()], interrupts=interrupts)
    loaded = load_result(result.folder)
    assert loaded == result and loaded.status == "interrupted" and "resume" in loaded.message
    assert loaded.trained(0).completed == loaded.summary["rounds"] < 8
    loaded.network(0)  # without a warning: it is of the summary's round
    finished = resume(result.folder)
    assert digest(load_result(result.folder)) == digest(finished) == finished.summary["digest"]
    with pytest.warns(UserWarning, match=r"\Apeer 0 is as after round 8, .* and the summary is of round \d\Z"):
        loaded.network(0)


def test_network__a_damaged_checkpoint_is_told_and_the_one_before_it_used(tmp_path: Path) -> None:
    result = run(tmp_path)
    earlier = trained_peer(result.config, run(tmp_path, run={"rounds": 4}).folder, 1)
    damage(result.folder, "round-000008", 1)
    with pytest.warns(UserWarning) as told:
        network = load_result(result.folder).network(1)
    assert [str(each.message) for each in told] == [
        "the checkpoint of round 8 is damaged: peer-0001.safetensors is not what was written: its checksum differs; "
        "the one before it is used, if there is one",
        "peer 1 is as after round 4, from the newest whole checkpoint, and the summary is of round 8",
    ]
    assert snapshot.digest(network) == snapshot.digest(earlier.network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.network(0)  # its file is whole
    damage(result.folder, "round-000004", 1)
    with pytest.raises(ConfigError, match=r"has no whole checkpoint: the checkpoint of round 8 is damaged.*round 4 is"):
        result.network(1)


def test_network__a_peer_that_has_dropped_out_is_told(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        run={"on_nonfinite": "drop-peer"},
        peers={"groups": [{"count": 2}, {"count": 1, "optimizer": {"kind": "sgd", "lr": 1e38}}], "norm": "none"},
    )
    assert list(result.summary["not_finite"]) == ["2"]
    with pytest.warns(UserWarning, match=r"\Apeer 2 has dropped out: .* not finite"):
        result.network(2)
    result.network(0)


# ---- mistakes ----


def test_network__without_checkpoints_says_what_to_set(tmp_path: Path) -> None:
    result = run(tmp_path, checkpoint={"every": 0})
    with pytest.raises(ConfigError, match=r"\A'.*' has no whole checkpoint: run it with checkpoint.every above 0, on "):
        result.outputs(load_data(result.config).test_images, 0)
    assert result.table("rounds").num_rows == 9  # all else is there


@pytest.mark.parametrize("peer", [-1, COUNT, True])
def test_network__of_no_peer(peer: Any, tmp_path: Path) -> None:
    result = run(tmp_path, run={"rounds": 1}, evaluation={"probes": []})
    with pytest.raises(ConfigError, match=rf"\Apeer: must be 0 to 2, got {peer!r}\Z"):
        result.network(peer)


def test_trained_peer__another_network_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path)
    wide = PeersConfig.model_validate({"count": 3, "model": {"kind": "mlp", "hidden": [8]}})
    with pytest.raises(
        ConfigError, match=r"\Anetwork: peer 0 has 'encoder.0.bias' of shape \(4,\) in its checkpoint, but "
    ):
        trained_peer(result.config.model_copy(update={"peers": wide}), result.folder, 0)


def test_table__another_name_or_a_lost_file(tmp_path: Path) -> None:
    result = run(tmp_path)
    with pytest.raises(ConfigError, match=r"\Atable: must be one of rounds, peers, edges, pairs, got 'links'\Z"):
        result.table("links")
    (result.folder / "metrics" / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"\Atable: cannot read '.*pairs.parquet' \(.*\): bring the file back\Z"):
        result.table("pairs")


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "killed": (lambda run: (run / "summary.json").unlink(), "has no summary.json, as its run has not ended or was kil"),
    "no JSON": (lambda run: (run / "summary.json").write_text("{"), "the summary.json of '.*' is damaged: go on with"),
    "no summary": (lambda run: (run / "summary.json").write_text("[]"), "the summary.json of '.*' is damaged: go on "),
    "no run": (lambda run: (run / "config.toml").unlink(), "is no run's folder: it has no config.toml; name one such"),
    "ablation": (lambda run: (run / "ablation.toml").touch(), "is an ablation: use load_ablation_result, or name a ru"),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGES.values(), ids=DAMAGES)
def test_load_result__of_a_folder_without(damage: Callable[[Path], Any], line: str, tmp_path: Path) -> None:
    folder = run(tmp_path, run={"rounds": 1}).folder
    damage(folder)
    with pytest.raises(ConfigError, match=rf"\Aload_result: .*{line}"):
        load_result(folder)


def test_load_result__of_a_version_without_normalisation(tmp_path: Path) -> None:
    """The networks of such a run are refused, since nobody could say what to feed them."""
    folder = run(tmp_path).folder
    summary = json.loads((folder / "summary.json").read_text())
    del summary["data"]["normalisation"]
    (folder / "summary.json").write_text(json.dumps(summary))
    for name in ("round-000004", "round-000008"):
        manifest = folder / "checkpoints" / name / "manifest.json"
        body = json.loads(manifest.read_text())
        del body["sha256"], body["state"]["data"]
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        manifest.write_text(json.dumps({**body, "sha256": hashlib.sha256(canonical).hexdigest()}))
    loaded = load_result(folder)
    for use in (lambda: loaded.normalisation, lambda: loaded.network(0)):
        with pytest.raises(ConfigError, match=r"was written by an older version of peer-consensus, which kept no norm"):
            use()
    assert resume(folder, rounds=9).trained(0).completed == 9  # as the message says


def test_load_result__moved_with_its_checkpoints(tmp_path: Path) -> None:
    result = run(tmp_path / "here")
    shutil.move(result.folder, tmp_path / "there")
    assert digest(load_result(tmp_path / "there")) == result.summary["digest"]
