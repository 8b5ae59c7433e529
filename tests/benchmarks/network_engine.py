"""What the simulated network costs beside the rounds themselves, and whether its memory grows with their number.

Blocks of rounds of the plain schedule, of an age-free trace (whose records get virtual times), of the same trace wave
by wave, as with ages, and of a free-running network; then the memory of a free-running network after more and more
rounds, of networks of one hidden unit, of which hardly anything else is left.
"""

import argparse
import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from common import experiment, in_turn, ratio, show
from processes import tree_memory

from coordinator.planning.plan import Plan, peer_settings, prepare
from coordinator.pools.base import Pool
from coordinator.pools.opening import open_pool
from coordinator.scheduling.choice import scheduler_of
from coordinator.scheduling.event_driven import EventDrivenScheduler
from coordinator.scheduling.scheduler import Cadence, Scheduler
from coordinator.scheduling.synchronous import SynchronousScheduler

UNEQUAL = {"compute": {"kind": "lognormal", "seconds": 0.05, "sigma": 0.3}, "latency": {"seconds": 0.05}}
PLAIN, TIMED, WAVES, FREE = "plain schedule", "age-free trace", "age-free trace, by waves", "free-running"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=16)
    parser.add_argument("--model", default="mlp", choices=("mlp", "small-cnn", "empty"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20, help="of a block")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pool", default="in-process", choices=("in-process", "ray"))
    parser.add_argument("--execution", default="loop", choices=("loop", "vectorised"))
    parser.add_argument("--longest", type=int, default=1600, help="rounds of the longest run whose memory is looked at")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with ExitStack() as stack:
        plans = {clock: planned(asked, clock) for clock in ("neighbours", "free-running")}
        pool = stack.enter_context(opened(plans["neighbours"]))
        seconds = in_turn(variants(pool, plans), asked.rounds, asked.repeats)
    ratios = {name: ratio(taken, seconds[PLAIN]) for name, taken in seconds.items() if name != PLAIN}
    show({"benchmark": "network_engine", **vars(asked), "times as long": ratios, "memory": growth(asked)})


def planned(asked: argparse.Namespace, clock: str, model: str = "") -> Plan:
    hosting = {"pool": asked.pool, "execution": asked.execution, "peers_per_host": -(-asked.peers // 2)}
    network = {"clock": clock, **UNEQUAL}
    sections: dict[str, Any] = {"hosting": hosting, "network": network}
    config = experiment(asked.peers, model or asked.model, asked.batch, asked.longest, {"kind": "ring"}, **sections)
    return prepare(config)


def opened(plan: Plan) -> Any:
    return open_pool(peer_settings(plan.config, plan.dataset), plan.dataset, plan.config.hosting)


def variants(pool: Pool, plans: dict[str, Plan]) -> dict[str, Callable[[int], Any]]:
    trace, free = plans["neighbours"].trace, plans["free-running"].trace
    assert trace is not None and trace.plain and free is not None
    schedulers: dict[str, Scheduler] = {
        PLAIN: SynchronousScheduler(pool),
        TIMED: scheduler_of(pool, trace, False),
        WAVES: EventDrivenScheduler(pool, trace),
        FREE: scheduler_of(pool, free, False),
    }
    return {name: block(scheduler, pool, plans["neighbours"]) for name, scheduler in schedulers.items()}


def block(scheduler: Scheduler, pool: Pool, plan: Plan) -> Callable[[int], Any]:
    """Runs so many rounds from the first on, with peers that have learned whatever they have."""

    def run(rounds: int) -> None:
        cadence = Cadence(rounds, plan.config.hosting.lookahead)
        for _ in scheduler.records(plan.schedule, cadence, 0, lambda: False):
            pass

    return run


def growth(asked: argparse.Namespace) -> dict[int, dict[str, float]]:
    """MiB of this process and all below it after so many rounds of one run, and the seconds that they took."""
    plan = planned(asked, "free-running", "empty")
    found: dict[int, dict[str, float]] = {}
    with opened(plan) as pool:
        cadence, start = Cadence(asked.longest, plan.config.hosting.lookahead), time.perf_counter()
        for record in scheduler_of(pool, plan.trace, False).records(plan.schedule, cadence, 0, lambda: False):
            if record.completed in (asked.longest // 16, asked.longest // 4, asked.longest):
                gc.collect()
                seconds = round(time.perf_counter() - start, 1)
                found[record.completed] = {"MiB": round(tree_memory() / 2**20, 1), "seconds": seconds}
    return found


if __name__ == "__main__":
    main()
