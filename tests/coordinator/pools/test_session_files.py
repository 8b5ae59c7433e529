"""Ray's files and its token: where they are, and who can read them."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from coordinator import ConfigError
from coordinator.pools.session_files import INSIDE, LONGEST, ROOM, keep_token, session_folder

OTHER_USER = 54321
REPOSITORY = Path(__file__).parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None that names a folder, and a /tmp that may be all but full."""
    monkeypatch.setattr("coordinator.pools.session_files.ROOM", 0)
    for name in ("RAY_TMPDIR", "TMPDIR", "XDG_RUNTIME_DIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, unlike pytest's."""
    path = Path(session_folder())
    yield path
    shutil.rmtree(path)


# ---- the folder ----


def test_session_folder__is_its_owners_alone(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert short.parent == Path("/tmp") and mode(short) == 0o700
    monkeypatch.setenv("TMPDIR", str(short))
    inner = Path(session_folder())
    assert inner.parent == short and mode(inner) == 0o700
    assert inner != Path(session_folder())  # each Ray has its own
    assert len(INSIDE) + LONGEST == 107


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_session_folder__too_long_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    long = tmp_path / ("x" * LONGEST)
    long.mkdir()
    monkeypatch.setenv(variable, str(long))
    line = r"^TMPDIR: '.*xxx' cannot be used \(longer than \d+ characters, .*\): Ray's files are in '/tmp'$"
    with pytest.warns(UserWarning, match=line):
        folder = session_folder()
    os.rmdir(folder)
    assert os.path.dirname(folder) == "/tmp"


def test_session_folder__missing_or_a_file(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short / "file").touch()
    for name, why in (("missing", "No such file"), ("file", "Not a directory")):
        monkeypatch.setenv("TMPDIR", str(short / name))
        with pytest.warns(UserWarning, match=rf"TMPDIR: '.*{name}' cannot be used \({why}.*Ray's files are in '/tmp'"):
            os.rmdir(session_folder())


def test_session_folder__nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are full."""
    monkeypatch.setattr("coordinator.pools.session_files.ROOM", 2**60)
    with pytest.raises(
        ConfigError, match=r"^TMPDIR: no folder for Ray's files: '/tmp' cannot be used \(less than "
    ) as e:
        session_folder()
    assert "\n" not in str(e.value) and "set it to one of at most" in str(e.value)


# ---- the token ----


def test_keep_token__closes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ray"
    folder.mkdir()
    folder.chmod(0o755)
    token = folder / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)
    keep_token(local=False)
    assert (mode(folder), mode(token)) == (0o700, 0o600) and token.read_text() == "secret"


def test_keep_token__closes_the_folder_before_ray_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keep_token(local=False)
    assert not (tmp_path / ".ray").exists()  # somebody else's cluster: its token comes from elsewhere
    keep_token(local=True)
    assert mode(tmp_path / ".ray") == 0o700 and "RAY_AUTH_TOKEN" not in os.environ


def test_keep_token__without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")  # put back afterwards
    keep_token(local=True)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64 and not (tmp_path / "missing").exists()


# ---- the whole command ----

LOOK = """
import os, sys, time
from pathlib import Path
from coordinator.pools.ray_cluster import open_ray
with open_ray("") as ray:
    @ray.remote
    def where():
        return os.getpid()
    assert ray.get(where.remote())
    print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.disk_usage("/tmp").free < ROOM, reason="/tmp has no room for Ray's files")
def test_open_ray__nobody_else_gets_in(started: Callable[..., AbstractContextManager[Any]], tmp_path: Path) -> None:
    """Ray opens its folder and its token to everybody; another user of this machine still cannot reach them."""
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    home.chmod(0o755)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(REPOSITORY), "TMPDIR": "/tmp"}
    command = [sys.executable, "-c", LOOK]
    with started(command, env=environment, stdin=-1, stderr=None, cwd=tmp_path) as process:
        session = Path(process.stdout.readline().strip())
        folder = session.parents[1]
        try:
            assert session.is_dir() and mode(folder) == 0o700 and folder.parent == Path("/tmp")
            assert (mode(home / ".ray"), mode(home / ".ray" / "auth_token")) == (0o700, 0o600)
            if os.getuid() == 0:  # then another user can be tried
                assert readable_by_other(home)
                for path in (session, home / ".ray" / "auth_token"):
                    assert readable_by_other(path) is False
        finally:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(timeout=60) == 0
            shutil.rmtree(home)
    assert not folder.exists()


def readable_by_other(path: Path) -> bool:
    code = f"import os; os.stat({str(path)!r}); os.listdir({str(path)!r}) if {path.is_dir()} else open({str(path)!r})"
    command = ["/usr/bin/env", "python3", "-c", code]
    ended = subprocess.run(command, user=OTHER_USER, group=OTHER_USER, extra_groups=[], stderr=-1, text=True)
    assert ended.returncode == 0 or "PermissionError" in ended.stderr, ended.stderr
    return ended.returncode == 0
