"""What the assignments of a dense round cost the coordinator: bytes and microseconds for each link.

The peers of a complete graph, on several hosts. Planning is measured for the first round, which the plan is made for,
and for later ones, which reuse it; pickling is what Ray does for the call of each host.
"""

import argparse
import pickle
import statistics
import time

from common import show

from coordinator.scheduling.assignments import Routes
from topologies.schedule import complete


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=256)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10, help="after the first")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    schedule = complete(asked.peers)
    schedule(0)  # the topology's own work is not measured
    hosts = [list(range(host, asked.peers, asked.hosts)) for host in range(asked.hosts)]
    seconds: dict[str, list[float]] = {"first plan": [], "later plan": [], "shared-sum first plan": [], "pickle": []}
    num_bytes = 0
    for _ in range(asked.repeats):
        for name, shared_sum in (("shared-sum first plan", True), ("first plan", False)):
            routes = Routes(schedule, asked.rounds + 1, hosts, shared_sum)
            start = time.perf_counter()
            parts = [{peer: routes.following(peer) for peer in peers} for peers in hosts]
            seconds[name].append(time.perf_counter() - start)
        for _ in range(asked.rounds):
            start = time.perf_counter()
            parts = [{peer: routes.following(peer) for peer in peers} for peers in hosts]
            after = time.perf_counter()
            num_bytes = sum(len(pickle.dumps(of_host, pickle.HIGHEST_PROTOCOL)) for of_host in parts)
            seconds["later plan"].append(after - start)
            seconds["pickle"].append(time.perf_counter() - after)
    links = asked.peers * (asked.peers - 1)
    micros = {name: round(statistics.median(each) * 1e6 / links, 4) for name, each in seconds.items()}
    result = {"bytes_a_link": round(num_bytes / links, 2), "microseconds_a_link": micros}
    show({"benchmark": "assignments", **vars(asked), **result})


if __name__ == "__main__":
    main()
