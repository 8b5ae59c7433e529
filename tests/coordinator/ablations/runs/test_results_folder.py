"""The folder of an ablation: what counts as finished, what is replaced, what is left alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coordinator import load_ablation
from coordinator.ablations.runs.parallel_runs import Outcome, RunStatus
from coordinator.ablations.runs.results_folder import (
    NEEDED,
    axis_columns,
    count_unlisted_cells,
    folder_of,
    read_summary,
    remove_temporary_folders,
    result_rows,
    scalars,
    store_run,
)
from coordinator.records.files.run_folder import KEYS, temporary_folder_prefix, to_arrow

BASE: dict[str, Any] = {
    "seeds": [0, 3],
    "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
    "peers": {"count": 4, "model": {"kind": "mlp", "hidden": [8]}},
    "grid": {"topology": [{"kind": "ring"}, {"kind": "self"}]},
}


def test_keep__a_finished_run_stays(tmp_path: Path) -> None:
    target = tmp_path / "cells" / "key" / "seed-0"
    for rounds, status in enumerate(("stopped", "finished", "finished")):
        store_run(outcome_of(status=status, rounds=rounds), target)
    assert json.loads((target / "summary.json").read_text())["rounds"] == 1
    assert [path.name for path in target.parent.iterdir()] == ["seed-0"]


def test_keep__a_config_with_a_password_is_its_owners_alone(tmp_path: Path) -> None:
    outcome = outcome_of()
    outcome.files["config.toml"] = b'[tracking]\nuri = "https://me:word@host"\n'
    store_run(outcome, tmp_path / "seed-0")
    written = tmp_path / "seed-0" / "config.toml"
    assert written.stat().st_mode & 0o777 == 0o600 and written.read_bytes() == outcome.files["config.toml"]


def outcome_of(**parts: Any) -> Outcome:
    """A run that is whole."""
    summary = {name: kind() for name, kind in NEEDED.items() if kind is not object}
    summary |= {name: 1 for name, kind in NEEDED.items() if kind is object} | {"status": "finished"} | parts
    sink = pa.BufferOutputStream()
    pq.write_table(to_arrow([{"round": 1}]), sink)
    tables = {f"metrics/{name}.parquet": sink.getvalue().to_pybytes() for name in KEYS}
    return Outcome(
        RunStatus.FINISHED, "", {"summary.json": json.dumps(summary).encode(), "config.toml": b"", **tables}, 1.0
    )


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no timing": lambda run: (run / "timing.json").unlink(),
    "no seconds": lambda run: (run / "timing.json").write_text("{}"),
    "no config": lambda run: (run / "config.toml").unlink(),
    "no rounds": lambda run: (run / "metrics" / "rounds.parquet").unlink(),
    "half a table": lambda run: (run / "metrics" / "pairs.parquet").write_bytes(b"PAR1garbage"),
    "no keys": lambda run: (run / "summary.json").write_text('{"status": "finished"}'),
    "no list": lambda run: (run / "summary.json").write_text(json.dumps({"status": "finished", "flags": 1})),
    "no summary": lambda run: (run / "summary.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_read_summary__a_damaged_run_is_missing_and_replaced(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    target = tmp_path / "seed-0"
    store_run(outcome_of(), target)
    assert read_summary(target) is not None
    damage(target)
    assert read_summary(target) is None
    store_run(outcome_of(), target)
    assert read_summary(target) is not None


def test_scalars__what_diverged_and_what_is_an_artefact_are_texts() -> None:
    summary = json.loads(outcome_of().files["summary.json"]) | {
        "artefacts": ["knn", "sgd"],
        "not_finite": {"2": {"round": 5, "reason": "x"}, "3": {"round": 7, "reason": "y"}},
        "probes": {"knn": {"gain": 0.5, "interval": [0.25, 0.75]}},
    }
    found = scalars(summary)
    assert found["artefacts"] == "knn, sgd" and found["not_finite"] == "peer 2: round 5; peer 3: round 7"
    assert found["probes.knn.interval_low"] == 0.25 and found["probes.knn.interval_high"] == 0.75


def test_result_rows__an_axis_leaves_what_was_measured(tmp_path: Path) -> None:
    """An axis that has the name of a fact."""
    kinds = [{"kind": "random-regular", "degree": 2}]
    ablation = load_ablation({**BASE, "grid": {"topology": kinds, "topology.degree": [2, 3]}, "seeds": [0]})
    for cell in ablation.cells:
        store_run(outcome_of(topology={"degree": 2}), folder_of(tmp_path, (cell, 0)))
    rows = result_rows(tmp_path, ablation, {})
    assert [(row["topology.degree"], row["axis.topology.degree"]) for row in rows] == [(2, 2), (2, 3)]


RING: dict[str, Any] = {"topology": {"kind": "ring"}}


def axes(grid: dict[str, Any], **parts: Any) -> list[dict[str, Any]]:
    """The columns of the axes, a row for each cell."""
    ablation = load_ablation({**BASE, "grid": grid, **parts})
    return [axis_columns(ablation)[cell.key] for cell in ablation.cells]


def test_axis_columns__a_kind_and_its_options_beside_it() -> None:
    """An option is null where a kind has none, and the default where a level leaves it out."""
    levels = [{"kind": "random-regular", "degree": 2}, {"kind": "ring"}, {"kind": "random-regular", "degree": 3}]
    assert axes({"topology": levels}) == [
        {"axis.topology": "random-regular", "axis.topology.degree": 2},
        {"axis.topology": "ring", "axis.topology.degree": None},
        {"axis.topology": "random-regular", "axis.topology.degree": 3},
    ]
    heads = axes({"peers.head": [{"kind": "linear", "dim": 4}, {"kind": "none"}, {"kind": "linear"}]}, **RING)
    assert [tuple(row.values()) for row in heads] == [("linear", 4), ("none", None), ("linear", 64)]


def test_axis_columns__are_plain_values_of_one_type() -> None:
    found = axes(
        {"peers.model": [{"kind": "mlp", "hidden": [8, 4]}, {"kind": "small-cnn"}], "run.rounds": [2, 3]}, **RING
    )
    assert [tuple(row.values()) for row in found] == [
        (*model, rounds) for model in (("mlp", "8-4"), ("small-cnn", None)) for rounds in (2, 3)
    ]
    assert list(found[0]) == ["axis.peers.model", "axis.peers.model.hidden", "axis.run.rounds"]
    whole = axes({"peers.optimizer.lr": [1, 0.5]}, **RING)
    assert [row["axis.peers.optimizer.lr"] for row in whole] == [1.0, 0.5] and type(whole[0].popitem()[1]) is float
    mixed = axes({"hosting.evaluators": ["auto"], "topology.kind": ["ring", "self"], "evaluation.reset": [True, False]})
    assert [tuple(row.values()) for row in mixed] == [
        ("auto", kind, reset) for kind in ("ring", "self") for reset in (True, False)
    ]
    table = to_arrow(found)
    assert [str(field.type) for field in table.schema] == ["string", "string", "int64"]


def test_axis_columns__a_table_without_a_kind_is_its_settings() -> None:
    both = [{"rounds": 3, "on_nonfinite": "stop"}, {"rounds": 4}]
    assert axes({"run": both}, **RING) == [
        {"axis.run.rounds": rounds, "axis.run.on_nonfinite": "stop"} for rounds in (3, 4)
    ]


def test_strangers__are_folders_that_look_like_cells(tmp_path: Path) -> None:
    (tmp_path / "cells" / "0123456789ab").mkdir(parents=True)
    (tmp_path / "cells" / "notes").mkdir()
    (tmp_path / "cells" / ".DS_Store").touch()
    (tmp_path / "cells" / "ba9876543210").touch()
    assert count_unlisted_cells(tmp_path, load_ablation(BASE)) == 1


def test_sweep__removes_what_runs_of_this_folder_left_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, other = Path("/a/tiny"), Path("/b/tiny")
    for folder in (mine, other):
        (tmp_path / f"{temporary_folder_prefix(folder)}xyz" / "run").mkdir(parents=True)
    remove_temporary_folders(mine)
    assert [path.name for path in tmp_path.iterdir()] == [f"{temporary_folder_prefix(other)}xyz"]
