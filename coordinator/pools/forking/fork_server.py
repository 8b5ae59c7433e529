"""Starts the zygote from the command and ends it with the command, and makes Ray start its workers by it."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from coordinator.pools.forking.announcing import announcing

HERE = Path(__file__).parent
LAUNCHER, HELPERS, ZYGOTE, ROOT = HERE / "launcher.py", HERE / "helpers.py", HERE / "zygote.py", HERE.parents[2]
SOCKET = "PEER_CONSENSUS_FORK_SERVER"  # environment variable with the path of the socket, also in Ray's processes
# what Ray imports from elsewhere; not Ray itself, which reads its settings from the environment when it is imported
OF_RAY = (
    "jsonschema",
    "requests",
    "yaml",
    "msgpack",
    "filelock",
    "google.protobuf.message",
    "packaging.version",
    "pdb",
)
HOSTS = (*OF_RAY, "peers.hosting.host", "peers.hosting.evaluator")  # what peers need
RUNS = (*HOSTS, "coordinator.ablations.runs.parallel_runs")  # what the tasks of an ablation need
ONE_THREAD = {  # no library may start a thread when it is imported
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
BACKLOG = 128


class ForkServer:
    """The zygote in a process of its own, which ends with this one. Workers that were forked outlive it.

    folder: one that only this user can enter, for the socket: who reaches it has code run. modules: what the zygote
    imports; they start no thread. marks: environment variables by which others recognise it and its forks.
    """

    def __init__(self, folder: str, marks: Mapping[str, str], modules: Sequence[str] = HOSTS) -> None:
        self.path = f"{folder}/forks"
        environment = {**os.environ, **ONE_THREAD, **marks}
        with socket.socket(socket.AF_UNIX) as listening, open(f"{folder}/zygote.log", "wb") as log:
            listening.bind(self.path)
            os.chmod(self.path, 0o600)
            listening.listen(BACKLOG)  # so that launchers wait until it has imported all
            self._process = subprocess.Popen(
                [sys.executable, str(ZYGOTE), str(listening.fileno()), str(ROOT), *modules],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listening.fileno()],
                env=environment,
                start_new_session=True,  # Ctrl-C does not reach it
            )
        os.environ[SOCKET] = self.path
        self._python, self._announced = f"{folder}/python", f"{folder}/announced"
        with open(self._python, "x", opener=lambda path, flags: os.open(path, flags, 0o700)) as file:
            file.write(stand_in(sys.executable, self.path, self._announced))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have a Ray that is started in the `with` block fork its workers, but for those that spill, and lack helpers.

        Ray starts what `sys.executable` says. An actor's runtime environment could name the launcher instead, as its
        `py_executable`, but to run that, Ray starts a Python and imports itself into it: more than the fork takes.
        """
        before, sys.executable = sys.executable, self._python
        try:
            with announcing(self._announced):
                yield
        finally:
            sys.executable = before

    @property
    def pid(self) -> int:
        """The process id of the zygote."""
        return self._process.pid

    def close(self) -> None:
        """End the zygote."""
        if os.environ.get(SOCKET) == self.path:
            del os.environ[SOCKET]
        with self._process:  # closes the pipe
            self._process.kill()  # it may still import, and has nothing to put in order


def socket_path() -> str:
    """The socket of the zygote of this process's Ray, which it has started or is a worker of; "" if there is none."""
    path = os.environ.get(SOCKET, "")
    return path if os.path.exists(path) else ""


def stand_in(python: str, forks: str, announced: str) -> str:
    """A shell script that is a Python, but for what Ray starts: it has workers forked, and leaves out helpers.

    forks: the socket of the zygote. announced: that of `announcing`. Ray's autoscaler and its log monitor are for
    clusters that grow and for output that the command prints: both end at once, which Ray does not mind.
    """
    flags = [python, "-I", "-S", "-E"]
    launcher, helpers = shlex.join([*flags, str(LAUNCHER), forks]), shlex.join([*flags, str(HELPERS), announced])
    return f"""#!/bin/sh
case "$*" in *--worker-type=*) ;; *) case "$1" in */default_worker.py) exec {launcher} "$@" ;; esac ;; esac
case "$1 $2" in
*/ray/autoscaler/*monitor.py*|*/ray/_private/log_monitor.py*) exit 0 ;;
*/ray/dashboard/dashboard.py*|*/ray/dashboard/agent.py*|*/ray/_private/runtime_env/agent/main.py*)
  exec {helpers} "$@" ;;
esac
exec {shlex.quote(python)} "$@"
"""
