"""Seconds and memory of the trace of many peers, without training: `python tests/benchmarks/network.py`.

A ring; lognormal compute, constant latency. As a measure of the machine, and why the simulation has a heap of its own:
SimPy's seconds for as many bare timeouts as the trace has events (`pip install simpy`), where it is installed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np

from topologies.config import Ring
from topologies.network.simulation import build_trace
from topologies.worlds.config import NetworkConfig

CLOCKS: dict[str, dict[str, Any]] = {
    "neighbours": {},
    "synchronous": {},
    "deadline": {"deadline": 0.15},
    "free-running": {},
    "gossip": {"wake_every": 0.1},
}


def traced(clock: str, peers: int, rounds: int) -> dict[str, Any]:
    """Seconds, events and memory of one trace, each round of which is looked at and let go."""
    compute = {"kind": "lognormal", "seconds": 0.05, "sigma": 0.6}
    network = NetworkConfig(clock=clock, compute=compute, latency={"seconds": 0.05}, **CLOCKS[clock])
    schedule = Ring().build(peers, np.random.SeedSequence(0))
    begun, used = time.perf_counter(), time.process_time()
    events: Counter[str] = Counter()
    for timed in islice(build_trace(network, schedule, peers, 0, 65536).rounds(), rounds):
        for wave in timed.waves:
            steps = len(wave.steps)
            events["study"] += steps
            events["publish"] += len(wave.returns) + sum(step.following is not None for step in wave.steps)
        events["send"] += len(timed.deliveries)
        events["arrive"] += len(timed.deliveries)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "events": events.total(), "mib": peak()}


def peak() -> float:
    """The most memory that this process has had, in MiB: of its own, without that of the process that started it."""
    with open("/proc/self/status") as lines:
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)


def simpy_seconds(events: int, peers: int) -> float | None:
    """Of as many timeouts of as many processes; None without SimPy."""
    try:
        import simpy
    except ImportError:
        return None
    environment = simpy.Environment()

    def process(delay: float) -> Any:
        for _ in range(events // peers):
            yield environment.timeout(delay)

    for peer in range(peers):
        environment.process(process(0.05 + peer * 1e-6))
    begun = time.process_time()
    environment.run()
    return round(time.process_time() - begun, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--clocks", nargs="+", default=list(CLOCKS), choices=list(CLOCKS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(traced(given.one, given.peers, given.rounds)))
        return
    result: dict[str, Any] = {}
    for clock in given.clocks:
        for rounds in (given.rounds // 4, given.rounds):  # each in a process of its own: memory must be the same
            line = [sys.executable, __file__, "--one", clock, "--peers", str(given.peers), "--rounds", str(rounds)]
            found = subprocess.run(line, capture_output=True, text=True, check=True).stdout
            result.setdefault(clock, {})[rounds] = json.loads(found)
    first = result[given.clocks[0]][given.rounds]
    simpy = simpy_seconds(first["events"], given.peers)
    result["simpy"] = {"timeouts": first["events"], "cpu_seconds": simpy}
    if simpy is not None:
        result["simpy"]["over_the_trace"] = round(simpy / first["cpu_seconds"], 2)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
