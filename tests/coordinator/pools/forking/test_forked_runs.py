"""Runs whose workers are forked, in Rays that they start: the same numbers, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pytest import MonkeyPatch

from coordinator import ConfigError, load_config, simulate
from coordinator.pools.forking.fork_server import HOSTS, SOCKET
from coordinator.pools.watcher import MARK
from coordinator.records.events import Fault, Note, RoundCompleted, RunStarted

Started = Callable[..., AbstractContextManager[Any]]


def table(**hosting: Any) -> dict[str, Any]:
    """Three networks with BatchNorm, each in a process of its own."""
    return {
        "run": {"rounds": 6, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {
            "count": 3,
            "model": {"kind": "small-cnn", "channels": [4]},
            "head": {"kind": "linear", "dim": 4},
            "optimizer": {"kind": "adamw", "lr": 1e-3},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"every": 3, "probe_batch": 20, "probes": ["knn", "linear"]},
        "hosting": {"evaluators": 0, "timeout": 60, **hosting},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 2, "seconds": 0},
    }


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for the files of Ray, with a name that is short enough for its sockets."""
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        yield Path(folder)


def with_variable(name: str, value: str = "") -> list[int]:
    """The processes that were started with this environment variable."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = dict(each.partition(b"=")[::2] for each in path.read_bytes().split(b"\0"))
        except OSError:
            continue
        if variables.get(name.encode(), b"").startswith(value.encode()) and name.encode() in variables:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_forked_run__has_the_numbers_of_any_other_and_survives_a_killed_fork(
    tmp_path: Path, place: Path, monkeypatch: MonkeyPatch
) -> None:
    """A forked actor is killed in the middle; before that, the zygote, so that its replacement is started anew."""
    monkeypatch.setenv("TMPDIR", str(place))
    events: list[Any] = []

    def observe(event: Any) -> None:
        events.append(event)
        if isinstance(event, RoundCompleted) and event.completed == 3 and len(seen) == 0:
            seen.extend(with_variable(MARK, str(place)))
            zygotes = [pid for pid in seen if b"zygote.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            forks = [pid for pid in seen if b"ActorHost" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            assert len(zygotes) == 1 and len(forks) == 3
            assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in forks} == {os.getpriority(os.PRIO_PROCESS, 0)}
            for pid in (zygotes[0], forks[1]):
                os.kill(pid, signal.SIGKILL)

    seen: list[int] = []
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    forked = simulate(load_config(table()), tmp_path / "forked", [observe])
    assert [dict(each.workers) for each in events if isinstance(each, RunStarted)] == [{"forked": 3}]
    assert forked.summary["hardware"]["workers"] == {"forked": 3}
    assert len([each for each in events if isinstance(each, Fault)]) == 1
    told = [each.text for each in events if isinstance(each, Note)]
    assert any(text.startswith("1 of 3 worker processes were started anew") for text in told)
    assert with_variable(MARK, str(place)) == [] and SOCKET not in os.environ
    in_process = simulate(load_config(table(pool="in-process")), tmp_path / "in-process")
    for name in ("digest", "probes", "consensus", "relative_weight_change"):
        assert forked.summary[name] == in_process.summary[name], name
    assert "workers" not in in_process.summary["hardware"]


@pytest.mark.slow
def test_spawned_run__has_the_same_numbers(tmp_path: Path) -> None:
    spawned = simulate(load_config(table(workers="spawned")), tmp_path)
    forked = simulate(load_config(table(workers="forked")), tmp_path)
    assert spawned.summary["hardware"]["workers"] == {"spawned": 3}
    assert forked.summary["hardware"]["workers"] == {"forked": 3}
    assert spawned.summary["digest"] == forked.summary["digest"]


ACTORS = """
import json, os, sys
from coordinator.pools.ray_cluster import open_ray

def seen():
    import peers.hosting.actor
    return sorted(sys.modules), os.getpid(), os.environ.get("PEER_CONSENSUS_FORKED", "")

if __name__ == "__main__":
    from coordinator import load_config
    from coordinator.pools.opening import open_pool
    from coordinator.planning.plan import prepare, settings_of
    from coordinator.pools.ray_actors import process_options
    import tomllib
    config = load_config(json.loads(sys.argv[1]))
    plan = prepare(config)
    assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules, "the plan does not import the compiler"
    with open_pool(settings_of(plan), plan.dataset, config.hosting) as pool:
        import ray
        both = [ray.remote(seen).options(num_cpus=0, **process_options(forked)).remote() for forked in (True, False)]
        modules, *began = zip(*ray.get(both), strict=True)
        peers = ray.get([host.actor.__ray_call__.remote(lambda host: sorted(sys.modules)) for host in pool.hosts])
    print(json.dumps([began[1], peers]))
"""


@pytest.mark.slow
def test_forked_actors__have_no_compiler(tmp_path: Path) -> None:
    """It is a hundred MiB and a second for each; neither has the process that plans the run."""
    script = tmp_path / "actors.py"
    script.write_text(ACTORS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), json.dumps(table())], capture_output=True, text=True, check=True
    )
    began, peers = json.loads(done.stdout.splitlines()[-1])
    assert began == ["1", ""] and len(peers) == 3
    for modules in peers:
        assert "torch" in modules and set(HOSTS) <= set(modules)
        assert not {"torch._dynamo", "sympy", "mlflow", "coordinator.run.simulate"} & set(modules)


HELPERS = """
import json, os, sys
from pathlib import Path
from coordinator.pools.forking.fork_server import HOSTS
from coordinator.pools.ray_cluster import open_ray
from coordinator.pools.watcher import MARK, _processes

def variable():
    return os.environ.get("OF_TASK", ""), os.environ.get("PEER_CONSENSUS_FORKED", "")

if __name__ == "__main__":
    with open_ray("", modules=HOSTS):
        import ray
        from coordinator.pools.ray_cluster import _GUARDS
        task = ray.remote(num_cpus=0)(variable)
        answers = [ray.get(task.remote())]
        found = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in _processes(_GUARDS[-1].folder)]
        commands = [command.split("\\0") for command in found]
        answers.append(ray.get(task.options(runtime_env={"env_vars": {"OF_TASK": "there"}}).remote()))
    print(json.dumps([answers, commands]))
"""


@pytest.mark.slow
def test_forked_ray__has_no_helpers_but_runtime_environments(tmp_path: Path) -> None:
    """The agent for these starts when it is called."""
    script = tmp_path / "helpers.py"
    script.write_text(HELPERS)
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, check=True)
    answers, commands = json.loads(done.stdout.splitlines()[-1])
    assert answers == [["", "1"], ["there", ""]] and done.stderr == ""
    ours = [command for command in commands if any(each.endswith("forking/helpers.py") for each in command)]
    scripts = {"/".join(Path(each).parts[-2:]) for command in commands for each in command if each.endswith(".py")}
    assert len(ours) == 3 and {"raylet", "gcs_server"} <= {Path(command[0]).name for command in commands}
    assert not {"log_monitor", "monitor"} & {Path(each).stem for each in scripts}


@pytest.mark.slow
def test_forked_run__that_is_killed_leaves_no_process(tmp_path: Path, place: Path, started: Started) -> None:
    path = tmp_path / "run.toml"
    path.write_text(tomli_w.dumps(table() | {"run": {"rounds": 100_000}}))
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "coordinator",
        "run",
        str(path),
        "--output",
        str(tmp_path / "runs"),
    ]
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(Path(__file__).parents[4])}
    with started(command, env=environment) as process:
        process.reach(1)
        found = with_variable(MARK, str(place))
        assert len([pid for pid in found if b"ActorHost" in Path(f"/proc/{pid}/cmdline").read_bytes()]) == 3
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while (left := with_variable(MARK, str(place))) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
        while (folders := list(place.glob("pc-*"))) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert folders == []


def test_forked__refused_in_a_ray_of_other_origin(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"workers is 'forked', but the Ray of this process was started without"):
        simulate(load_config(table(workers="forked")), tmp_path)
