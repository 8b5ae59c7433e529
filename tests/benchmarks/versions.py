"""Two checkouts of the project beside each other, such as before and after a change: how long whole runs take.

Each run is a fresh process of one checkout, runs of both in turns; settings are those that both know, and else each
checkout's own defaults. Seconds count from before the process was started. Prints the ratios, and each run's numbers.

    git worktree add ../before COMMIT
    python tests/benchmarks/versions.py ../before
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import MODELS, medians, ratio, show

HERE = Path(__file__).parent
RUN = """
import json, sys, time
start, config = float(sys.argv[1]), json.loads(sys.argv[2])
import tempfile
from processes import tree_memory, tree_seconds
import coordinator
if not coordinator.__file__.startswith(sys.argv[3]): sys.exit(f"{sys.argv[3]} is no checkout of the project")
from coordinator import load_config, simulate
from coordinator.records.events import RoundCompleted
found, at, config = {}, {}, load_config(config)
last = config.run.rounds
first = max(last // 5, 1)
def observe(event):
    if isinstance(event, RoundCompleted) and event.completed in (1, first, last) and event.completed not in at:
        at[event.completed] = time.time(), tree_seconds()
        if event.completed == 1: found.update({"first round": time.time() - start, "MiB": tree_memory() >> 20})
with tempfile.TemporaryDirectory() as folder:
    simulate(config, folder, [observe])
if last > 4:
    for name, (begin, end) in zip(("a round", "CPU of a round"), zip(at[first], at[last])):
        found[name] = (end - begin) / (last - first)
print(json.dumps({**found, "in all": time.time() - start}))
"""
LITTLE = {"every": 100_000, "controls": [], "probes": ["knn"], "probe_train": 50, "probe_test": 20, "probe_batch": 16}


def rounds(count: int, model: str, rounds: int, hosting: dict[str, Any]) -> dict[str, Any]:
    """A ring of peers that are hardly probed."""
    return {
        "run": {"rounds": rounds},
        "data": {"kind": "synthetic", "shape": [3, 32, 32], "num_train": 2048, "num_test": 64, "batch_size": 64},
        "peers": {"count": count, "model": MODELS[model], "head": {"kind": "linear", "dim": 64}, "norm": "batch"},
        "topology": {"kind": "ring"},
        "evaluation": {**LITTLE, "calibration_passes": 1},
        "hosting": {"pool": "ray", "evaluators": 0, **hosting},
        "tracking": {"enabled": False},
    }


JOBS = {
    "quickstart": lambda checkout: str(checkout / "configs" / "quickstart.toml"),
    "4 actors": lambda _: rounds(4, "small-cnn", 2, {"peers_per_host": 1}),
    "16 actors": lambda _: rounds(16, "small-cnn", 2, {"peers_per_host": 1}),
    "small-cnn, 8 actors": lambda _: rounds(8, "small-cnn", 50, {"peers_per_host": 1}),
    "small-cnn, two hosts": lambda _: rounds(8, "small-cnn", 50, {"peers_per_host": 4}),
    "small-cnn, two hosts, bfloat16": lambda _: rounds(
        8, "small-cnn", 50, {"peers_per_host": 4, "precision": "bfloat16"}
    ),
    "paper-cnn, two hosts": lambda _: rounds(8, "paper-cnn", 5, {"peers_per_host": 4}),
    "paper-cnn, two hosts, bfloat16": lambda _: rounds(
        8, "paper-cnn", 5, {"peers_per_host": 4, "precision": "bfloat16"}
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout of the project")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    if not (asked.other / "coordinator" / "__main__.py").is_file():
        parser.error(f"'{asked.other}' is no checkout of the project: git worktree add {asked.other} COMMIT")
    checkouts = {"before": asked.other.resolve(), "now": HERE.parents[1]}
    rows = {}
    for job in asked.jobs:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
        for _ in range(asked.repeats):
            for name, checkout in checkouts.items():
                found[name].append(run(checkout, JOBS[job](checkout)))
        rows[job] = {**{name: medians(each) for name, each in found.items()}, "ratio": ratios(**found)}
        print(job, rows[job], file=sys.stderr)
    show({"benchmark": "versions", "repeats": asked.repeats, "load": os.getloadavg(), "jobs": rows})


def run(checkout: Path, config: str | dict[str, Any]) -> dict[str, float]:
    """What a fresh process of that checkout reports; of a file, what the command takes. Raises: RuntimeError."""
    start = time.time()
    if isinstance(config, dict):
        return json.loads(
            _output(checkout, ["-W", "ignore", "-c", RUN, str(start), json.dumps(config), str(checkout)])[-1]
        )
    with tempfile.TemporaryDirectory() as folder:
        _output(checkout, ["-m", "coordinator", "run", config, "--output", folder])
    return {"in all": time.time() - start}


def _output(checkout: Path, command: list[str]) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), str(HERE)])}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=checkout)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()


def ratios(before: list[dict[str, float]], now: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Before over now."""
    return {name: ratio([each[name] for each in before], [each[name] for each in now]) for name in before[0]}


if __name__ == "__main__":
    main()
