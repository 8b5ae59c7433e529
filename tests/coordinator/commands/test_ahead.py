"""What a command starts ahead of its imports, told from its arguments; and that it ends with the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.commands import ahead
from coordinator.commands.ahead import modules_to_fork
from coordinator.pools.early import fork_server_ahead, guard_with_forks
from coordinator.pools.forking.fork_server import HOSTS, RUNS, SOCKET


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with experiments, an ablation, and a run; a machine without GPUs."""
    monkeypatch.setattr(ahead, "GPU", tmp_path / "nvidia0")
    texts = {
        "plain.toml": "",
        "in-process.toml": '[hosting]\npool = "in-process"',
        "spawned.toml": '[hosting]\nworkers = "spawned"',
        "cluster.toml": '[hosting]\naddress = "auto"',
        "ablation.toml": 'base = "plain.toml"',
        "elsewhere.toml": 'base = "cluster.toml"',
        "odd.toml": "hosting = 3",
        "broken.toml": "[",
        "run-1/config.toml": "",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run plain.toml", HOSTS),
        ("run plain.toml run.rounds=3 --output there", HOSTS),
        ("run plain.toml --seeds 3", RUNS),
        ("run in-process.toml --seeds=3", RUNS),
        ("run in-process.toml hosting.pool='ray'", HOSTS),
        ("run in-process.toml", ()),
        ("run plain.toml hosting.pool=in-process", ()),
        ("run plain.toml hosting.workers=spawned", ()),
        ("run plain.toml hosting.device=cuda", ()),
        ("run plain.toml hosting.address=auto", ()),
        ("run plain.toml --address auto", ()),
        ("run plain.toml --address=auto", ()),
        ("run spawned.toml", ()),
        ("run cluster.toml", ()),
        ("run plain.toml --dry-run", ()),
        ("run odd.toml", ()),
        ("run broken.toml", ()),
        ("run missing.toml", ()),
        ("run --help", ()),
        ("run", ()),
        ("resume run-1", HOSTS),
        ("ablate ablation.toml", RUNS),
        ("ablate ablation.toml base.hosting.workers=spawned", ()),
        ("ablate elsewhere.toml", ()),
        ("topology ring", ()),
        ("", ()),
    ],
)
def test_modules_to_fork__as_the_command_will_ask(files: Path, arguments: str, expected: tuple[str, ...]) -> None:
    assert modules_to_fork(arguments.split()) == expected


def test_modules_to_fork__not_where_peers_may_have_gpus(files: Path) -> None:
    (files / "nvidia0").touch()
    assert modules_to_fork(["run", "plain.toml"]) == ()
    assert modules_to_fork(["run", "plain.toml", "hosting.device=cpu"]) == HOSTS


def test_fork_server_ahead__is_taken_once_and_else_ended() -> None:
    with fork_server_ahead(("colorsys",)):
        ahead_of = os.environ[SOCKET]
        taken = guard_with_forks(())
        assert taken.forks is not None and taken.forks.path == ahead_of and taken.folder == str(Path(ahead_of).parent)
    assert Path(ahead_of).exists()
    taken.forks.close()
    taken.done()
    assert not Path(taken.folder).exists()
    with fork_server_ahead(("colorsys",)):
        left = os.environ[SOCKET]
    assert SOCKET not in os.environ and not Path(left).parent.exists()
    with fork_server_ahead(()):
        assert SOCKET not in os.environ


def test_command__that_is_refused_leaves_nothing(files: Path, tmp_path: Path) -> None:
    (files / "wrong.toml").write_text("[run]\nrounds = 0")
    command = [sys.executable, "-m", "coordinator", "run", "wrong.toml"]
    environment = {**os.environ, "TMPDIR": "/tmp", "PYTHONPATH": str(Path(__file__).parents[3])}
    before = set(Path("/tmp").glob("pc-*"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "run.rounds" in done.stderr
    assert not [folder for folder in set(Path("/tmp").glob("pc-*")) - before if (folder / "forks").exists()]
