"""Data that is given from Python is what the run says it was; a run goes on with nothing else."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator import ConfigError, load_config, resume, simulate
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.run.signals import Interrupts
from peers.data.dataset_check import digest_of
from peers.data.datasets import Dataset, channel_statistics


def images(seed: int, name: str = "mine") -> Dataset:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (150, 1, 6, 6), dtype=np.uint8)
    labels = rng.integers(0, 3, 150)
    return Dataset(name, pixels[:100], labels[:100], pixels[100:], labels[100:], 3)


def config(*overrides: str) -> Any:
    table = {
        "run": {"rounds": 6},
        "data": {"kind": "digits", "batch_size": 20},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_batch": 20, "probes": ["knn"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2},
    }
    return load_config(table, overrides)


class Stopping:
    """Interrupts the run after its third round."""

    def __init__(self) -> None:
        self.interrupts = Interrupts()

    def observe(self, event: RunEvent) -> None:
        self.interrupts.stop_requested |= isinstance(event, RoundCompleted) and event.completed == 3


def interrupted(tmp_path: Path, dataset: Dataset | None, *overrides: str) -> Path:
    stopping = Stopping()
    result = simulate(config(*overrides), tmp_path, [stopping], interrupts=stopping.interrupts, data=dataset)
    assert result.status == "interrupted"
    return result.folder


def test_simulate__given_data_is_named_everywhere(tmp_path: Path):
    mine = images(0)
    result = simulate(config(), tmp_path, data=mine)
    digest = digest_of(mine).hex()
    section = result.summary["config"]["data"]
    assert (section["kind"], section["name"], section["digest"]) == ("given", "mine", digest)
    assert section["batch_size"] == 20
    numbers = {"train": 100, "test": 50, "shape": [1, 6, 6], "dtype": "uint8", "classes": 3}
    mean, std = (values.tolist() for values in channel_statistics(mine.train_images))
    assert result.summary["data"] == {
        "name": "mine",
        **numbers,
        "sha256": digest,
        "normalisation": {"mean": mean, "std": std},
    }
    text = (result.folder / "config.toml").read_text()
    assert text.startswith("# This file alone is not all of it: its data was given")
    assert 'kind = "given"' in text and digest in text
    page = re.sub("<script>.*?</script>", "", (result.folder / "report.html").read_text(), flags=re.DOTALL)
    assert "mine, given from Python" in page and digest[:12] in page and "digits" not in page


def test_simulate__data_that_was_loaded_has_its_digest_too(tmp_path: Path):
    summary = simulate(config(), tmp_path).summary
    assert summary["data"]["sha256"] == digest_of(config().data.load(0)).hex()
    assert summary["config"]["data"]["kind"] == "digits"


def test_run__a_config_of_given_data_is_refused_without_it(
    tmp_path: Path, cli: Callable[..., tuple[Any, str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    folder = interrupted(tmp_path / "runs", images(0))
    for command in (("run", str(folder / "config.toml")), ("resume", str(folder))):
        code, _, err = cli(*command)
        assert code == 2 and err.count("\n") == 1
        assert err.startswith("error: data.kind: 'given' means an object from Python ('mine', SHA-256 ")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.name]  # nothing was started


def test_resume__goes_on_with_the_same_data_only(tmp_path: Path):
    mine = images(0)
    straight = simulate(config(), tmp_path / "straight", data=mine)
    folder = interrupted(tmp_path / "runs", mine)
    before = (folder / "config.toml").read_text()
    with pytest.raises(ConfigError, match=r"data: must be what the run was given \('mine', SHA-256 .*, got 'mine'"):
        resume(folder, data=images(1))
    assert (folder / "config.toml").read_text() == before
    result = resume(folder, data=replace(mine, name="another name for it"))
    assert result.status == "finished" and result.summary["digest"] == straight.summary["digest"]
    assert result.summary["probes"] == straight.summary["probes"]


def test_resume__a_run_that_loaded_its_data_takes_none(tmp_path: Path):
    folder = interrupted(tmp_path, None)
    with pytest.raises(ConfigError, match=r"data: the run was started with what its config names \(data 'digits'\)"):
        resume(folder, data=images(0))


def test_resume__data_that_has_changed_on_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = interrupted(tmp_path, None)
    monkeypatch.setattr("peers.data.loading.load_digits", lambda seed: images(1))
    with pytest.raises(ConfigError, match=r"data: the images or labels have changed since the run was started"):
        resume(folder)
    monkeypatch.undo()
    assert resume(folder).status == "finished"


def test_simulate__limits_hold_for_given_data(tmp_path: Path):
    mine = images(0)
    summary = simulate(config("data.train_limit=60", "data.validation=20"), tmp_path, data=mine).summary
    assert (summary["data"]["train"], summary["data"]["test"]) == (40, 20)
    assert summary["config"]["data"]["digest"] == digest_of(mine).hex() != summary["data"]["sha256"]
    with pytest.raises(ConfigError, match=r"data.train_limit: must be at most the 100 train examples, got 101"):
        simulate(config("data.train_limit=101"), tmp_path, data=mine)
    with pytest.raises(ConfigError, match=r"data.on_each_node is true, but nodes cannot read data that is given"):
        simulate(config("data.on_each_node=true"), tmp_path, data=mine)


def test_resume__the_digest_is_in_the_summary_of_the_folder(tmp_path: Path):
    result = simulate(config(), tmp_path, data=images(0))
    assert json.loads((result.folder / "summary.json").read_text())["data"]["shape"] == [1, 6, 6]


def test_resume__links_that_have_changed_on_the_disk_are_refused(tmp_path: Path):
    links = tmp_path / "links.csv"
    before = "student,teacher\n0,1\n1,2\n2,0\n"
    links.write_text(before)
    overrides = ("topology={kind='file',path='" + str(links) + "'}",)
    folder = interrupted(tmp_path / "runs", None, *overrides)
    links.write_text("student,teacher\n0,2\n1,0\n2,1\n")
    with pytest.raises(
        ConfigError, match=r"topology.path: the links have changed since the run was started \(SHA-256 "
    ):
        resume(folder)
    links.write_text("teacher,student\n2,1\n1,0\n0,2\n")  # the same links, written otherwise
    assert resume(folder).status == "finished"


def test_resume__links_of_a_later_round_that_have_changed_are_refused(tmp_path: Path):
    links = tmp_path / "links.csv"
    links.write_text("round,student,teacher\n0,0,1\n1,1,2\n2,2,0\n")
    folder = interrupted(tmp_path / "runs", None, "topology={kind='file',path='" + str(links) + "'}")
    links.write_text("round,student,teacher\n0,0,1\n1,1,2\n2,2,1\n")
    with pytest.raises(ConfigError, match=r"topology.path: the links have changed since the run was started"):
        resume(folder)
    links.write_text("teacher,student,round\n0,2,2\n1,0,0\n2,1,1\n")  # the same links, written otherwise
    assert resume(folder).status == "finished"


def test_simulate__given_data_that_is_not_sound_is_one_line(tmp_path: Path):
    mine = images(0)
    wrong = replace(mine, train_labels=mine.train_labels + 1)
    with pytest.raises(ConfigError, match=r"dataset: labels must be in 0..2 for num_classes = 3, got 0 to 3"):
        simulate(config(), tmp_path, data=wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [None, 3, "", "\ud800", "a\0b", "a\nb", "x" * 1000])
def test_simulate__a_name_that_no_file_could_hold(tmp_path: Path, name: Any):
    mine = images(0)
    object.__setattr__(mine, "name", name)
    with pytest.raises(ConfigError, match=r"dataset: name must be text of 1 to 200 printable characters, got"):
        simulate(config(), tmp_path, data=mine)
