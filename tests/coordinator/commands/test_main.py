import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., tuple[Any, str, str]]


@pytest.mark.parametrize(
    ("arguments", "start", "end"),
    [
        (["run"], "error: Missing ", "(see peer-consensus run --help)\n"),
        (["rnu"], "error: No such command 'rnu'", "(see peer-consensus --help)\n"),
        (["run", "tiny.toml", "--dryrun"], "error: No such option: --dryrun", "(see peer-consensus run --help)\n"),
        (["run", "tiny.toml", "--output"], "error: Option '--output' requires an argument (see ", "--help)\n"),
        (["ui", "--port", "x"], "error: Invalid value for ", "(see peer-consensus ui --help)\n"),
    ],
)
def test_main__wrong_usage_is_one_line(arguments: list[str], start: str, end: str, cli: Cli, tiny: Path) -> None:
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(start) and err.endswith(end)


def test_main__without_arguments_shows_the_help(cli: Cli) -> None:
    code, out, err = cli()
    assert (code, err) == (0, "") and all(name in out for name in ("run", "topology", "config", "ui", "--version"))
    assert (code, out, err) == cli("--help")


def test_main__version_is_one_line(cli: Cli) -> None:
    code, out, err = cli("--version")
    versions = {name: importlib.metadata.version(name) for name in ("peer-consensus", "torch", "ray")}
    assert (code, err) == (0, "") and out == (
        f"peer-consensus {versions['peer-consensus']} (Python {platform.python_version()}, torch {versions['torch']}, "
        f"Ray {versions['ray']})\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_main__what_needs_no_experiment_loads_no_torch(arguments: list[str]) -> None:
    """Seconds that every TAB of a shell's completion would take, too."""
    script = "import sys; from coordinator.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "coordinator.cli" in loaded and not loaded & {"torch", "ray", "mlflow", "scipy", "networkx", "matplotlib"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [("peer-consensus re", ["resume"]), ("peer-consensus config --m", ["--markdown"])],
)
def test_main__completes_in_a_shell(words: str, expected: list[str]) -> None:
    asked = {"_PEER_CONSENSUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "coordinator"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected and done.stderr == ""


def test_run__notes_what_a_new_kind_drops(cli: Cli, tiny: Path) -> None:
    code, _, err = cli("run", "tiny.toml", "data.kind=digits", "peers.model.kind=small-cnn", "--dry-run")
    assert code == 0 and err.splitlines() == [
        "note: data.kind=digits drops data.num_train, data.num_test, which 'digits' does not have",
        "note: peers.model.kind=small-cnn drops peers.model.hidden, which 'small-cnn' does not have",
    ]


def test_module__refuses_in_one_line_and_runs_in_a_pipe(tiny: Path) -> None:
    command = [sys.executable, "-m", "coordinator", "run", "tiny.toml"]
    bad = subprocess.run([*command, "run.rounds=0"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: run.rounds: must be greater than or equal to 1, got 0\n"
    good = subprocess.run([*command, "--output", "out", "--json"], capture_output=True, text=True)
    assert good.returncode == 0 and json.loads(good.stdout)["status"] == "finished"
    assert "\x1b" not in good.stderr and "Warning" not in good.stderr
