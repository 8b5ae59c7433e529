import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOBODY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]  # a uid that no passwd entry names
ASK = """
import getpass, os
from pathlib import Path
from coordinator.experiment.home import is_temporary, provide_home
note = provide_home()
print(getpass.getuser(), is_temporary(), Path.home(), os.access(Path.home(), os.W_OK), sep="|")
print("MPLCONFIGDIR" in os.environ, len(os.environ.get("RAY_AUTH_TOKEN", "")), note, sep="|")
"""


def can_be_nobody() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run([*NOBODY, "true"], capture_output=True).returncode


needs_nobody = pytest.mark.skipif(not can_be_nobody(), reason="needs unshare, and user namespaces")


def ran(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as it goes with this environment and next to nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "OMP_NUM_THREADS") if name in os.environ}
    quiet = {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run(command, env=kept | quiet | environment, capture_output=True, text=True)


def asked(*before: str, **environment: str) -> list[list[str]]:
    done = ran([*before, sys.executable, "-c", ASK], **environment)
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


def test_provide_home__leaves_one_that_is_there(tmp_path: Path) -> None:
    assert asked(HOME=str(tmp_path), USER="me") == [["me", "False", str(tmp_path), "True"], ["False", "0", ""]]


def test_provide_home__one_that_does_not_exist(tmp_path: Path) -> None:
    (user, temporary, home, writable), (_, _, note) = asked(HOME=str(tmp_path / "none"), USER="me")
    assert (user, temporary, writable) == ("me", "True", "True") and not Path(home).exists()  # gone with its process
    assert note.startswith(f"HOME: '{tmp_path / 'none'}' is no folder; a temporary folder stands in for it: set HOME")


@needs_nobody
def test_provide_home__a_user_whom_nobody_has_named() -> None:
    (user, temporary, _, writable), (_, _, note) = asked(*NOBODY)
    assert (user, temporary, writable) == ("uid-12345", "True", "True")
    assert note.startswith("HOME: it is not set, and no user has this process's id; a temporary folder stands in")


@needs_nobody
def test_provide_home__one_that_may_only_be_read_stays(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    (_, temporary, named, writable), (figures, token, note) = asked(*NOBODY, HOME=str(home))
    assert (temporary, named, writable, figures, token, note) == ("False", str(home), "False", "True", "64", "")
    home.chmod(0o755)
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("t")
    home.chmod(0o555)
    assert asked(*NOBODY, HOME=str(home))[1] == ["True", "0", ""]
    home.chmod(0o755)


@needs_nobody
def test_run__with_no_home_and_no_name(tiny: Path, runs: Path) -> None:
    """MLflow asks for the home, and Matplotlib; what they say is nothing to the run."""
    run = [*NOBODY, sys.executable, "-m", "coordinator", "run", "tiny.toml", "--output"]
    done = ran([*run, runs.name, "tracking.enabled=true"])
    assert done.returncode == 0 and "refused" not in done.stderr, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: HOME: it is not set") and "browse   peer-consensus ui runs" in done.stdout
    done = ran([*run, "~/out"])  # which would be gone with the folder that stands in
    told = "error: --output: '~/out' begins with ~, a home that this machine does not know: write the whole path"
    assert (done.returncode, done.stderr.splitlines()[1:]) == (2, [told])


@pytest.mark.slow
@needs_nobody
def test_run__on_ray_with_no_home_and_no_name(tiny: Path) -> None:
    run = [*NOBODY, sys.executable, "-m", "coordinator", "run", "tiny.toml", "hosting.pool=ray", "peers.count=2"]
    done = ran([*run, "hosting.peers_per_host=2", "hosting.evaluators=0"], RAY_USAGE_STATS_ENABLED="0")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
