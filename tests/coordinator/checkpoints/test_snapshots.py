"""A checkpoint of another version of this program is refused in one line, and not taken for a damaged one."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator import ConfigError, load_config, resume, simulate
from coordinator.checkpoints.snapshots import FORMAT


def rewrite(manifest: Path, **changes: Any) -> None:
    """Change a manifest as another version would have written it, with a checksum that fits."""
    body = {**json.loads(manifest.read_text()), **changes}
    del body["sha256"]
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    manifest.write_text(json.dumps({**body, "sha256": hashlib.sha256(canonical).hexdigest()}))


def test_resume__refuses_a_checkpoint_of_another_format(
    small: dict[str, Any], tmp_path: Path, cli: Callable[..., tuple[Any, str, str]]
):
    evaluation = {**small["evaluation"], "controls": []}
    table = {**small, "evaluation": evaluation, "checkpoint": {"every": 4, "seconds": 0}}
    folder = simulate(load_config(table), tmp_path).folder
    checkpoint = folder / "checkpoints" / "round-000008"
    rewrite(checkpoint / "manifest.json")
    rewrite(folder / "checkpoints" / "round-000004" / "manifest.json", format=3)
    assert cli("export", str(folder), "--peer", "0", "--to", str(tmp_path / "peer"))[0] == 0  # the newest is readable
    rewrite(checkpoint / "manifest.json", format=3)
    line = (
        f"'{checkpoint}' has format 3, but this version of peer-consensus reads {FORMAT - 1} and {FORMAT}: go on with "
        "the version that wrote it, or start a new run"
    )
    with pytest.raises(ConfigError) as refused:
        resume(folder, rounds=12)
    assert str(refused.value) == line
    assert cli("export", str(folder), "--peer", "0") == (2, "", f"error: {line}\n")
    assert cli("resume", str(folder), "--rounds", "12") == (2, "", f"error: {line}\n")


def test_resume__a_run_of_a_version_with_other_names(
    small: dict[str, Any], tmp_path: Path, cli: Callable[..., tuple[Any, str, str]]
):
    """Its config has old keys that nobody has typed: told as what it is, and nothing is touched."""
    folder = simulate(load_config({**small, "evaluation": {**small["evaluation"], "controls": []}}), tmp_path).folder
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("average = ", "pool = ").replace("delivery = ", "pooling = "))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    line = (
        f"'{folder}' was written by an older version of peer-consensus, with other names of settings and another "
        "format of checkpoints: use that version, or start a new run"
    )
    assert cli("resume", str(folder), "--rounds", "12") == (2, "", f"error: resume: {line}\n")
    assert cli("export", str(folder), "--peer", "0") == (2, "", f"error: export: {line}\n")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
