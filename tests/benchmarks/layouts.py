"""How many times as fast a peer's round is with channels last and in bfloat16, beside contiguous float32, in one run.

The networks for which channels last is faster in float32 are those of the rule (peers/networks/config.py).
"""

import argparse
from contextlib import ExitStack
from typing import Any

import torch
from common import experiment, in_turn, ratio, rounds_of, show

OTHERS: dict[str, dict[str, Any]] = {
    "contiguous": {"layout": "contiguous"},
    "channels-last": {"layout": "channels-last"},
    "bfloat16": {"layout": "contiguous", "precision": "bfloat16"},
    "channels-last, bfloat16": {"layout": "channels-last", "precision": "bfloat16"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["small-cnn", "paper-cnn", "resnet18"])
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="images are of size x size pixels")
    parser.add_argument("--channels", type=int, default=3, help="of the images")
    parser.add_argument("--rounds", type=int, default=1, help="of a block")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for model in asked.models:
        with ExitStack() as stack:
            variants = {}
            for name, hosting in OTHERS.items():
                data = {"shape": [asked.channels, asked.size, asked.size]}
                hosting = {"pool": "in-process", **hosting}
                total = 2 + asked.rounds * asked.repeats
                config = experiment(
                    asked.peers, model, asked.batch, total, {"kind": "ring"}, hosting=hosting, data=data
                )
                variants[name] = stack.enter_context(rounds_of(config))
            seconds = in_turn(variants, asked.rounds, asked.repeats)
        found[model] = {name: ratio(seconds["contiguous"], each) for name, each in seconds.items()}
    show({"benchmark": "layouts", **vars(asked), "times_as_fast_as_contiguous": found})


if __name__ == "__main__":
    main()
