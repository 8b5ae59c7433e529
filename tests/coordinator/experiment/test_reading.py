import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.ablations.grids.grid import load_ablation
from coordinator.ablations.runs.results_folder import read_summary
from coordinator.checkpoints.snapshots import Checkpoints
from coordinator.experiment.config import ConfigError, load_config
from coordinator.experiment.reading import MAX_BYTES, absolute_path, from_json, plain, read_table, shown, too_deep
from coordinator.run.resume import Finished
from coordinator.scheduling.scheduler import Phase
from peers.learning import peer_files, snapshot
from peers.learning.peer_files import DamagedCheckpoint

DEEP = "[" * 200_000 + "]" * 200_000
MINIMAL: dict[str, Any] = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}


# ---- TOML ----


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("[run]\nrounds = " + "[" * 900 + "]" * 900, "is not TOML: nested more than 32 levels deep"),
        ("[run]\nrounds = " + "[" * 33 + "1" + "]" * 33, "is not TOML: nested more than 32 levels deep"),
        (".".join("a" * 1000) + " = 1", "is not TOML: nested more than 32 levels deep"),
        ("[run]\nseed = " + "9" * 5000, "is not TOML: a number in it has too many digits"),
        ("\0", "is not TOML: Invalid statement"),
        ("#" * (MAX_BYTES + 1), "is no file of settings: it has more than 16 MiB"),
    ],
    ids=["lists", "33", "dots", "digits", "nul", "size"],
)
def test_read_table__what_no_file_of_settings_holds_is_one_line(content: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(content)
    for read in (read_table, load_config, load_ablation):
        with pytest.raises(ConfigError) as error:
            read(path)
        assert str(error.value).startswith(f"config: '{path}' {rule}") and "\n" not in str(error.value)


def test_read_table__begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf[run]\nname = 'gr\xc3\xbcn'\n")
    assert read_table(path) == {"run": {"name": "grün"}}


def test_read_table__a_device_that_never_ends() -> None:
    with pytest.raises(ConfigError, match="'/dev/zero' is no file of settings: it has more than 16 MiB"):
        read_table(Path("/dev/zero"))


def test_read_table__a_name_that_no_file_has() -> None:
    with pytest.raises(ConfigError, match=r"config: cannot read 'a\\x00b': "):
        read_table(Path("a\0b"))


def test_load_config__a_table_that_holds_itself() -> None:
    table: dict[str, Any] = {**MINIMAL, "run": {}}
    table["run"]["again"] = table
    for load in (load_config, lambda each: load_ablation({**each, "grid": {"topology": []}})):
        with pytest.raises(ConfigError, match="config: nested more than 32 levels deep"):
            load(table)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (16**5000, "run.seed: must be a number of at most 19 digits, got one of 20001 bits: lower it"),
        (float("inf"), "run.seed: must be a whole number, got inf"),
        (["x" * 300], f"run.seed: must be a whole number, got ['{'x' * 198}..."),
    ],
    ids=["digits", "infinity", "length"],
)
def test_load_config__values_that_do_not_fit_a_line(value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config({**MINIMAL, "run": {"seed": value}})
    assert str(error.value) == told


@pytest.mark.parametrize("name", ["a\0b", "caf\udce9"])
def test_load_config__texts_that_no_file_can_be_named_after(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config({**MINIMAL, "data": {"kind": "mnist", "root": name}, "tracking": {"experiment": name}})
    assert str(error.value).splitlines() == [
        f"{key}: must be text in UTF-8 without NUL characters, got {name!r}"
        for key in ("data.root", "tracking.experiment")
    ]


# ---- values of Python ----


def test_load_config__takes_numbers_arrays_and_paths_of_python(tmp_path: Path) -> None:
    table = {
        "run": {"seed": np.int64(3), "rounds": np.uint8(7)},
        "data": {"kind": "parquet", "path": tmp_path / "p", "flip": np.bool_(True), "test_fraction": np.float32(0.5)},
        "topology": {"kind": "random-regular", "degree": np.int32(2)},
        "peers": {"model": {"kind": "mlp", "hidden": np.array([4, 5])}, "frozen": (np.int64(1),)},
        "checkpoint": {"path": tmp_path / "c"},
        "exchange": {"supervised": np.array(0.25)},
    }
    config = load_config(table)
    assert config == load_config(
        {
            "run": {"seed": 3, "rounds": 7},
            "data": {"kind": "parquet", "path": str(tmp_path / "p"), "flip": True, "test_fraction": 0.5},
            "topology": {"kind": "random-regular", "degree": 2},
            "peers": {"model": {"kind": "mlp", "hidden": [4, 5]}, "frozen": [1]},
            "checkpoint": {"path": str(tmp_path / "c")},
            "exchange": {"supervised": 0.25},
        }
    )
    assert type(config.run.seed) is int and config.data.path == str(tmp_path / "p")  # type: ignore[union-attr]


def test_plain__keeps_what_it_does_not_know() -> None:
    marker = object()
    assert plain({"a": (np.float64(1.5), None, marker)}) == {"a": [1.5, None, marker]}


def test_too_deep__counts_levels() -> None:
    value: Any = 1
    for _ in range(32):
        value = [value]
    assert not too_deep(value) and too_deep({"a": value})


def test_shown__is_one_short_text() -> None:
    assert shown("a\nb") == "'a\\nb'" and len(shown("x" * 1000)) == 203


# ---- names of files ----


@pytest.mark.parametrize(
    "table",
    [
        {"data": {"kind": "mnist", "root": "~nosuchuser/x"}},
        {"data": {"kind": "parquet", "path": "~nosuchuser/x"}},
        {"topology": {"kind": "file", "path": "~nosuchuser/x"}},
        {"checkpoint": {"path": "~nosuchuser/x"}},
    ],
)
def test_load_config__a_home_of_nobody(table: dict[str, Any]) -> None:
    ((section, values),) = table.items()
    field = next(name for name in values if name != "kind")
    with pytest.raises(ConfigError) as error:
        load_config({**MINIMAL, **table})
    told = "'~nosuchuser/x' begins with ~nosuchuser, a home that this machine does not know: write the whole path"
    assert str(error.value) == f"{section}.{field}: {told}"
    with pytest.raises(ConfigError, match="a home that this machine does not know"):
        load_ablation({**MINIMAL, **table, "grid": {"peers.norm": ["batch", "none"]}})


def test_load_ablation__a_base_in_the_home_of_nobody() -> None:
    with pytest.raises(ConfigError, match=r"base: '~nosuchuser/x\.toml' begins with ~nosuchuser, a home that"):
        load_ablation({"base": "~nosuchuser/x.toml", "grid": {"peers.norm": ["batch", "none"]}})


def test_absolute_path__a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"data\.root: 'x' lies in the current folder, which is gone"):
        absolute_path("data.root", "x")
    monkeypatch.chdir(tmp_path)


# ---- JSON ----


def test_from_json__too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        from_json(DEEP)


def test_checkpoints__a_manifest_that_is_nested_too_deep_is_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    for completed in (1, 2):
        aside = Path(checkpoints.aside(Phase.ROUNDS, completed))
        aside.mkdir()
        (aside / peer_files.file_of(0)).write_bytes(b"x")
        checkpoints.complete(Phase.ROUNDS, completed, ["0" * 64], {}, b"")
    (tmp_path / "round-000002" / "manifest.json").write_text(DEEP)
    found, notes = checkpoints.newest_whole(Phase.ROUNDS, lambda checkpoint: checkpoint.completed)
    assert found == 1
    assert notes == [
        "the checkpoint of round 2 is damaged: manifest.json is no manifest: nested too deep; the one before it is "
        "used, if there is one"
    ]


def test_snapshot__a_header_that_is_nested_too_deep_is_damaged(tmp_path: Path) -> None:
    header = DEEP.encode()
    (tmp_path / peer_files.file_of(0)).write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DamagedCheckpoint, match="is no checkpoint of a peer"):
        snapshot.read(str(tmp_path), 0)


@pytest.mark.parametrize("content", [DEEP, "[1]", "", "\0"], ids=["deep", "list", "empty", "nul"])
def test_summaries__that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(content)
    (tmp_path / "timing.json").write_text(json.dumps({"seconds": 1}))
    assert read_summary(tmp_path) is None
    assert Finished.read(tmp_path) is None


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (
            {**MINIMAL, "checkpoint": {"every": 16**5000}},
            "checkpoint.every: must be a number of at most 19 digits, got one",
        ),
        ({**MINIMAL, "hosting": {"timeout": 1e22}}, "hosting.timeout: must be"),
        ({**MINIMAL, "tracking": {"uri": "~me/x"}}, "tracking.uri must be a URI, in which ~ is no home, got '~me/x'"),
        ({**MINIMAL, 1: 1}, "config: its keys must be text, got 1"),
        ({**MINIMAL, "hosting": {"resources": {3: 1.0}}}, "hosting.resources: its keys must be text, got 3"),
    ],
)
def test_load_config__what_no_file_could_hold(table: Any, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(table)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_load_config__hexadecimal_without_end() -> None:
    with pytest.raises(ConfigError, match=r"checkpoint.every: must be a number of at most 19 digits, got one of 20000"):
        load_config(MINIMAL | {"topology": {"kind": "ring"}}, ["checkpoint.every=0x" + "f" * 5000])


def test_read_table__a_pipe_that_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match=r"config.toml' is a pipe, which may never be written: name a file"):
        read_table(tmp_path / "config.toml")
