import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from coordinator.documents.listing import RunList
from coordinator.records.files.progress import PROGRESS
from coordinator.records.files.run_folder import lock, temporary_folder_prefix
from tests.coordinator.documents.run_folders import Staged, finished_run, rows_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs"), rounds=4, name="listed")


def listed(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    document = RunList(folder, lambda path: f"token of {path.name}", **options).read()
    assert json.loads(json.dumps(document, allow_nan=False)) == document and document["kind"] == "list"
    return {entry["name"]: entry for entry in document["runs"]}


def test_list__of_runs_that_go_on_and_have_ended(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "ended")
    going = Staged(run, tmp_path / "going")
    going.live(2)
    lost = Staged(run, tmp_path / "lost", running=False)
    lost.live(2)
    (tmp_path / "no run").mkdir()
    (tmp_path / "mlflow.db").touch()
    entries = listed(tmp_path)
    assert entries.keys() == {"ended", "going", "lost"}
    ended = entries["ended"]
    assert (ended["id"], ended["kind"], ended["status"]) == ("token of ended", "run", "finished")
    assert (ended["completed"], ended["total"]) == (4, 4) and ended["headline"][0].startswith("kNN: ")
    assert len(ended["tones"]) == len(ended["headline"]) and entries["lost"]["tones"] == []
    values = [row["relative_distance"] for row in rows_of(run, "rounds") if row["relative_distance"] is not None]
    first = ended["sparklines"][0]
    assert first["title"] == "disagreement" and first["y"] == [pytest.approx(value, rel=1e-3) for value in values]
    assert (entries["going"]["status"], entries["going"]["completed"]) == ("running", 2)
    assert len(entries["going"]["sparklines"][0]["y"]) == 2
    assert entries["lost"]["status"] == "lost" and entries["lost"]["headline"][0].startswith("no sign of life")


def test_list__a_run_that_was_resumed_and_lost_has_no_verdicts(run: Path, tmp_path: Path) -> None:
    folder = Staged(run, tmp_path / "again", running=False)
    folder.end()
    folder.progress(completed=1)  # of a process that is gone, in another round than the summary's last
    entry = listed(tmp_path)["again"]
    assert (entry["status"], entry["completed"]) == ("lost", 1) and entry["headline"][0].startswith("no sign of life")


def test_list__lines_stay_in_place_while_runs_go_on(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "ended")
    going = {name: Staged(run, tmp_path / name) for name in ("old", "young")}
    for age, name in enumerate(("young", "old", "ended")):
        os.utime(tmp_path / name / "config.toml", (2e9 - age, 2e9 - age))
    reader = RunList(tmp_path, lambda path: path.name)
    for completed, name in enumerate(("young", "old", "young", "old")):
        going[name].live(completed)
        os.utime(tmp_path / name / PROGRESS, (2e9 + completed, 2e9 + completed))
        if completed:
            assert [entry["name"] for entry in reader.read()["runs"]] == ["young", "old", "ended"]


def test_list__reads_only_what_has_changed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        shutil.copytree(run, tmp_path / name)
    going = Staged(run, tmp_path / "going")
    going.live(0)
    reader = RunList(tmp_path, lambda path: path.name)
    first = reader.read()
    read: list[str] = []
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *rest, **more: read.append(path.name) or opened(path, *rest, **more))
    assert reader.read() is first and set(read) <= {"stat"}  # of the process that runs
    going.live(2)
    read.clear()
    second = reader.read()
    assert set(read) - {"stat"} == {".progress.json", "rounds-000000.parquet"}
    before, after = ({entry["name"]: entry for entry in each["runs"]} for each in (first, second))
    assert before["a"] is after["a"] and after["going"]["completed"] == 2


def test_list__of_many_runs_comes_bit_by_bit(run: Path, tmp_path: Path) -> None:
    for number in range(30):
        shutil.copytree(run, tmp_path / f"run-{number}")
    reader = RunList(tmp_path, lambda path: path.name, seconds=0.0)
    assert [entry["status"] for entry in reader.read()["runs"]] == ["unknown"] * 30  # all are there at once
    reader._seconds = 60.0
    assert [entry["status"] for entry in reader.read()["runs"]] == ["finished"] * 30


def test_list__of_an_ablation_has_its_runs(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swept"
    for cell in ("0" * 12, "1" * 12):
        for seed in (0, 1):
            shutil.copytree(run, folder / "cells" / cell / f"seed-{seed}")
    (folder / "ablation.toml").write_text("")
    entries = RunList(folder, lambda path: str(path)).read()["runs"]
    assert [entry["name"] for entry in entries] == ["listed"] * 4 and len({entry["id"] for entry in entries}) == 4
    (line,) = listed(tmp_path).values()
    assert (line["kind"], line["status"], line["completed"]) == ("ablation", "interrupted", 4)
    (folder / "summary.json").write_text('{"headline": ["linear: learned"]}')
    (line,) = listed(tmp_path).values()
    assert (line["status"], line["headline"]) == ("finished", ["linear: learned"])
    assert RunList(folder, lambda path: str(path)).read()["headline"] == ["linear: learned"]
    assert RunList(tmp_path, lambda path: str(path)).read()["headline"] == []
    with (folder / ".lock").open("w") as file:
        lock(file.fileno(), folder)
        (line,) = listed(tmp_path).values()
        assert line["status"] == "running"


@pytest.mark.parametrize("content", ["", "{", '{"status": 3, "probes": []}', '{"config": 1, "rounds": "x"}', "[]"])
def test_list__of_a_damaged_summary(run: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(run, tmp_path / "odd")
    (tmp_path / "odd" / "summary.json").write_text(content)
    (tmp_path / "odd" / ".progress.json").unlink()
    assert listed(tmp_path).keys() == {"odd"}


def test_list__of_an_ablation_has_the_runs_that_go_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in temporary folders until they have finished."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    ablation = tmp_path / "runs" / "ablation"
    shutil.copytree(run, ablation / "cells" / "ring-1234" / "seed-0")
    (ablation / "ablation.toml").touch()
    (ablation / PROGRESS).write_text('{"runs": 6}')
    for owner in (ablation, tmp_path / "other"):
        Staged(run, tmp_path / "temporary" / f"{temporary_folder_prefix(owner)}x" / f"going-{owner.name}").live(2)
    entries = listed(ablation)
    assert {name: entry["status"] for name, entry in entries.items()} == {
        "listed": "finished",
        "going-ablation": "running",
    }
    assert entries["going-ablation"]["completed"] == 2
    above = listed(tmp_path / "runs")["ablation"]
    assert (above["completed"], above["total"]) == (1, 6)
