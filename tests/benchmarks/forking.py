"""Worker processes that are forked beside ones that are started anew: time, CPU and memory until the first round.

Each is a fresh process that runs two rounds of small networks, a Ray actor for each peer, in turns. Seconds count from
before that process was started; memory is that of the whole tree, pages that processes share counted once. Prints the
ratios, and `--only` measures one of both at sizes at which the other does not fit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import experiment, medians, show

from coordinator.experiment.config import to_toml

WAYS = ("forked", "spawned")
RUN = """
import json, sys, time
start = float(sys.argv[1])
import tempfile, tomllib
from processes import tree_memory, tree_seconds
from coordinator import load_config, simulate
from coordinator.records.events import RoundCompleted, RunStarted
found = {"imports": time.time() - start}
def observe(event):
    if isinstance(event, RunStarted): found.update(event.workers)
    if isinstance(event, RoundCompleted) and event.completed == 1:
        found.update({"first round": time.time() - start, "CPU": tree_seconds(), "MiB": tree_memory() >> 20})
with tempfile.TemporaryDirectory() as folder:
    simulate(load_config(tomllib.loads(sys.stdin.read())), folder, [observe])
print(json.dumps({**found, "end": time.time() - start}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=WAYS)
    asked = parser.parse_args()
    rows = []
    for peers in asked.peers:
        ways = [asked.only] if asked.only else list(WAYS)
        each: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(asked.repeats):
            for way in ways:
                each[way].append(run(peers, way))
        rows.append({"peers": peers, **{way: medians(found) for way, found in each.items()}} | ratios(each))
    show({"benchmark": "forking", **vars(asked), "load": os.getloadavg(), "rows": rows})


def run(peers: int, way: str) -> dict[str, float]:
    """What a fresh process reports. Raises: RuntimeError, if not all of its workers began in this way."""
    small = {"probes": ["knn"], "probe_train": 50, "probe_test": 20, "probe_batch": 16, "calibration_passes": 1}
    config = experiment(peers, "small-cnn", 16, 2, {"kind": "ring"}, hosting={"workers": way}, evaluation=small)
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(time.time())]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, input=to_toml(config), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found.get(way) != peers:
        raise RuntimeError(f"not all workers were {way}: {found}")
    return found


def ratios(each: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Spawned over forked: medians of the turns."""
    if len(each) < 2:
        return {}
    pairs = list(zip(each["spawned"], each["forked"], strict=True))
    names = ("first round", "CPU", "MiB")
    return {
        "spawned over forked": {
            name: round(statistics.median(a[name] / b[name] for a, b in pairs), 2) for name in names
        }
    }


if __name__ == "__main__":
    main()
