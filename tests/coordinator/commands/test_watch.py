import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., tuple[Any, str, str]]


@pytest.mark.parametrize("name", ["nothing", "empty", "tiny.toml"])
def test_watch__what_has_no_run_is_one_line(cli: Cli, tiny: Path, name: str) -> None:
    (tiny.parent / "empty").mkdir()
    code, out, err = cli("watch", name)
    assert (code, out) == (2, "")
    assert err == f"error: watch: '{name}' has no run: name a run's folder such as runs/NAME-TIME, or that of runs\n"


def test_watch__port_that_is_taken(cli: Cli, tiny: Path) -> None:
    (tiny.parent / "run").mkdir()
    (tiny.parent / "run" / "config.toml").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = cli("watch", "run", "--port", str(port))
    assert (code, out) == (2, "")
    assert err == f"error: --port: {port} cannot be used (Address already in use): choose another, or 0 for any\n"


def test_run_watch__a_taken_port_is_a_note_and_the_run_goes_on(cli: Cli, tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = cli("run", "tiny.toml", "--watch", "--port", str(port), "--quiet")
    assert code == 0
    assert [line for line in err.splitlines() if "--port" in line] == [
        f"note: --port: {port} cannot be used (Address already in use): there is no live page; choose another by --port"
    ]
    assert list(Path("runs").glob("tiny-*/summary.json"))


@pytest.mark.parametrize("command", [["run", "tiny.toml"], ["resume", "runs"], ["run", "tiny.toml", "--seeds", "2"]])
def test_port__without_a_page_is_a_mistake(cli: Cli, tiny: Path, command: list[str]) -> None:
    code, out, err = cli(*command, "--port", "8811")
    assert (code, out) == (2, "")
    assert err == "error: --port: is the live page's, got 8811 without --watch: add --watch, or leave it out\n"


def test_dry_run__starts_no_page(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", "--watch", "--dry-run")
    assert code == 0 and "live page" not in out + err
