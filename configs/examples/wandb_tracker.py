"""Weights & Biases beside MLflow: an observer that passes a run's numbers on. First of all: pip install wandb

    python configs/examples/wandb_tracker.py [section.key=value ...]

It is offline: nothing leaves this machine until `wandb sync`, which is printed at the end. For your work:
coordinator/records/events.py says what events there are and what they hold; `event.measures.peers`, for example, has
the numbers of each peer. MLflow is turned off by tracking.enabled=false.
"""

import sys
from pathlib import Path

import wandb

from coordinator import Measured, RoundCompleted, RunEnded, RunEvent, load_config, simulate
from coordinator.records.events import RunStarted
from coordinator.records.files.summary import shown_config
from coordinator.scheduling.scheduler import Phase


class WeightsAndBiases:
    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.run = wandb.init(mode="offline", project="peer-consensus", config=shown_config(event.config))
                self.run.define_metric("*", step_metric="round")
            case Measured():  # before the first round, every `evaluation.every` rounds, after the last one
                self.run.log({"round": event.completed, **event.measures.scalars})
            case RoundCompleted(phase=Phase.ROUNDS):  # and not one of a control run
                self.run.log({"round": event.completed, "loss": event.loss})
            case RunEnded(folder=Path()):  # always the last one, however the run ends; without a folder it never began
                self.run.finish()


if __name__ == "__main__":
    config = load_config(Path(__file__).parents[1] / "quickstart.toml", ["hosting.pool=in-process", *sys.argv[1:]])
    simulate(config, observers=[WeightsAndBiases()])
