"""Time, bytes and memory of a peer and round as the number of peers grows: flat, or not.

Two vectorised Ray hosts on digits (mlp 128-128), from the smallest to the largest number of peers on each topology;
`complete` is measured edge by edge up to `--most-per-edge` peers, and with shared sums. The blocks of all sizes come in
turn, so the ratios are of one run. Start-up is from the config to a pool whose peers are built, in seconds.
"""

import argparse
import gc
import statistics
import time
from contextlib import ExitStack
from typing import Any

import torch
from common import experiment, local_ray, rounds_of, show
from processes import tree_memory

TOPOLOGIES: dict[str, dict[str, Any]] = {
    "ring": {"kind": "ring"},
    "random": {"kind": "random", "teachers": 4},
    "complete": {"kind": "complete"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--topologies", nargs="+", default=list(TOPOLOGIES), choices=list(TOPOLOGIES))
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128], help="units of the layers: memory grows")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4, help="of a block")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--most-per-edge", type=int, default=128)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for topology in asked.topologies:
        for delivery in ("per-edge", "shared-sum") if topology == "complete" else ("per-edge",):
            sizes = [
                n for n in asked.peers if delivery == "shared-sum" or topology != "complete" or n <= asked.most_per_edge
            ]
            rows += measured(topology, delivery, sizes, asked)
    show({"benchmark": "scale", **vars(asked), "rows": rows})


def measured(topology: str, delivery: str, sizes: list[int], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each size: microseconds of a peer and round, that over the smallest size's, bytes, memory, start-up."""
    micros: dict[int, list[float]] = {size: [] for size in sizes}
    sent: dict[int, float] = {}
    memory: dict[int, int] = {}
    started: dict[int, float] = {}
    with local_ray(asked.hosts * len(sizes)), ExitStack() as stack:
        blocks = {}
        for size in sizes:
            hosting = {"pool": "ray", "peers_per_host": -(-size // asked.hosts), "execution": "vectorised"}
            total = 2 + asked.rounds * asked.repeats
            exchange = {"delivery": delivery}
            peers = {"model": {"kind": "mlp", "hidden": asked.hidden}}
            config = experiment(
                size, "mlp", asked.batch, total, TOPOLOGIES[topology], hosting=hosting, exchange=exchange, peers=peers
            )
            before, begun = tree_memory(), time.perf_counter()
            blocks[size] = stack.enter_context(rounds_of(config))
            started[size] = time.perf_counter() - begun
            blocks[size](2)
            gc.collect()
            memory[size] = tree_memory() - before
        for _ in range(asked.repeats):
            for size, block in blocks.items():
                start = time.perf_counter()
                records = block(asked.rounds)
                micros[size].append((time.perf_counter() - start) / asked.rounds / size * 1e6)
                sent[size] = statistics.mean(record.num_bytes for record in records) / size
    return [
        {
            "topology": topology,
            "delivery": delivery,
            "peers": size,
            "microseconds": round(statistics.median(micros[size])),
            "over_smallest": round(
                statistics.median(a / b for a, b in zip(micros[size], micros[sizes[0]], strict=True)), 2
            ),
            "bytes": round(sent[size]),
            "mebibytes_in_all": round(memory[size] / 2**20),
            "start_seconds": round(started[size], 1),
        }
        for size in sizes
    ]


if __name__ == "__main__":
    main()
