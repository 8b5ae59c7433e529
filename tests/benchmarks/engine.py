"""Rounds per second of the engine beside plain PyTorch loops of the same arithmetic, in one run.

a: a loop in one process as one would write it by hand, with two forwards (one for the message, one to learn);
b: the same split over as many processes as there are cores; g: b with one forward for both; c: RayPool, one peer a
host; d: RayPool, as many hosts as cores; e: InProcessPool; f: InProcessPool, vectorised. Loops by hand are contiguous
float32 unless `--by-hand channels-last` says otherwise. With `--views` (not a, b, g) half of the peers see luminance,
in images of 16x16 pixels, and half chroma, in two crops each, and learn from themselves, too.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, get_args

import torch
import torch.nn.functional as F
from common import experiment, in_turn, local_ray, ratio, rounds_of, show
from torch import Tensor

from coordinator.experiment.config import RunConfig
from coordinator.planning.plan import peer_settings, prepare
from peers.base.layout import Layout
from peers.learning.settings import initial_network

OF_ITSELF = {"self_loss": 1.0, "target": {"kind": "sinkhorn"}, "loss": {"kind": "cross-entropy", "temperature": 0.1}}


def in_two_views(peers: int) -> dict[str, dict[str, Any]]:
    """Sections of an experiment whose peers have sensors."""
    kinds = [{"name": name, "view": [{"kind": "crop", "padding": 2}, name]} for name in ("luminance", "chroma")]
    counts = peers - peers // 2, peers // 2
    groups = [{**kind, "count": count} for kind, count in zip(kinds, counts, strict=True)]
    images = {"kind": "synthetic", "shape": [3, 16, 16], "num_train": 2048, "num_test": 64}
    return {"peers": {"groups": groups}, "data": images, "exchange": OF_ITSELF}


class Loop:
    """Some of the peers of a ring, learned by hand; `table` holds everybody's logits of a round.

    once: whether the forward pass for the message is the one that is learned from, too.
    """

    def __init__(
        self, config: RunConfig, peers: list[int], table: Tensor, wait: Callable[[], Any], once: bool = False
    ) -> None:
        plan = prepare(config)
        settings = peer_settings(config, plan.dataset)
        self.peers, self.table, self.wait, self.once = peers, table, wait, once
        self.batches = settings[0].batches(plan.dataset)
        self.networks = {peer: initial_network(settings[peer], plan.dataset.shape) for peer in peers}
        if config.hosting.layout == "channels-last":
            for network in self.networks.values():
                network.to(memory_format=torch.channels_last)
        lr = config.peers.optimizer.lr
        self.optimizers = {
            peer: torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.0)
            for peer, network in self.networks.items()
        }
        self.losses: list[list[float]] = []
        self.round = 0

    def __call__(self, rounds: int) -> None:
        for _ in range(rounds):
            self.losses.append(self.one())
            self.round += 1

    def one(self) -> list[float]:
        n = len(self.table)
        images, _ = self.batches(self.round)
        kept: dict[int, Tensor] = {}
        with torch.set_grad_enabled(self.once):
            for peer, network in self.networks.items():
                kept[peer] = network(images)[1]
                self.table[peer] = kept[peer].detach()
        self.wait()
        losses = []
        for peer, network in self.networks.items():
            target = (self.table[(peer - 1) % n] + self.table[(peer + 1) % n]) / 2
            target = (target - target.mean(0)) / (target.std(0, correction=0) + 1e-6)
            outputs = kept[peer] if self.once else network(images)[1]
            log_student = F.log_softmax(outputs / 0.1, dim=1)
            loss = F.kl_div(log_student, F.softmax(target / 0.5, dim=1), reduction="batchmean") * 0.05
            self.optimizers[peer].zero_grad()
            loss.backward()
            self.optimizers[peer].step()
            losses.append(loss.item())
        self.wait()
        return losses


def worker(config: RunConfig, peers: list[int], table: Tensor, barrier: Any, pipe: Any, once: bool) -> None:
    torch.set_num_threads(1)
    loop = Loop(config, peers, table, barrier.wait, once)
    while (rounds := pipe.recv()) is not None:
        loop(rounds)
        pipe.send(loop.losses)


class Processes:
    """The hand-written loop over as many processes as cores, logits in shared memory, a barrier twice a round."""

    def __init__(self, config: RunConfig, cores: int, once: bool) -> None:
        context = multiprocessing.get_context("spawn")
        table = torch.zeros(config.peers.count, config.data.batch_size, 64).share_memory_()
        self.barrier = context.Barrier(cores)  # the processes' own are made from this one
        self.pipes, self.processes = [], []
        for core in range(cores):
            here, there = context.Pipe()
            peers = list(range(core, config.peers.count, cores))
            given = (config, peers, table, self.barrier, there, once)
            self.processes.append(context.Process(target=worker, args=given))
            self.pipes.append(here)
            self.processes[-1].start()

    def __call__(self, rounds: int) -> None:
        for pipe in self.pipes:
            pipe.send(rounds)
        for pipe in self.pipes:
            pipe.recv()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(None)
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--model", choices=("mlp", "small-cnn", "paper-cnn"), default="small-cnn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10, help="of a block")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variants", nargs="+", default=list("abgcde"))
    parser.add_argument("--execution", choices=("loop", "vectorised"), default="loop", help="of d and e")
    parser.add_argument("--layout", choices=get_args(Layout), default="by-rule", help="of the engine (c, d, e, f)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the engine")
    parser.add_argument(
        "--by-hand", choices=("contiguous", "channels-last"), default="contiguous", help="layout of a, b, g"
    )
    parser.add_argument("--views", action="store_true", help="peers in two views (c, d, e, f)")
    asked = parser.parse_args()
    if asked.views and {"a", "b", "g"} & set(asked.variants):
        parser.error("--views is not for the loops by hand: name --variants among c, d, e, f")
    cores = os.cpu_count() or 1

    def config(hosting: dict[str, Any]) -> RunConfig:
        total = 2 + asked.rounds * asked.repeats
        sections: dict[str, Any] = in_two_views(asked.peers) if asked.views else {}
        engine = {"layout": asked.layout, "precision": asked.precision}
        sections["hosting"] = {**hosting, **engine} if hosting else {"layout": asked.by_hand}  # images have it, too
        return experiment(asked.peers, asked.model, asked.batch, total, {"kind": "ring"}, **sections)

    hostings = {
        "c": {"pool": "ray", "peers_per_host": 1},
        "d": {"pool": "ray", "peers_per_host": math.ceil(asked.peers / cores), "execution": asked.execution},
        "e": {"pool": "in-process", "execution": asked.execution},
        "f": {"pool": "in-process", "execution": "vectorised"},
    }
    torch.set_num_threads(1)
    with ExitStack() as stack:
        if {"c", "d"} & set(asked.variants):
            stack.enter_context(local_ray(asked.peers + cores))
        variants: dict[str, Callable[[int], Any]] = {}
        table = torch.zeros(asked.peers, asked.batch, 64)
        if "a" in asked.variants:
            variants["a"] = Loop(config({}), list(range(asked.peers)), table, lambda: None)
        for name, once in (("b", False), ("g", True)):
            if name in asked.variants:
                variants[name] = stack.enter_context(Processes(config({}), cores, once))
        for name, hosting in hostings.items():
            if name in asked.variants:
                variants[name] = stack.enter_context(rounds_of(config(hosting)))
        check_same(variants, asked.peers, asked.precision)
        cpu: dict[str, list[float]] = {}
        seconds = in_turn(variants, asked.rounds, asked.repeats, cpu)
    compared = ("ad", "ae", "bc", "bd", "be", "gc", "gd", "ge", "ab", "ef")
    pairs = [(slow, fast) for slow, fast in compared if slow in seconds and fast in seconds]
    show(
        {
            "benchmark": "engine",
            **vars(asked),
            "rounds_per_second": {name: round(asked.rounds / statistics.median(s), 3) for name, s in seconds.items()},
            "times_as_fast": {f"{fast} over {slow}": ratio(seconds[slow], seconds[fast]) for slow, fast in pairs},
            "cpu_seconds": {f"{fast} over {slow}": ratio(cpu[fast], cpu[slow]) for slow, fast in pairs},
        }
    )


def check_same(variants: dict[str, Callable[[int], Any]], peers: int, precision: str) -> None:
    """End unless the engine and the loop by hand compute the same losses: else the ratios would mean nothing.

    In the first round, that is: Adam's first step takes the sign of each gradient, so that rounding counts afterwards.
    """
    engine = next((variants[name] for name in "edc" if name in variants), None)
    if "a" not in variants or engine is None:
        return
    loop = variants["a"]
    loop(1)
    records = engine(1)
    for hand, record in zip(loop.losses, records, strict=True):  # type: ignore[attr-defined]
        for peer in range(peers):
            tolerance = 0.2 if precision == "bfloat16" else 1e-4
            if abs(hand[peer] - record.stats[peer].loss) > tolerance * abs(hand[peer]):
                sys.exit(f"peer {peer}: {hand[peer]} by hand, {record.stats[peer].loss} by the engine")


if __name__ == "__main__":
    main()
