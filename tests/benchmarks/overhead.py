"""What a round costs beside its arithmetic: networks of one hidden unit on a batch of two, and where the time goes.

Microseconds of a peer and round in each pool, beside an empty Ray actor call in the same run; and a profile of the
coordinator's process while it drives Ray hosts, and of a host, by function.
"""

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from common import experiment, in_turn, local_ray, rounds_of, show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=50, help="of a block")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--top", type=int, default=12, help="functions in a profile")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    hostings = {
        "in process, loop": {"pool": "in-process"},
        "in process, vectorised": {"pool": "in-process", "execution": "vectorised"},
        "ray, 1 a host": {"pool": "ray", "peers_per_host": 1},
        "ray, 2 hosts": {"pool": "ray", "peers_per_host": -(-asked.peers // 2)},
        "ray, 2 hosts, vectorised": {"pool": "ray", "peers_per_host": -(-asked.peers // 2), "execution": "vectorised"},
    }
    total = 2 + asked.rounds * (asked.repeats + 1)
    with local_ray(asked.peers + 8), ExitStack() as stack:
        variants: dict[str, Callable[[int], Any]] = {"an empty Ray call": empty_calls()}
        for name, hosting in hostings.items():
            config = experiment(asked.peers, "empty", 2, total, {"kind": "ring"}, hosting=hosting)
            variants[name] = stack.enter_context(rounds_of(config))
        seconds = in_turn(variants, asked.rounds, asked.repeats)
        profiles = {
            name: profile(variants[name], asked.rounds, asked.peers, asked.top)
            for name in ("ray, 1 a host", "in process, loop")
        }
    calls = {name: 1 if name == "an empty Ray call" else asked.peers for name in seconds}
    micros = {name: round(statistics.median(s) / asked.rounds / calls[name] * 1e6) for name, s in seconds.items()}
    show({"benchmark": "overhead", **vars(asked), "microseconds": micros, "profiles": profiles})


def empty_calls() -> Callable[[int], None]:
    """Calls of an actor that does nothing, all submitted before the first answer is read."""
    import ray

    @ray.remote(num_cpus=0)
    class Nothing:
        def call(self) -> None: ...

    actor = Nothing.remote()
    return lambda count: ray.get([actor.call.remote() for _ in range(count)]) and None


def profile(block: Callable[[int], Any], rounds: int, peers: int, top: int) -> dict[str, Any]:
    """Microseconds of a peer and round that this process spends, in all and within each function itself."""
    profiler = cProfile.Profile()
    start = time.perf_counter()
    profiler.runcall(block, rounds)
    elapsed = time.perf_counter() - start
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    own = sorted(((each[2], place) for place, each in stats.items()), reverse=True)[:top]
    unit = 1e6 / rounds / peers
    return {
        "in_all": round(elapsed * unit, 1),
        "own": {f"{Path(file).name}:{line} {name}": round(took * unit, 1) for took, (file, line, name) in own},
    }


if __name__ == "__main__":
    main()
