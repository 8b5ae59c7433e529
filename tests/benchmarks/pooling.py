"""What each rule of pooling costs, over the weighted mean: `python tests/benchmarks/pooling.py`.

A student's messages of 8 and of 64 teachers, each about 128 samples with 64 outputs; one thread, CPU time. The rules
take turns within a block, so that a busy moment of the machine hits all alike; ratios are medians over the blocks.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from common import show

from peers.base.section import examples
from peers.pooling.config import AggregationConfig, Mean
from peers.pooling.memory import expguard_scores
from peers.pooling.outliers import outlier_scores

Call = Callable[[], Any]


def calls(num_teachers: int, batch: int, dim: int) -> dict[str, Call]:
    """One call of each rule, and of what tells lies from honest messages."""
    generator = torch.Generator().manual_seed(0)
    stack = torch.softmax(torch.randn(num_teachers, batch, dim, generator=generator), dim=2)
    own, weights = stack[0], torch.full((num_teachers,), 1 / num_teachers)
    rules = [rule for rule in examples(AggregationConfig) if rule.kind not in ("import", "given")]
    rules += [rule.model_copy(update={"per_sample": True}) for rule in rules if hasattr(rule, "per_sample")]
    found: dict[str, Call] = {}
    for rule in rules:
        name = rule.kind + (" by sample" if getattr(rule, "per_sample", False) else "")
        found[name] = lambda rule=rule: rule.pool(own, stack, weights, True)
    return found | {
        "outlier scores": lambda: outlier_scores(stack),
        "expguard scores": lambda: expguard_scores(stack, True),
    }


def measured(num_teachers: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the mean, and of each rule the median ratio to it with the least and the most."""
    todo = calls(num_teachers, asked.batch, asked.dim)
    ratios: dict[str, list[float]] = {name: [] for name in todo}
    of_mean = []
    for block in range(asked.blocks + 1):
        seconds = {name: _seconds(call, asked.repeats) for name, call in todo.items()}
        if block == 0:  # warms up
            continue
        of_mean.append(seconds[Mean().kind])
        for name, spent in seconds.items():
            ratios[name].append(spent / seconds[Mean().kind])
    over = {
        name: [round(value, 1) for value in (statistics.median(each), min(each), max(each))]
        for name, each in ratios.items()
    }
    return {"mean_ms": round(1000 * statistics.median(of_mean), 3), "over_mean": over}


def _seconds(call: Call, repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teachers", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    show({str(num_teachers): measured(num_teachers, asked) for num_teachers in asked.teachers})


if __name__ == "__main__":
    main()
