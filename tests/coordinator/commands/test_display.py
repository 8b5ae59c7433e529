"""What commands show: on a terminal of any width, in a pipe, with --quiet and --json; and names that would steer it."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from coordinator.reports.verdicts import verdict_lines

Cli = Callable[..., tuple[Any, str, str]]
Started = Callable[..., AbstractContextManager[Any]]
ROOT = Path(__file__).parents[3]
PROBES = ["evaluation.probes=['knn','linear']", "evaluation.controls=['alone']"]
NAME = "[bold]<script>:smile: שלום \x1b[31m\u202e" + "x" * 60  # of a folder
SHOWN = r"[bold]<script>:smile: שלום \x1b[31m\u202e" + "x" * 60


def summary_in(folder: Path) -> dict[str, Any]:
    (run,) = folder.iterdir()
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


# ---- --quiet and --json ----


def test_run__quiet_shows_the_verdicts_and_the_folder(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", *PROBES, "--output", "out", "--quiet")
    (folder,) = Path("out").iterdir()
    lines = [line.text for line in verdict_lines(summary_in(Path("out")))]
    assert (code, out.splitlines()) == (0, [*lines, str(folder)]) and len(lines) == 4
    assert all(line.startswith("note: flag ") for line in err.splitlines())


def test_run__quiet_says_who_lies_and_what_of_it_was_of_no_use(cli: Cli, tiny: Path) -> None:
    lies = "peers.adversaries=[{peers=[1], attack={kind='random', sigma=1e6}}]"
    code, out, _ = cli("run", "tiny.toml", lies, "exchange.dtype=float16", "--output", "out", "--quiet")
    *_, liars, unusable, folder = out.splitlines()
    assert code == 0 and liars.startswith("liars: peer 1 (random (sigma 1000000.0)). Every mean")
    assert unusable.startswith("pooling: 4 lies that honest students got had numbers") and Path(folder).is_dir()


def test_run__quiet_json_is_the_summary_and_nothing_else(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", "--output", "out", "--quiet", "--json")
    (folder,) = Path("out").iterdir()
    assert code == 0 and out == (folder / "summary.json").read_text()
    assert all(line.startswith("note: flag ") for line in err.splitlines())


def test_run__quiet_tells_why_it_stopped(cli: Cli, tiny: Path) -> None:
    """And `resume` is as quiet, with the same words."""
    arguments = ["peers.norm=none", "peers.optimizer={kind='sgd',lr=1e38}", "run.rounds=20", "checkpoint.every=1"]
    code, out, err = cli("run", "tiny.toml", *arguments, "--output", "out", "-q")
    (folder,) = Path("out").iterdir()
    assert (code, out) == (2, f"{folder}\n")
    assert err.startswith("note: stopped: ") and "lower peers.optimizer.lr" in err and err.count("\n") == 1
    assert cli("resume", str(folder), "-q") == (code, out, err)


def test_resume__quiet_shows_what_a_run_shows(cli: Cli, tiny: Path) -> None:
    _, first, _ = cli("run", "tiny.toml", *PROBES, "--output", "out", "--quiet", "checkpoint.every=1")
    (folder,) = Path("out").iterdir()
    code, out, _ = cli("resume", str(folder), "--rounds", "3", "--quiet")
    assert code == 0 and out.splitlines()[-1] == str(folder)
    assert [line.split(":")[0] for line in out.splitlines()] == [line.split(":")[0] for line in first.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("json_too", [False, True])
def test_run__quiet_over_seeds(cli: Cli, tiny: Path, json_too: bool) -> None:
    options = ["--quiet", *(["--json"] if json_too else [])]
    code, out, err = cli("run", "tiny.toml", *PROBES, "--output", "out", "--seeds", "3", *options)
    assert (code, err) == (0, "")
    if json_too:
        assert out == Path("out/tiny/summary.json").read_text()
        return
    *lines, folder = out.splitlines()
    assert folder == "out/tiny"
    gains = ("kNN gain", "linear gain", "kNN over alone", "linear over alone")
    assert [line.partition(":")[0] for line in lines] == [gain for gain in gains if f"{gain}:" in out] != []
    assert all(re.search(r", [-+][\d.]+ points \([-+][\d.]+ to [-+][\d.]+\), p [<\d. ]+$", line) for line in lines)


# ---- a terminal ----


def on_terminal(started: Started, columns: int, command: list[str], **environment: str) -> tuple[str, int]:
    """What a command writes to a pseudo-terminal of so many columns, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    env = {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}
    written = b""
    with started(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        with suppress(OSError):  # raised by Linux once nobody holds the other end
            while received := os.read(ours, 65536):
                written += received
        os.close(ours)
        code: int = process.wait(timeout=60)
    return written.decode(), code


def run_of(tiny: Path, output: str, *overrides: str) -> list[str]:
    arguments = ["run", str(tiny), *PROBES, "run.rounds=30", "evaluation.every=10", "evaluation.probe_every=10"]
    return [sys.executable, "-m", "coordinator", *arguments, *overrides, "--output", output]


COLOURS = re.compile(r"\x1b\[[\d;]*[34]\d[\d;]*m")


@pytest.mark.parametrize(
    ("columns", "environment"),
    [
        (60, {}),
        pytest.param(40, {"NO_COLOR": "1"}, marks=pytest.mark.slow),
        pytest.param(120, {"NO_COLOR": "1"}, marks=pytest.mark.slow),
    ],
)
def test_run__on_a_terminal(started: Started, tiny: Path, columns: int, environment: dict[str, str]) -> None:
    """The line that is redrawn, then the verdicts; nothing wider than the terminal but what is to be copied."""
    written, code = on_terminal(started, columns, run_of(tiny, NAME), **environment)
    assert code == 0
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)  # colours and movements of the cursor
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    copied = ("results", "report", "watch", "verdicts are about this run")
    assert max(len(line) for line in lines if not line.startswith(copied)) <= columns
    assert "30/30" in text and "linear gain" in text and "loss " in text and "\x1b[1A" in written  # was redrawn
    assert written.rstrip().endswith("--seeds 5") and "\x1b[?25h" in written  # the cursor is shown again
    assert f"results  {SHOWN}/tiny-" in text and "\x1b[31m\u202e" not in written
    assert bool(COLOURS.search(written)) == ("NO_COLOR" not in environment)
    lost = [line.text for line in verdict_lines(summary_in(tiny.parent / NAME)) if not _is_in(line.text, text)]
    assert not lost


def _is_in(verdict: str, text: str) -> bool:
    """Whether all words of a verdict stand in the text in their order, perhaps in a frame and on several lines."""
    words = [re.escape(word.strip(":,")) for word in verdict.split()]
    return re.search(r"[\s:,│]+".join(words), text) is not None


@pytest.mark.parametrize("dumb", [pytest.param(True, marks=pytest.mark.slow), False])
def test_run__no_control_characters_in_a_pipe_or_on_a_dumb_terminal(started: Started, tiny: Path, dumb: bool) -> None:
    command = run_of(tiny, NAME)
    if dumb:
        written, code = on_terminal(started, 80, command, TERM="dumb")
    else:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, env=env, cwd=tiny.parent)
        written, code = done.stdout.decode() + done.stderr.decode(), done.returncode
    assert code == 0 and not set(written) & {chr(each) for each in range(32)} - {"\n", "\r"}
    told = " ".join(written.split())
    assert "rounds 30/30: " in told and "rounds/s, 0 s left, loss " in told and f"results {SHOWN}/tiny-" in told
    assert dumb or "\r" not in written


# ---- names in errors ----


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", NAME],
        ["run", "tiny.toml", f"run.name='{NAME}'"],
        ["run", "tiny.toml", f"data={{kind='parquet',path='{NAME}'}}"],
        ["resume", NAME],
        ["run", "tiny.toml", f"--{NAME}"],
        [NAME],
        ["topology", NAME],
        ["config", NAME],
        ["ablate", NAME],
        ["export", NAME, "--peer", "0"],
        ["ui", NAME],
    ],
)
def test_errors__names_stand_in_them_as_they_are(arguments: list[str], cli: Cli, tiny: Path) -> None:
    """One line, with the name whole, but for what would steer the terminal."""
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ")
    assert "bold]<script>:smile: שלום" in err and "\x1b" not in err and "\u202e" not in err
