"""What the benchmarks share: an experiment on a ring, blocks of rounds in turn, medians, memory of a process tree."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from processes import tree_seconds

from coordinator.experiment.config import RunConfig, load_config
from coordinator.planning.plan import Plan, peer_settings, prepare
from coordinator.pools.base import Pool
from coordinator.pools.opening import open_pool
from coordinator.scheduling.synchronous import Cadence, RoundLoop, RoundRecord

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "hidden": [128, 128]},
    "small-cnn": {"kind": "small-cnn", "channels": [16, 32, 64]},
    **{kind: {"kind": kind} for kind in ("paper-cnn", "resnet18", "vgg11", "densenet121")},
    "empty": {"kind": "mlp", "hidden": [1]},
}


def experiment(
    count: int, model: str, batch: int, rounds: int, topology: Mapping[str, Any], **sections: Any
) -> RunConfig:
    """Peers of one kind that exchange 64 logits; digits for `mlp`, synthetic 32x32 images for convolutions."""
    images = {"kind": "synthetic", "shape": [3, 32, 32], "num_train": 2048, "num_test": 64}
    if model == "empty":
        images = {"kind": "synthetic", "shape": [1, 2, 2], "num_train": 64, "num_test": 16}
    table: dict[str, Any] = {
        "run": {"rounds": rounds},
        "data": {**({"kind": "digits"} if model == "mlp" else images), "batch_size": batch},
        "peers": {
            "count": count,
            "model": MODELS[model],
            "head": {"kind": "linear", "dim": 8 if model == "empty" else 64},
            "norm": "none" if model == "empty" else "batch",
        },
        "topology": dict(topology),
        "tracking": {"enabled": False},
    }
    sections = {**sections, "hosting": {"evaluators": 0, **sections.get("hosting", {})}}  # nothing is probed
    for name, values in sections.items():
        table[name] = {**table.get(name, {}), **values}
    return load_config(table)


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Ray on this machine with so many CPUs to give away: several pools are open at once, of which one is at work."""
    import ray

    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def rounds_of(config: RunConfig, plan: Plan | None = None) -> Iterator[Callable[[int], list[RoundRecord]]]:
    """A function that runs so many rounds on an open pool."""
    plan = plan or prepare(config)
    shared = config.exchange.delivery == "shared-sum"
    with open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting) as pool:
        yield lambda rounds: run(pool, plan, config, rounds, shared)


def run(pool: Pool, plan: Plan, config: RunConfig, rounds: int, shared_sum: bool) -> list[RoundRecord]:
    return list(RoundLoop(pool, plan.schedule, Cadence(rounds, config.hosting.lookahead), shared_sum))


def in_turn(
    variants: Mapping[str, Callable[[int], Any]], rounds: int, repeats: int, cpu: dict[str, list[float]] | None = None
) -> dict[str, list[float]]:
    """Seconds of a block of rounds of each variant, blocks in turn, so that a busy moment hits all alike.

    cpu: is given the CPU seconds of this process and all below it.
    """
    for each in variants.values():
        each(2)  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, each in variants.items():
            start, before = time.perf_counter(), 0.0 if cpu is None else tree_seconds()
            each(rounds)
            seconds[name].append(time.perf_counter() - start)
            if cpu is not None:
                cpu.setdefault(name, []).append(tree_seconds() - before)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times as fast `fast` is: median, least and most over the repeats, each within one repeat."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return {name: round(f(each), 3) for name, f in (("median", statistics.median), ("least", min), ("most", max))}


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """Of each number that all repeats have."""
    return {name: round(statistics.median(each[name] for each in found), 3) for name in found[0]}


def show(result: Mapping[str, Any]) -> None:
    """Print a result with the kind of machine."""
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    print(json.dumps({"machine": machine, **result}, indent=2))
