"""Files that are not such as a run writes: each is left out and named, and spoils nothing beside it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coordinator.documents.document import run_document
from coordinator.documents.listing import RunList
from coordinator.records.files.progress import PROGRESS
from tests.coordinator.documents.run_folders import finished_run

PEERS, SUMMARY = 3, "summary.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs"), rounds=4, peers=PEERS, probe_every=2)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(finished, tmp_path / "run")


def put(path: Path, place: tuple[str, ...], value: object) -> None:
    """Put a value at a place in a file of JSON."""
    within = content = json.loads(path.read_text())
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = value
    path.write_text(json.dumps(content))


def flags_of(run: Path) -> list[str]:
    flags: list[str] = run_document(run, ended=False)["flags"]
    return flags


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        (SUMMARY, ("probes", "knn", "gain"), 1e308),
        (SUMMARY, ("flags",), [[]]),
        (PROGRESS, ("faults",), [1]),
        (PROGRESS, ("at",), float("nan")),
        (PROGRESS, ("started",), 1e299),
        (PROGRESS, ("probes",), {"calibrated": {"knn": ["x"] * PEERS}}),
    ],
)
def test_document__a_value_that_no_run_writes(run: Path, name: str, place: tuple[str, ...], value: object) -> None:
    before = len(flags_of(run))
    put(run / name, place, value)
    document = run_document(run, ended=False)
    assert len([flag for flag in document["flags"] if flag.startswith(f"{name} cannot be read (")]) == 1
    assert len(document["flags"]) == before + 1 and document["curves"] and document["status"] == "finished"
    assert json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("name", [PROGRESS, SUMMARY, "metrics/edges.parquet"])
def test_document__a_pipe_keeps_no_reader_waiting(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    assert f"{name} cannot be read (it is no regular file)" in flags_of(run)


@pytest.mark.parametrize("name", [SUMMARY, "metrics/rounds.parquet"])
def test_document__a_folder_of_a_files_name(run: Path, name: str) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    assert [flag for flag in flags_of(run) if flag.startswith(f"{name} cannot be read (")]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("rounds", "round", None), ("rounds", "loss", [1.0]), ("peers", "round", "x"), ("edges", "teacher", 0.5)],
)
def test_document__a_column_of_another_type(run: Path, table: str, column: str, value: Any) -> None:
    path = run / "metrics" / f"{table}.parquet"
    rows = pq.read_table(path)
    other = pa.array([value] * rows.num_rows)
    pq.write_table(rows.set_column(rows.column_names.index(column), column, other), path)
    assert [flag for flag in flags_of(run) if flag.startswith(f"metrics/{table}.parquet cannot be read (")]


def test_list__what_no_run_has_written_spoils_no_other(finished: Path, tmp_path: Path) -> None:
    for name in ("whole", "config", "gain", "at"):
        shutil.copytree(finished, tmp_path / name)
    put(tmp_path / "config" / SUMMARY, ("config", "run"), None)
    put(tmp_path / "gain" / SUMMARY, ("probes", "knn", "gain"), "x")
    put(tmp_path / "at" / PROGRESS, ("at",), float("nan"))
    document = RunList(tmp_path, lambda path: path.name).read()
    entries = {entry["name"]: entry for entry in document["runs"]}
    assert json.dumps(document, allow_nan=False) and {entry["status"] for entry in entries.values()} == {"finished"}
    assert entries["whole"]["headline"][0].startswith("kNN: ") and not entries["gain"]["headline"]
    assert entries["config"]["headline"] == [f"{SUMMARY} cannot be read (it holds what no run writes: AttributeError)"]


def test_document__a_peer_that_ends_the_run_is_marked_in_its_last_round(run: Path) -> None:
    put(run / SUMMARY, ("not_finite",), {"1": {"round": 5, "reason": "loss is nan"}})
    (mark,) = run_document(run)["peers"]["marks"]["1"]
    assert mark == {"kind": "dropped", "words": "dropped in round 5: loss is nan", "from": 4}
