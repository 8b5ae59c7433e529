"""Forks that run scripts, without Ray: what they have of their launcher, how they end, what they end with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.pools.forking.fork_server import LAUNCHER, SOCKET, ForkServer, socket_path, stand_in

START = [sys.executable, "-I", "-S", "-E", str(LAUNCHER)]
LIMIT = 20.0  # seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    """A zygote that has imported next to nothing."""
    tmp_path.chmod(0o700)
    server = ForkServer(str(tmp_path), {"MARK": "here"}, ("colorsys",))
    yield server
    server.close()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(code: str) -> str:
        path = tmp_path / "worker.py"
        path.write_text(code)
        return str(path)

    return write


def launch(server: ForkServer, script: str, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [*START, server.path, script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


SEEN = """
import json, os, random, sys, signal
print(json.dumps({
    "argv": sys.argv, "folder": os.getcwd(), "variable": os.environ["OF_LAUNCHER"], "home": os.environ.get("MARK"),
    "forked": os.environ.get("PEER_CONSENSUS_FORKED"), "imported": "colorsys" in sys.modules, "name": __name__,
    "group": os.getpgid(0) == os.getpid(), "niceness": os.getpriority(os.PRIO_PROCESS, 0), "path": sys.path,
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")), "threads": len(os.listdir("/proc/self/task")),
    "parent": os.getppid(), "random": random.random(), "text": sys.stdin.read(),
    "default": [signal.getsignal(number) == signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGCHLD)],
    "interrupted": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
}))
"""


def test_fork__is_as_if_it_had_been_started(server: ForkServer, script: Callable[[str], str], tmp_path: Path) -> None:
    """All that it sees is the launcher's; the imports are the zygote's."""
    path, folder = script(SEEN), tmp_path / "elsewhere"
    folder.mkdir()
    environment = {**os.environ, "OF_LAUNCHER": "ä\udcff", "PYTHONPATH": f"{folder}:"}
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "env": environment, "cwd": folder}
    options["preexec_fn"] = lambda: os.setpriority(os.PRIO_PROCESS, 0, 3)
    both = []
    for _ in range(2):
        with launch(server, path, "--name=a b", "-s", **options) as started:
            both.append(json.loads(started.communicate("some text\n")[0]))
            assert started.returncode == 0
    seen, other = both
    fds, randoms = seen.pop("fds"), {seen.pop("random"), other.pop("random")}
    assert len(randoms) == 2
    assert len(fds) == 6  # the streams, a pipe and a connection to the launcher, and the listing itself
    python_path = seen.pop("path")
    assert python_path[:2] == [str(tmp_path), str(folder)] and "" not in python_path
    assert str(LAUNCHER.parent) not in python_path
    assert seen == {
        "argv": [path, "--name=a b", "-s"],
        "folder": str(folder),
        "variable": "ä\udcff",
        "home": None,
        "forked": "1",
        "imported": True,
        "name": "__main__",
        "group": True,
        "niceness": 3,
        "threads": 1,
        "parent": server.pid,
        "text": "some text\n",
        "default": [True, True],
        "interrupted": True,
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os; os._exit(9)", 9),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("import atexit, os; atexit.register(os._exit, 5)", 5),
    ],
)
def test_launcher__ends_as_its_fork(server: ForkServer, script: Callable[[str], str], code: str, status: int) -> None:
    with launch(server, script(code), stderr=subprocess.DEVNULL) as started:
        assert started.wait(LIMIT) == status


PRINTS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def begun(started: "subprocess.Popen[str]") -> int:
    """The process id of a fork that sleeps."""
    assert started.stdout is not None
    return int(started.stdout.readline())


def check_ends_with(parent: "subprocess.Popen[str]") -> None:
    """A process that tells of another by its id is killed: the other ends, too."""
    pid = begun(parent)
    assert alive(pid)
    parent.kill()
    until(lambda: not alive(pid))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_launcher__forwards_signals(server: ForkServer, script: Callable[[str], str], sent: signal.Signals) -> None:
    code = f"import signal, sys; signal.signal({int(sent)}, lambda *_: sys.exit(40)); {PRINTS}"
    with launch(server, script(code)) as started:
        begun(started)
        started.send_signal(sent)
        assert started.wait(LIMIT) == 40


def test_fork__ends_with_its_launcher_though_it_is_busy(server: ForkServer, script: Callable[[str], str]) -> None:
    """The kernel kills it: no thread of its own would get a turn, for a regular expression keeps Python's lock."""
    code = "import os, re; print(os.getpid(), flush=True); re.match('(a*)*b', 'a' * 60)"
    with launch(server, script(code)) as started:
        check_ends_with(started)


def test_fork__ends_if_its_launcher_has_ended_before_it_begins(
    server: ForkServer, script: Callable[[str], str], tmp_path: Path
) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    path = script(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with launch(server, path) as started:
        time.sleep(0.3)
        started.kill()
    os.kill(server.pid, signal.SIGCONT)
    with launch(server, script("print(1)")) as following:  # served after the other
        assert following.wait(LIMIT) == 0
    assert not (tmp_path / "ran").exists()


def test_zygote_killed__forks_go_on_and_launchers_still_end_with_them(
    server: ForkServer, script: Callable[[str], str]
) -> None:
    code = "import os; print(os.getpid(), flush=True); input()"
    with launch(server, script(code), stdin=subprocess.PIPE) as started:
        pid = begun(started)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not alive(server.pid))
        assert alive(pid) and started.poll() is None
        assert started.stdin is not None
        started.stdin.close()
        assert started.wait(LIMIT) == 1  # its status is not known any more
        assert not alive(pid)


def test_launcher__becomes_the_ordinary_worker_without_a_zygote(
    server: ForkServer, script: Callable[[str], str]
) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not alive(server.pid))
    code = (
        "import os, sys; print(os.getpid(), os.environ.get('PEER_CONSENSUS_FORKED'), sys.argv[1:], sys.flags.isolated)"
    )
    with launch(server, script(code), "--a") as started:
        assert started.communicate(timeout=LIMIT)[0].strip() == f"{started.pid} None ['--a'] 0"
        assert started.returncode == 0


def test_zygote__does_not_fork_with_a_second_thread(tmp_path: Path, script: Callable[[str], str]) -> None:
    """A fork would have the locks that the other thread holds, for ever."""
    tmp_path.chmod(0o700)
    (tmp_path / "with_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    environment, path = {"PYTHONPATH": str(tmp_path)}, script("import os; print(os.getpid())")
    server = ForkServer(str(tmp_path), environment, ("with_thread",))
    try:
        with launch(server, path) as started:
            assert started.communicate(timeout=LIMIT)[0].strip() == str(started.pid)
    finally:
        server.close()


def test_zygote__is_for_this_user_only_and_known_by_its_marks(server: ForkServer, script: Callable[[str], str]) -> None:
    assert os.stat(server.path).st_mode & 0o777 == 0o600
    with launch(server, script(PRINTS)) as started:
        for pid in (server.pid, begun(started)):
            assert b"MARK=here" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        started.kill()


def test_close__ends_the_zygote_and_forgets_its_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = ForkServer(str(tmp_path), {}, ("colorsys",))
    assert socket_path() == server.path == os.environ[SOCKET]
    server.close()
    assert socket_path() == "" and not alive(server.pid)


def test_zygote__ends_with_the_process_that_has_started_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    code = (
        "import time; from coordinator.pools.forking.fork_server import ForkServer; "
        f"print(ForkServer({str(tmp_path)!r}, {{}}, ('colorsys',)).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        check_ends_with(command)


def test_stand_in__is_a_python_that_has_ordinary_workers_forked(
    server: ForkServer, script: Callable[[str], str], tmp_path: Path
) -> None:
    """The folder's name and Python's may have blanks; workers that spill objects are no peers."""
    python = tmp_path / "a python"
    python.write_text(stand_in(sys.executable, server.path, str(tmp_path / "nobody")))
    python.chmod(0o700)
    worker = Path(script("import os, sys; print(os.environ.get('PEER_CONSENSUS_FORKED'), sys.argv[1:])"))
    other, worker = worker, worker.rename(tmp_path / "default_worker.py")
    other.write_text(worker.read_text())

    def printed(*arguments: str) -> str:
        return subprocess.run([python, *arguments], capture_output=True, text=True, check=True).stdout.strip()

    assert printed(str(worker), "--a=b c") == "1 ['--a=b c']"
    assert printed(str(worker), "--worker-type=SPILL_WORKER") == "None ['--worker-type=SPILL_WORKER']"
    assert printed(str(other), "--a=b c") == "None ['--a=b c']"
    assert printed("-c", "import sys; print(sys.executable)") == sys.executable


def test_used__is_for_what_is_started_in_the_block_only(server: ForkServer) -> None:
    before = sys.executable
    with pytest.raises(KeyboardInterrupt), server.used():
        assert sys.executable != before and os.stat(sys.executable).st_mode & 0o777 == 0o700
        raise KeyboardInterrupt
    assert sys.executable == before
