"""A loss of your own: Huber's, with a `delta`, beside the mean squared error; and resuming a run that has one.

    python configs/examples/own_loss.py [section.key=value ...]      # such as hosting.pool=ray

`loss=` takes a function (student, target) -> one number. Both are [batch, outputs]: the student's logits, and the mean
of its teachers', standardised and divided by a temperature (`exchange.target`), without gradients. functools.partial
binds parameters, which count: a run goes on with the very same loss only. For your work: write it in operations of
torch, without branches on values.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from coordinator import ConfigError, load_config, resume, simulate

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"
CHANGES = ["run.rounds=60", "evaluation={probes=['linear'], controls=['alone']}", "hosting.pool=in-process"]


def huber(student: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    apart = (student - target).abs()
    return torch.where(apart < delta, apart**2 / 2, delta * (apart - delta / 2)).mean()


if __name__ == "__main__":
    config = load_config(QUICKSTART, [*CHANGES, *sys.argv[1:]])
    losses = {"squared error": torch.nn.functional.mse_loss, "huber, delta 0.1": partial(huber, delta=0.1)}
    for name, loss in losses.items():
        result = simulate(config, loss=loss)
        row, apart = result.summary["probes"]["linear"], result.summary["consensus"]["relative_distance"]["last"]
        print(f"{name}: disagreement {apart:.2f}, linear probe {100 * row['gain']:+.1f} points: {row['verdict']}")
        print(f"{name}: over peers alone: {row['controls']['alone']}")
    try:
        resume(result.folder, rounds=80, loss=partial(huber, delta=0.2))
    except ConfigError as refused:
        print(f"refused: {refused}")
