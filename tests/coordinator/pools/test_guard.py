"""Whoever kills the command or its Ray: how to go on is said, and nothing is left running."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, simulate
from coordinator.pools import watcher
from coordinator.pools.watcher import MARK

Started = Callable[..., AbstractContextManager[Any]]
REPOSITORY = Path(__file__).parents[3]
CONFIG = REPOSITORY / "configs" / "quickstart.toml"

COMMAND = """
import os, signal, subprocess, sys, time
from functools import partial
from coordinator.pools.guard import Guard
folder, how = sys.argv[1:]
logs = os.path.join(folder, "r", "session_1", "logs")
os.makedirs(logs)
os.makedirs(os.path.join(folder, "r", "session_1", "spilled"))
guard = Guard(folder)
sleep = "import time; time.sleep(100)"
ours = {**os.environ, "PEER_CONSENSUS_RAY": folder}
daemons = [
    subprocess.Popen([name, "-c", sleep], executable=sys.executable, env=ours, start_new_session=True)
    for name in ("raylet", "agent")
]
other = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
guard.ready()
guard.advise("run", "go on with: peer-consensus resume runs/a-1")
print(os.getpid(), daemons[0].pid, daemons[1].pid, other.pid, flush=True)
sys.stdin.readline()
if how == "ends":
    guard.leaving()
    daemons[0].kill()
    daemons[0].wait()
    time.sleep(2)  # a look of the watcher's
    guard.done()
time.sleep(100 if how != "ends" else 0)
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def becomes(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def gone(pids: list[int]) -> bool:
    return becomes(lambda: not any(map(running, pids)))


def watcher_of(command: int) -> tuple[int, str]:
    """The number of a command's watcher, and the folder of its Ray, from the watcher's command line."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes().decode().split("\0")
            parent = int((path / "stat").read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue
        if parent == command and any(each.endswith("watcher.py") for each in arguments):
            return int(path.name), arguments[arguments.index(str(Path(watcher.__file__))) + 1]
    raise AssertionError("no watcher")


def watches(number: int) -> bool:
    """Whether a watcher has looked around: it has a daemon's pidfd."""
    return any("pidfd" in os.readlink(path) for path in Path(f"/proc/{number}/fd").iterdir())


@pytest.mark.parametrize("what", ["command killed", "daemon killed", "ends", "interrupted"])
def test_guard__stand_ins_for_ray(started: Started, what: str) -> None:
    """A command with a daemon, an agent beside it, and a process that is none of Ray's."""
    folder = Path(tempfile.mkdtemp())
    with started([sys.executable, "-c", COMMAND, str(folder), what], stdin=-1, stderr=-1) as process:
        command, daemon, agent, other = map(int, process.stdout.readline().split())
        try:
            if what == "daemon killed":
                number, _ = watcher_of(command)
                assert becomes(lambda: watches(number))
                os.kill(daemon, signal.SIGKILL)
            elif what == "command killed":
                os.kill(command, signal.SIGKILL)
            elif what == "interrupted":  # Ctrl-C is not for the watcher, which is there to clear up
                os.killpg(command, signal.SIGINT)
            else:
                process.stdin.write("\n")
                process.stdin.flush()
            code = process.wait(timeout=60)
            assert gone([daemon, agent])
            assert running(other)
            os.kill(other, signal.SIGKILL)
            said = process.stderr.read().splitlines()[-1:]
        finally:
            for pid in (daemon, agent, other):
                if running(pid):
                    os.kill(pid, signal.SIGKILL)
    advice = "; go on with: peer-consensus resume runs/a-1"
    if what == "ends":
        assert (code, said, folder.exists()) == (0, [], False)
    elif what == "daemon killed":
        logs = f"its logs: {folder}/r/session_latest/logs"
        assert said == [f"error: Ray's raylet was killed or crashed, and the run ends with it ({logs}){advice}"]
        left = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        assert code == 2 and sorted(left) == ["r", "r/session_1", "r/session_1/logs"]
        shutil.rmtree(folder)
    else:
        assert said == [f"error: the command was killed or crashed{advice}"] and not folder.exists()
        assert code == (-signal.SIGKILL if what == "command killed" else -signal.SIGINT)


def of_ray(folder: str) -> dict[int, str]:
    """The processes of a Ray by number, and their names."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                argument = (path / "cmdline").read_bytes().partition(b"\0")[0].decode()
                found[int(path.name)] = os.path.basename(argument)
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gcs_server", "raylet", "the command"])
def test_run__when_ray_or_the_command_is_killed_it_can_be_resumed(
    started: Started, tmp_path: Path, victim: str
) -> None:
    settings = ["run.rounds=400", "peers.count=2", "checkpoint.every=50", "evaluation.every=20"]
    settings += ["evaluation.controls=[]", "tracking.enabled=false"]
    command = [sys.executable, "-m", "coordinator"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with started([*command, "run", str(CONFIG), *settings, "--output", str(tmp_path / "runs")]) as process:
        process.reach(121)
        _, folder = watcher_of(process.pid)
        found = of_ray(folder)
        assert {"gcs_server", "raylet"} < set(found.values()) and len(found) >= 6
        pid = process.pid if victim == "the command" else next(pid for pid, name in found.items() if name == victim)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        rest = process.stdout.read()
        codes = {"the command": (-signal.SIGKILL,), "gcs_server": (2,), "raylet": (2, 1)}  # 1 where Ray is quicker
        assert process.wait(timeout=60) in codes[victim]
        assert time.monotonic() - killed < 15
    (run,) = (tmp_path / "runs").glob("quickstart-*")
    last = rest.splitlines()[-1]
    assert last.startswith("error: ") and last.endswith(f"; go on with: peer-consensus resume {run}")
    said = {"the command": ("the command was",), "gcs_server": ("Ray's gcs_server was",)}
    assert any(each in last for each in said.get(victim, ("Ray's ", "the command was")))  # others go with a raylet
    assert gone(list(found)) and of_ray(folder) == {}
    shutil.rmtree(folder, ignore_errors=True)  # Ray's logs
    done = subprocess.run([*command, "resume", str(run)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    straight = simulate(load_config(CONFIG, [*settings, "hosting.pool=in-process"]), tmp_path / "straight").summary
    summary = json.loads((run / "summary.json").read_text())
    for name in ("rounds", "bytes_exchanged", "probes", "consensus", "digest"):
        assert summary[name] == straight[name], name
