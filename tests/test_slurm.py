"""docker/slurm.sh on a Slurm of its own: a controller and two nodes, each in namespaces of the kernel."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("slurmctld", "slurmd", "munged", "sbatch", "unshare", "nsenter", "ip", "openssl")
missing = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and slurmd need root"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]

CONFIG = """
[run]
name = "slurm"
rounds = {rounds}
[data]
kind = "synthetic"
batch_size = 16
num_train = 64
num_test = 32
[peers]
count = 2
model = {{ kind = "mlp", hidden = [8] }}
head = {{ kind = "linear", dim = 4 }}
[topology]
kind = "complete"
[evaluation]
every = {rounds}
probes = ["knn"]
[hosting]
evaluators = 0
[checkpoint]
every = 100
"""
FAST = {"STORE": "150000000", "RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
SLURM = """
ClusterName=peers
SlurmctldHost=control(10.99.0.254)
SlurmUser=root
AuthInfo=socket={at}/munge/socket
StateSaveLocation={at}/state
SlurmctldPidFile={at}/slurmctld.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdSpoolDir={at}/%n
SlurmdPidFile={at}/%n.pid
SlurmdLogFile={at}/%n.log
SlurmdParameters=config_overrides
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=n1 NodeAddr=10.99.0.1 CPUs=2
NodeName=n2 NodeAddr=10.99.0.2 CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE
"""
# A machine has its own network, names, processes and mounts; all of it ends with its first process.
NAMESPACES = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--mount", "--pid", "--mount-proc"]
NAMESPACES += ["--fork", "--kill-child"]
CONTROL = """
set -e
hostname control; mount --bind {at}/hosts /etc/hosts; ip link set lo up
ip link add bridge type bridge; ip addr add 10.99.0.254/24 dev bridge; ip link set bridge up
munged --foreground --force --key-file={at}/munge/key --socket={at}/munge/socket --pid-file={at}/munge/pid \
  --log-file={at}/munge/log --seed-file={at}/munge/seed &
until [ -S {at}/munge/socket ]; do sleep 0.1; done
exec slurmctld -D -f {at}/slurm.conf
"""
NODE = """
set -e
hostname n{i}; mount --bind {at}/hosts{i} /etc/hosts; ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
ip addr add 10.99.0.{i}/24 dev eth0; ip link set eth0 up
mkdir -p {at}/n{i}
exec slurmd -D -N n{i} -f {at}/slurm.conf
"""


class Machine:
    """Namespaces with a script as their first process."""

    def __init__(self, script: str) -> None:
        self._outer = subprocess.Popen([*NAMESPACES, "bash", "-c", script], stdin=subprocess.DEVNULL)
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        self.first = int(wait_for(lambda: children.read_text().split()[:1], "a first process")[0])

    def call(self, *command: str, inside: str = "--net --uts --mount --pid", **more: Any) -> str:
        entered = ["nsenter", "--target", str(self.first), *inside.split(), *command]
        done = subprocess.run(entered, capture_output=True, text=True, timeout=60, **more)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def kill(self) -> None:
        """As if its power went: every process at once."""
        if self._outer.poll() is None:
            os.kill(self.first, signal.SIGKILL)
            self._outer.wait()


class Cluster:
    """A Slurm of two nodes with two CPUs each, whose names mean other addresses elsewhere, as on Debian."""

    def __init__(self, at: Path) -> None:
        self.at = at
        for name in ("munge", "state", "home"):
            (at / name).mkdir(mode=0o700)
        (at / "munge/key").write_bytes(secrets.token_bytes(128))
        (at / "munge/key").chmod(0o600)
        (at / "slurm.conf").write_text(SLURM.format(at=at))
        own = ["127.0.0.1 localhost", "10.99.0.254 control", "10.99.0.1 n1", "10.99.0.2 n2"]
        for i in ("", 1, 2):
            lines = [f"127.0.1.1 n{i}" if line.endswith(f" n{i}") else line for line in own]
            (at / f"hosts{i}").write_text("\n".join(lines) + "\n")
        self.control = Machine(CONTROL.format(at=at))
        self.nodes = [Machine(NODE.format(at=at, i=i)) for i in (1, 2)]
        wait_for(lambda: "bridge" in self.control.call("ip", "link", inside="--net"), "a bridge")
        for i, node in enumerate(self.nodes, start=1):
            ends = ["ip", "link", "add", f"v{i}", "type", "veth", "peer", "eth0", "netns", str(node.first)]
            self.control.call(*ends, inside="--net")
            self.control.call("ip", "link", "set", f"v{i}", "master", "bridge", "up", inside="--net")
        wait_for(lambda: self.slurm("sinfo", "--noheader", "--format=%T %D").split() == ["idle", "2"], "two idle nodes")

    def slurm(self, *command: str, **more: str) -> str:
        """One of Slurm's commands, as a user would type it beside the controller."""
        environment = {**os.environ, "SLURM_CONF": f"{self.at}/slurm.conf", "HOME": f"{self.at}/home", **more}
        return self.control.call(*command, env=environment)

    def submit(self, *arguments: str, runs: str = "runs", cpus: int = 1, options: tuple[str, ...] = ()) -> str:
        where = [f"--chdir={ROOT}", f"--output={self.at}/%j.log", f"--cpus-per-task={cpus}"]
        command = ["sbatch", "--parsable", *where, *options, str(ROOT / "docker/slurm.sh"), *arguments]
        return self.slurm(*command, PYTHONPATH=str(ROOT), RUNS=f"{self.at}/{runs}", **FAST).strip()

    def state(self, job: str) -> tuple[str, str]:
        """How a job stands, and its exit code."""
        words = dict(word.split("=", 1) for word in self.slurm("scontrol", "show", "job", job).split() if "=" in word)
        return words["JobState"], words["ExitCode"]

    def end(self, job: str) -> str:
        """Wait until a job has ended. Gives its state and exit code."""
        wait_for(lambda: self.state(job)[0] not in ("PENDING", "RUNNING", "COMPLETING"), f"end of job {job}", 300)
        return " ".join(self.state(job))

    def log(self, job: str) -> str:
        path = self.at / f"{job}.log"
        return path.read_text() if path.exists() else ""

    def checkpoints(self, runs: str) -> list[Path]:
        """Those that are whole, oldest first."""
        return sorted(path.parent for path in self.at.glob(f"{runs}/checkpoints/*/*/manifest.json"))

    def folders(self) -> set[Path]:
        """Those that Ray has used on the nodes, as the jobs' logs tell."""
        logs = "".join(path.read_text() for path in self.at.glob("*.log"))
        return set(map(Path, re.findall(r"/tmp/ray-\w{6}", logs)))

    def close(self) -> None:
        for machine in (*self.nodes, self.control):
            machine.kill()
        for folder in self.folders():  # of nodes that were killed
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Any, what: str, seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
        except (AssertionError, OSError):  # a command of Slurm's before the controller listens
            value = None
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"no {what} within {seconds:.0f} s")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    built = Cluster(tmp_path_factory.mktemp("slurm"))
    yield built
    built.close()


def experiment(cluster: Cluster, rounds: int) -> Path:
    path = cluster.at / f"{rounds}.toml"
    path.write_text(CONFIG.format(rounds=rounds))
    return path


def summary(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "summary.json").read_text()))


def undisturbed(cluster: Cluster, config: Path) -> Path:
    """The folder of the same run in one process, without Ray."""
    output = cluster.at / f"alone-{config.stem}"
    command = [sys.executable, "-m", "coordinator", "run", str(config), "--output", str(output)]
    subprocess.run([*command, "hosting.pool=in-process", "tracking.enabled=false"], check=True, capture_output=True)
    (run,) = output.glob("slurm-*")
    return run


def test_slurm__cut_and_submitted_again_equals_the_undisturbed_run(cluster: Cluster) -> None:
    """Cut by the time limit, then by hand, so that a slow machine does not need more rounds nor a fast one fewer."""
    job = cluster.submit(str(experiment(cluster, 1_000_000)), options=("--time=30",))
    wait_for(lambda: cluster.checkpoints("runs"), "a checkpoint")
    cluster.slurm("scontrol", "update", f"JobId={job}", "TimeLimit=3")  # the signal comes 180 s before, so now
    assert cluster.end(job) == "FAILED 130:0", cluster.log(job)
    (run,) = cluster.at.glob("runs/slurm-*")
    cut = summary(run)
    assert cut["status"] == "interrupted" and cut["faults"] == [], cluster.log(job)
    assert cluster.checkpoints("runs")[-1].name == f"round-{cut['rounds']:06d}", "written when it was cut"

    again = cluster.submit(str(run))
    wait_for(lambda: cluster.checkpoints("runs")[-1].name > f"round-{cut['rounds']:06d}", "newer checkpoint")
    cluster.slurm("scancel", "--batch", "--signal=TERM", again)
    assert cluster.end(again) == "FAILED 130:0", cluster.log(again)
    assert f"{cut['rounds']} of 1000000 rounds are done" in cluster.log(again)
    newest, rounds = cluster.checkpoints("runs")[-1], summary(run)["rounds"]
    alone = undisturbed(cluster, experiment(cluster, rounds)) / f"checkpoints/round-{rounds:06d}"
    names = [f"{name}.safetensors" for name in ("peer-0000", "peer-0001", "coordinator")]
    assert [(newest / name).read_bytes() for name in names] == [(alone / name).read_bytes() for name in names]
    assert cluster.folders() and not any(path.exists() for path in cluster.folders()), "each node clears up"


def test_slurm__two_jobs_on_the_same_nodes_leave_each_other_alone(cluster: Cluster) -> None:
    jobs = [cluster.submit(str(experiment(cluster, rounds)), runs="both") for rounds in (500, 100)]
    wait_for(lambda: all(cluster.state(job)[0] == "RUNNING" for job in jobs), "two jobs at a time")
    assert [cluster.end(job) for job in jobs] == ["COMPLETED 0:0"] * 2, "".join(map(cluster.log, jobs))
    digests = {each["rounds"]: each["digest"] for each in map(summary, cluster.at.glob("both/slurm-*"))}
    alone = [summary(undisturbed(cluster, experiment(cluster, rounds))) for rounds in (100, 500)]
    assert digests == {each["rounds"]: each["digest"] for each in alone}


def test_slurm__a_lost_node_does_not_end_the_run(cluster: Cluster) -> None:
    config = experiment(cluster, 1000)
    job = cluster.submit(str(config), runs="lost", cpus=2)
    wait_for(lambda: cluster.checkpoints("lost"), "a checkpoint")
    cluster.nodes[1].kill()
    assert cluster.end(job) == "COMPLETED 0:0", cluster.log(job)
    (run,) = cluster.at.glob("lost/slurm-*")
    assert len(summary(run)["faults"]) > 0
    assert summary(run)["digest"] == summary(undisturbed(cluster, config))["digest"]
