"""What stands in for Ray's helpers: what Ray waits for is there, and whatever goes wrong makes it the real helper."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from coordinator.pools.forking import announcing as announcing_module
from coordinator.pools.forking.announcing import announcing
from coordinator.pools.forking.fork_server import HELPERS, stand_in
from coordinator.pools.forking.helpers import PORTS_OF_AGENT

LIMIT = 20.0  # seconds
REAL = "import sys; print('real', *sys.argv[1:])"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts what Ray would start as the helper with this script, which prints its arguments."""
    python = tmp_path / "python"
    python.write_text(stand_in(sys.executable, str(tmp_path / "forks"), str(tmp_path / "announced")))
    python.chmod(0o700)

    def run(script: str, *arguments: str, flags: tuple[str, ...] = (), **options: Any) -> "subprocess.Popen[str]":
        path = tmp_path / "ray" / script
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(REAL)
        command = [str(python), *flags, str(path), f"--session-dir={tmp_path}", "--node-id=abc", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        stack.enter_context(process)
        stack.callback(process.kill)
        return process

    with ExitStack() as stack:
        yield run


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is entered in Ray, which is not there."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(announcing_module, "_enter", lambda *both: found.append(both))
    return found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def port_in(folder: Path, name: str) -> int:
    path = folder / f"{name}_abc"
    until(path.exists)
    return int(path.read_text())


@pytest.mark.parametrize(
    "script", ["autoscaler/_private/monitor.py", "autoscaler/v2/monitor.py", "_private/log_monitor.py"]
)
@pytest.mark.parametrize("flags", [(), ("-u",)])
def test_stand_in__what_nobody_waits_for_ends_at_once(start: Start, script: str, flags: tuple[str, ...]) -> None:
    printed, _ = start(script, flags=flags).communicate(timeout=LIMIT)
    assert printed == ""


def test_stand_in__runs_all_else(start: Start) -> None:
    printed, _ = start("util/client/server.py", "--a=b c").communicate(timeout=LIMIT)
    assert printed.startswith("real ") and printed.endswith(" --a=b c\n")


def test_dashboards_agent__has_no_ports(start: Start, tmp_path: Path) -> None:
    process = start("dashboard/agent.py", "--head", flags=("-u",))
    assert {port_in(tmp_path, name) for name in PORTS_OF_AGENT} == {-1}
    assert process.poll() is None


def test_helper__ends_with_the_process_that_started_it(start: Start, tmp_path: Path) -> None:
    """As Ray's own do with its raylet, here a shell that is killed."""
    agent = [str(tmp_path / "python"), str(tmp_path / "ray/dashboard/agent.py"), f"--session-dir={tmp_path}"]
    start("dashboard/agent.py").kill()
    shell = subprocess.Popen(["sh", "-c", '"$@" --node-id=def & echo $!; wait', "sh", *agent], stdout=subprocess.PIPE)
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    until((tmp_path / f"{PORTS_OF_AGENT[-1]}_def").exists)
    shell.kill()
    shell.communicate(timeout=LIMIT)  # until the helper has closed its standard output, too
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_agent_of_environments__becomes_the_real_one_when_it_is_called(start: Start, tmp_path: Path) -> None:
    arguments = ["--node-ip-address=127.0.0.1", "--runtime-env-agent-port=0"]
    process = start("_private/runtime_env/agent/main.py", *arguments)
    port = port_in(tmp_path, "runtime_env_agent_port")
    assert port > 0 and process.poll() is None
    with socket.create_connection(("127.0.0.1", port)):
        printed, _ = process.communicate(timeout=LIMIT)
    assert printed.startswith("real ") and printed.endswith(
        f" --node-ip-address=127.0.0.1 {'--runtime-env-agent-port'}={port}\n"
    )


def test_dashboard__its_address_is_entered(start: Start, entered: list[tuple[str, str]], tmp_path: Path) -> None:
    with announcing(str(tmp_path / "announced")):
        process = start("dashboard/dashboard.py", "--gcs-address=1.2.3.4:5", "--cluster-id-hex=ff")
        until(lambda: bool(entered))
        assert entered == [("1.2.3.4:5", "ff")]
    time.sleep(0.1)
    assert process.poll() is None  # Ray takes its end for a failure
    assert not (tmp_path / "announced").exists()


@pytest.mark.parametrize("arguments", [["--gcs-address=1.2.3.4:5", "--cluster-id-hex=ff"], []])
def test_dashboard__is_the_real_one_where_that_fails(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    """Ray does not take the address, or the release calls its arguments otherwise; or nobody is there."""

    def fail(address: str, cluster: str) -> None:
        raise RuntimeError("as Ray would say it")

    monkeypatch.setattr(announcing_module, "_enter", fail)
    with announcing(str(tmp_path / "announced")):
        printed, _ = start("dashboard/dashboard.py", *arguments).communicate(timeout=LIMIT)
    assert printed.startswith("real ")
    printed, _ = start("dashboard/dashboard.py", *arguments).communicate(timeout=LIMIT)
    assert printed.startswith("real ") and HELPERS.exists()
