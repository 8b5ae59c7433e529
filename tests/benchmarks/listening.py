"""What listening costs beside a round: rules of pooling, memory and liars, as times the plain weighted mean.

Peers of a ring with a weight of their own, or of a complete graph. `directly` leaves `listen` out of the plain mean
altogether, and averages as `stack_teachers` has it: what the hook itself costs is the mean beside it.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from common import experiment, in_turn, ratio, rounds_of, show

from peers.learning import peer
from peers.learning.averaging import Received
from peers.learning.listening import Ear, Listened
from peers.learning.vectorised import peer_stack

MEAN, DIRECTLY = "mean", "directly"
LIAR = {"peers": [1], "attack": {"kind": "lma"}}
VARIANTS: dict[str, dict[str, Any]] = {
    MEAN: {},
    DIRECTLY: {},
    "a liar that never lies": {"peers": {"adversaries": [{**LIAR, "from_round": 10**6}]}},
    "a liar (lma)": {"peers": {"adversaries": [LIAR]}},
    "a liar, expguard": {"peers": {"adversaries": [LIAR]}, "exchange": {"memory": "expguard"}},
    "a liar, trimmed mean": {"peers": {"adversaries": [LIAR]}, "exchange": {"aggregation": {"kind": "trimmed-mean"}}},
    "a liar, krum": {"peers": {"adversaries": [LIAR]}, "exchange": {"aggregation": {"kind": "krum"}}},
    "a liar, geometric median": {
        "peers": {"adversaries": [LIAR]},
        "exchange": {"aggregation": {"kind": "geometric-median"}},
    },
}


def directly(received: Sequence[Received], own: Any, ear: Ear | None) -> Listened:
    return Listened([(each.weight, each.outputs) for each in received], sum(each.weight for each in received))


@contextmanager
def without_listening() -> Any:
    kept = peer.listen, peer_stack.listen
    peer.listen = peer_stack.listen = directly
    yield
    peer.listen, peer_stack.listen = kept


def block(run: Callable[[int], Any], name: str) -> Callable[[int], Any]:
    """A block of rounds of a variant."""
    if name != DIRECTLY:
        return run

    def running(rounds: int) -> None:
        with without_listening():
            run(rounds)

    return running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--model", default="small-cnn", choices=("mlp", "small-cnn", "empty"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--topology", default="complete", choices=("complete", "ring"))
    parser.add_argument("--rounds", type=int, default=10, help="of a block")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--execution", default="loop", choices=("loop", "vectorised"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    hosting = {"pool": "in-process", "execution": asked.execution, "peers_per_host": asked.peers}
    topology = {"kind": asked.topology, "self_weight": 1 / 3 if asked.topology == "ring" else 1 / asked.peers}
    with ExitStack() as stack:
        blocks = {}
        for name, sections in VARIANTS.items():
            config = experiment(asked.peers, asked.model, asked.batch, 200, topology, hosting=hosting, **sections)
            blocks[name] = block(stack.enter_context(rounds_of(config)), name)
        seconds = in_turn(blocks, asked.rounds, asked.repeats)
    ratios = {name: ratio(taken, seconds[DIRECTLY]) for name, taken in seconds.items() if name != DIRECTLY}
    show({"benchmark": "listening", **vars(asked), "times as long as directly": ratios})


if __name__ == "__main__":
    main()
