"""From the start of the process to the first round, and the imports behind it.

Each measure is a fresh process; the floor is one that imports torch and Ray, starts Ray and as many empty actors that
import torch. Rounds, probes and data are as small as they can be.
"""

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from common import experiment, show

from coordinator.experiment.config import to_toml

RUN = """
import json, sys, time
start = float(sys.argv[1])
import tempfile
from coordinator import load_config
from coordinator import simulate
from coordinator.records.events import RoundCompleted
imported = time.time() - start
class First:
    at = None
    def observe(self, event):
        if isinstance(event, RoundCompleted) and event.completed == 1 and self.at is None: self.at = time.time() - start
first = First()
import tomllib
with tempfile.TemporaryDirectory() as folder:
    simulate(load_config(tomllib.loads(sys.stdin.read())), folder, [first])
print(json.dumps({"imports": imported, "first round": first.at, "end": time.time() - start}))
"""
FLOOR = """
import json, sys, time
start = float(sys.argv[1])
import torch, ray
imported = time.time() - start
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=0)
class Empty:
    def ready(self):
        import torch
actors = [Empty.remote() for _ in range(int(sys.argv[2]))]
ray.get([actor.ready.remote() for actor in actors])
first = time.time() - start
ray.shutdown()
print(json.dumps({"imports": imported, "first round": first, "end": time.time() - start}))
"""
MODULES = (
    "torch",
    "ray",
    "mlflow",
    "matplotlib.figure",
    "scipy.stats",
    "sklearn.datasets",
    "networkx",
    "pyarrow.parquet",
    "peers.hosting.actor",
    "coordinator.run.simulate",
    "coordinator.cli",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--hosts", type=int, default=2, help="of the hosted variant")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    rows = []
    for peers in asked.peers:
        variants = {
            "floor, an actor a peer": (FLOOR, [str(peers)], ""),
            "ray, 1 a host": (RUN, [], toml(peers, {"pool": "ray"}, False)),
            "ray, 1 a host, MLflow": (RUN, [], toml(peers, {"pool": "ray"}, True)),
            "ray, hosted": (RUN, [], toml(peers, {"pool": "ray", "peers_per_host": -(-peers // asked.hosts)}, False)),
            "in process": (RUN, [], toml(peers, {"pool": "in-process"}, False)),
        }
        seconds: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        for _ in range(asked.repeats):
            for name, variant in variants.items():
                seconds[name].append(timed(*variant))
        floor = [each["first round"] for each in seconds["floor, an actor a peer"]]
        for name, each in seconds.items():
            ratios = [a["first round"] / b for a, b in zip(each, floor, strict=True)]
            rows.append(
                {"peers": peers, "variant": name, "first_round_over_floor": round(statistics.median(ratios), 2)}
            )
    show({"benchmark": "startup", **vars(asked), "rows": rows, "imports": imports()})


def toml(peers: int, hosting: dict[str, Any], tracking: bool) -> str:
    small = {"probes": ["knn"], "probe_train": 50, "probe_test": 20, "probe_batch": 16, "calibration_passes": 1}
    sections = {"hosting": hosting, "evaluation": small, "tracking": {"enabled": tracking}}
    return to_toml(experiment(peers, "mlp", 16, 2, {"kind": "ring"}, **sections))


def timed(code: str, arguments: list[str], text: str) -> dict[str, float]:
    """What a fresh process reports, in seconds from before it was started."""
    import time

    command = [sys.executable, "-W", "ignore", "-c", code, str(time.time()), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def imports() -> dict[str, float]:
    """The time to import each module in a fresh process over that of torch, as medians of three."""
    code = "import sys, time; start = time.time(); __import__(sys.argv[1]); print(time.time() - start)"

    def one(module: str) -> float:
        done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True)
        return float(done.stdout)

    each: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(3):
        for module in MODULES:
            each[module].append(one(module))
    return {
        module: round(statistics.median(a / b for a, b in zip(taken, each["torch"], strict=True)), 2)
        for module, taken in each.items()
    }


if __name__ == "__main__":
    main()
