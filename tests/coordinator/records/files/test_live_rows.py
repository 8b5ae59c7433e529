from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coordinator.records.files import live_rows
from coordinator.records.files.live_rows import LiveRows
from coordinator.records.files.run_folder import KEYS, LIVE, RunFolder


def read(folder: RunFolder, *kinds: str) -> dict[str, list[dict[str, object]]]:
    """The rows by table, as a reader puts them together: later files win."""
    found: dict[str, dict[tuple[object, ...], dict[str, object]]] = {name: {} for name in KEYS}
    for kind in kinds or (".parts", LIVE):
        for name, keys in KEYS.items():
            for path in sorted((folder.path / "metrics" / kind).glob(f"{name}-*.parquet")):
                rows = pq.read_table(path).to_pylist()
                found[name] |= {
                    tuple(row[key] for key in keys): {key: value for key, value in row.items() if value is not None}
                    for row in rows
                }
    return {name: list(rows.values()) for name, rows in found.items()}


def record(folder: RunFolder, completed: int, **values: float) -> None:
    folder.record("rounds", {"round": completed}, values or {"loss": 1.0 / completed})
    for peer in range(3):
        folder.record("peers", {"round": completed, "peer": peer}, values or {"loss": float(peer)})


def test_write__gives_the_rows_so_far(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    live = LiveRows(folder)
    for completed in range(1, 6):
        record(folder, completed)
        live.write()
        assert read(folder) == {name: folder.rows(name) for name in KEYS}  # type: ignore[arg-type]
    assert len(list(live.path.iterdir())) == 2  # one file for each table that has rows


def test_write__full_files_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_rows, "MOST_ROWS", 10)  # four rows a round: a file of three rounds is full
    folder = RunFolder(tmp_path, "run")
    live, seen = LiveRows(folder), dict[str, bytes]()
    for completed in range(1, 10):
        record(folder, completed)
        record(folder, max(completed - 4, 1), late=0.5)  # a row of a file that is left as it is
        live.write()
        assert read(folder) == {name: folder.rows(name) for name in KEYS}  # type: ignore[arg-type]
        files = sorted(live.path.glob("peers-*.parquet"))
        assert all(path.read_bytes() == seen[path.name] for path in files[:-1])
        seen = {path.name: path.read_bytes() for path in files}
    assert len(seen) > 3


def test_clear__the_checkpoint_has_the_rows(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    live = LiveRows(folder)
    record(folder, 1)
    live.write()
    folder.save_rows()
    live.clear()
    assert not list(live.path.iterdir())
    assert read(folder, ".parts") == {name: folder.rows(name) for name in KEYS}  # type: ignore[arg-type]
    record(folder, 2)
    live.write()
    assert [row["round"] for row in read(folder, LIVE)["rounds"]] == [2]
    assert read(folder) == {name: folder.rows(name) for name in KEYS}  # type: ignore[arg-type]


def test_live_rows__those_of_a_killed_process_are_gone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    live = LiveRows(folder)
    record(folder, 7)
    live.write()
    again = RunFolder.reopened(folder.path)
    again.load_tables(3)
    LiveRows(again)
    assert not live.path.exists()


def test_write_tables__leaves_no_live_rows(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    live = LiveRows(folder)
    record(folder, 1)
    live.write()
    folder.write_tables()
    live.write()
    assert not live.path.exists()


def test_write__of_no_rows_leaves_nothing(tmp_path: Path) -> None:
    live = LiveRows(RunFolder(tmp_path, "run"))
    live.write()
    assert not live.path.exists()
