"""A terminal, a pipe or a disk that goes away takes what is shown with it, never the run."""

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from coordinator.commands.streams import Forgiving, forgiving, why_lost

Started = Callable[..., AbstractContextManager[Any]]
ROOT = Path(__file__).parents[3]


class Broken:
    """A stream that fails from its second write on."""

    def __init__(self, number: int) -> None:
        self.number, self.written = number, list[str]()

    def write(self, text: str) -> None:
        if self.written:
            raise OSError(self.number, os.strerror(self.number))
        self.written.append(text)

    def flush(self) -> None: ...


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EPIPE, ""), (errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output error")]
)
def test_forgiving__takes_what_cannot_be_written(number: int, why: str):
    stream = Broken(number)
    shown = Forgiving(stream)
    for text in ("one", "two", "three"):
        print(text, end="", file=shown)
    assert stream.written == ["one"] and why_lost(shown) == why


def test_forgiving__a_name_that_the_terminal_cannot_show(tmp_path: Path):
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        print("caf\u00e9 \udce9", file=Forgiving(file))
    assert (tmp_path / "out").read_text() == "caf\\xe9 \\udce9\n"


def test_forgiving__only_within_its_block():
    before = sys.stdout, sys.stderr
    with forgiving() as shown:
        assert sys.stdout is shown
    assert (sys.stdout, sys.stderr) == before


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coordinator", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def assert_finished(runs: Path) -> None:
    (folder,) = runs.iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert (folder / "report.html").is_file()


def test_run__its_reader_goes_away(started: Started, tiny: Path):
    with started(command("run", str(tiny)), stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
    assert_finished(tiny.parent / "runs")


def test_run__its_terminal_goes_away(started: Started, tiny: Path):
    """The other end of a pseudo-terminal is closed while the bar is drawn; nobody sends a signal."""
    ours, theirs = pty.openpty()
    with started(command("run", str(tiny)), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.read(ours, 10)
        os.close(ours)
        assert process.wait(timeout=120) == 0
    assert_finished(tiny.parent / "runs")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (
            ["run", "tiny.toml"],
            0,
            "note: standard output cannot be written (No space left on device): send it elsewhere",
        ),
        pytest.param(
            ["run", "tiny.toml", "--json"],
            2,
            "error: standard output cannot be written (No space left on device)",
            marks=pytest.mark.slow,
        ),
        (["topology", "ring"], 2, "error: standard output cannot be written (No space left on device)"),
    ],
)
def test_run__a_full_disk_for_its_output(tiny: Path, arguments: list[str], code: int, line: str):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tiny.parent
        )
    assert done.returncode == code and done.stderr.splitlines()[-1].startswith(line), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    if arguments[0] == "run":
        assert_finished(tiny.parent / "runs")


@pytest.mark.slow
def test_run__without_any_output(tiny: Path):
    """As a daemon: standard output and error are closed."""
    script = 'exec "$@" >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, "sh", *command("run", str(tiny))], env=environment(), cwd=tiny.parent)
    assert done.returncode == 0
    assert_finished(tiny.parent / "runs")
