"""What checkpoints cost: rounds with one after every round over rounds without, in turn, and the share at an interval.

The peers write, and the coordinator completes, as in a run; what a run adds are its tables, a few KiB here.
"""

import argparse
import tempfile
from typing import Any

import torch
from common import experiment, in_turn, local_ray, run, show

from coordinator.checkpoints.snapshots import Checkpoints
from coordinator.experiment.config import CheckpointConfig
from coordinator.planning.plan import peer_settings, prepare
from coordinator.pools.opening import open_pool
from coordinator.scheduling.scheduler import Cadence, PeersSaved, Phase
from coordinator.scheduling.synchronous import RoundLoop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--model", choices=["mlp", "small-cnn", "paper-cnn"], default="paper-cnn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6, help="of a block")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    total = 2 + asked.rounds * (asked.repeats + 1)
    hosting = {"pool": "ray", "peers_per_host": -(-asked.peers // 2)}
    config = experiment(asked.peers, asked.model, asked.batch, total, {"kind": "ring"}, hosting=hosting)
    plan, every = prepare(config), CheckpointConfig().every
    with (
        tempfile.TemporaryDirectory() as folder,
        local_ray(2),
        open_pool(peer_settings(config, plan.dataset), plan.dataset, config.hosting) as pool,
    ):
        checkpoints = Checkpoints(folder, CheckpointConfig().keep)

        def saving(rounds: int) -> None:
            cadence = Cadence(rounds, 3, checkpoint_every=1, aside=lambda done: checkpoints.aside(Phase.ROUNDS, done))
            for record in RoundLoop(pool, plan.schedule, cadence):
                assert isinstance(record.saved, PeersSaved)
                checkpoints.complete(Phase.ROUNDS, record.completed, record.saved.checksums, {}, b"")

        variants: dict[str, Any] = {
            "without": lambda rounds: run(pool, plan, config, rounds, shared_sum=False),
            "after every round": saving,
        }
        seconds = in_turn(variants, asked.rounds, asked.repeats)
    each = [slow / fast - 1 for slow, fast in zip(seconds["after every round"], seconds["without"], strict=True)]
    shares = sorted(cost / (cost + every) for cost in each)
    show(
        {
            "checkpoint over round": [round(cost, 3) for cost in sorted(each)],
            f"share of the time with one every {every} rounds": [round(share, 5) for share in shares],
        }
    )


if __name__ == "__main__":
    main()
