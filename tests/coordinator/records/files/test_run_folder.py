import json
import os
import stat
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator.experiment.config import ConfigError
from coordinator.records.files.run_folder import RunFolder, check_output, to_arrow, to_json, write_whole


def test_record__merges_rows_of_one_key(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.record("peers", {"round": 1, "peer": 0}, {"loss": 2.0})
    folder.record("peers", {"round": 1, "peer": 1}, {"loss": 3.0})
    folder.record("peers", {"round": 1, "peer": 0}, {"knn_accuracy": 0.5, "loss": 2.5})
    assert folder.rows("peers") == [
        {"round": 1, "peer": 0, "loss": 2.5, "knn_accuracy": 0.5},
        {"round": 1, "peer": 1, "loss": 3.0},
    ]
    assert folder.rows("rounds") == folder.rows("edges") == []


def test_record__leaves_the_dictionaries_it_is_given(tmp_path: Path) -> None:
    folder, key, values = RunFolder(tmp_path, "run"), {"round": 0}, {"loss": 1.0}
    folder.record("rounds", key, values)
    folder.record("rounds", {"round": 0}, {"bytes": 3})
    assert (key, values) == ({"round": 0}, {"loss": 1.0})


def test_write_tables__parquet_round_trip(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    for round_index in range(5):
        measured = {"agreement": round_index / 4} if round_index % 2 == 0 else {}
        folder.record("rounds", {"round": round_index}, {"loss": None if round_index == 0 else 0.1, **measured})
    folder.record("edges", {"round": 0, "student": 1, "teacher": 2}, {"weight": 0.5})
    written = folder.write_tables()
    assert [path.name for path in written] == ["rounds.parquet", "peers.parquet", "edges.parquet", "pairs.parquet"]
    rounds = pq.read_table(written[0])
    assert rounds.column_names == ["round", "loss", "agreement"]
    assert rounds["agreement"].to_pylist() == [0.0, None, 0.5, None, 1.0]
    assert rounds["loss"].to_pylist() == [None, 0.1, 0.1, 0.1, 0.1]
    assert pq.read_table(written[1]).num_rows == 0
    assert pq.read_table(written[2]).to_pylist() == [{"round": 0, "student": 1, "teacher": 2, "weight": 0.5}]


def test_write_tables__writes_anew_and_leaves_no_parts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    for round_index in range(2):
        folder.record("rounds", {"round": round_index}, {"loss": 1.0})
        folder.write_tables()
    names = sorted(path.name for path in (folder.path / "metrics").iterdir())
    assert names == ["edges.parquet", "pairs.parquet", "peers.parquet", "rounds.parquet"]
    assert pq.read_table(folder.path / "metrics/rounds.parquet")["round"].to_pylist() == [0, 1]


def test_save_rows__a_row_that_is_changed_later_is_saved_again(tmp_path: Path) -> None:
    """As by probes that are late, when a checkpoint of a control run has come in between."""
    folder = RunFolder(tmp_path, "run")
    for completed in range(3):
        folder.record("rounds", {"round": completed}, {"loss": 1.0})
        folder.record("peers", {"round": completed, "peer": 0}, {"loss": 1.0})
        folder.save_rows()
    folder.record("peers", {"round": 1, "peer": 0}, {"knn_accuracy": 0.5})
    folder.save_rows()
    again = RunFolder.reopened(folder.path)
    assert again.load_tables(2)
    assert {row["round"]: row.get("knn_accuracy") for row in again.rows("peers")} == {0: None, 1: 0.5, 2: None}


def test_replace__only_the_last_rows_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.replace("pairs", [{"round": 0, "peer": 0, "other": other, "cka": 0.5} for other in (1, 2)])
    folder.replace("pairs", [{"round": 5, "peer": 0, "other": 1, "cka": 0.75}])
    table = pq.read_table(folder.write_tables()[-1])
    assert table.to_pylist() == [{"round": 5, "peer": 0, "other": 1, "cka": 0.75}]
    folder.replace("pairs", [])
    assert pq.read_table(folder.write_tables()[-1]).column_names == ["round", "peer", "other"]


def test_to_arrow__null_where_a_row_lacks_a_key_and_nan_stays() -> None:
    table = to_arrow([{"a": 1}, {"b": float("nan"), "a": 2}, {"c": "x"}])
    assert table.column_names == ["a", "b", "c"]
    assert table["a"].to_pylist() == [1, 2, None]
    assert [table["b"].is_null().to_pylist(), table["c"].to_pylist()] == [[True, False, True], [None, None, "x"]]


def test_to_arrow__whole_numbers_and_fractions_share_a_column() -> None:
    assert to_arrow([{"a": 1}, {"a": 0.5}, {"a": None}])["a"].to_pylist() == [1.0, 0.5, None]


def test_to_json__null_for_what_is_not_finite() -> None:
    values = {
        "nan": float("nan"),
        "deep": [{"inf": np.float32("inf")}, (1, 2.5, None)],
        3: np.int64(4),
        "yes": np.bool_(True),
        "word": "größe",
    }
    expected = {"nan": None, "deep": [{"inf": None}, [1, 2.5, None]], "3": 4, "yes": True, "word": "größe"}
    text = to_json(values)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == expected
    assert text.endswith("}\n")


def test_write_text__replaces_whole_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run")
    folder.write_text("deep/er/a.txt", "first, and longer")
    path = folder.write_text("deep/er/a.txt", "größe")
    assert path.read_bytes() == "größe".encode()
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_run_folder__same_second_makes_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.records.files.run_folder.time.strftime", lambda _: "20300102-030405")
    names = [RunFolder(tmp_path / "deep" / "runs", "a").path.name for _ in range(3)]
    assert names == ["a-20300102-030405", "a-20300102-030405-1", "a-20300102-030405-2"]


def test_run_folder__output_that_cannot_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file' is a file or lies in one: name a folder"):
        check_output(tmp_path / "file")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError) as error:
        RunFolder(tmp_path / "locked", "a")
    assert str(error.value) == f"--output: cannot make a folder in '{tmp_path / 'locked'}': Permission denied"


def test_write_whole__what_holds_a_password_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an open file was there, or a part of one was left; and never for a moment otherwise."""
    path, aside = tmp_path / "config.toml", tmp_path / ".config.toml.part"
    for each in (path, aside):
        each.write_text("old")
        each.chmod(0o644)
    modes, replace = list[int](), os.replace

    def watched(old: Path, new: Path) -> None:
        modes.append(stat.S_IMODE(os.stat(old).st_mode))
        replace(old, new)

    monkeypatch.setattr(os, "replace", watched)
    opened, fdopen = list[int](), os.open

    def watched_open(name: str, flags: int, mode: int = 0o777, **rest: int) -> int:
        handle = fdopen(name, flags, mode, **rest)
        opened.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return handle

    monkeypatch.setattr(os, "open", watched_open)
    write_whole(path, 'uri = "https://me:word@host"')
    assert modes == opened == [0o600] and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == 'uri = "https://me:word@host"' and not aside.exists()
    before = os.umask(0o022)
    try:
        write_whole(path, 'uri = "https://host"')
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_check_output__refuses_a_name_that_is_not_utf8() -> None:
    with pytest.raises(ConfigError, match=r"^--output: '.*runs\\udcff' is not UTF-8"):
        check_output(os.fsdecode(b"runs\xff"))


def test_check_output__names_that_cannot_be_and_links_to_nowhere(tmp_path: Path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for output, line in (
        (tmp_path / ("x" * 300), "cannot be a folder (File name too long): choose another"),
        (tmp_path / "dangling", "lies behind a link that leads nowhere"),
        (tmp_path / "dangling" / "runs", "lies behind a link that leads nowhere"),
        (tmp_path / "loop", "choose another"),
    ):
        with pytest.raises(ConfigError) as refused:
            check_output(output)
        assert line in str(refused.value) and "\n" not in str(refused.value)


def test_write_whole__leaves_nothing_behind_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
