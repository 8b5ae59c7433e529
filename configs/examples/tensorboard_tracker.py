"""TensorBoard beside MLflow: an observer that passes a run's numbers on. First of all: pip install tensorboard

    python configs/examples/tensorboard_tracker.py [section.key=value ...]
    tensorboard --logdir runs/tensorboard

For your work: coordinator/records/events.py says what events there are and what they hold; `event.measures.peers`, for
example, has the numbers of each peer. MLflow is turned off by tracking.enabled=false.
"""

import sys
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from coordinator import Measured, RoundCompleted, RunEnded, RunEvent, load_config, simulate
from coordinator.scheduling.scheduler import Phase


class TensorBoard:
    def __init__(self, folder: str) -> None:
        self.writer = SummaryWriter(folder)

    def observe(self, event: RunEvent) -> None:
        match event:
            case Measured():  # before the first round, every `evaluation.every` rounds, after the last one
                for name, value in event.measures.scalars.items():
                    self.writer.add_scalar(name, value, event.completed)
            case RoundCompleted(phase=Phase.ROUNDS, loss=float(loss)):  # and not one of a control run
                self.writer.add_scalar("loss", loss, event.completed)
            case RunEnded():  # always the last one, however the run ends
                self.writer.close()


if __name__ == "__main__":
    config = load_config(Path(__file__).parents[1] / "quickstart.toml", ["hosting.pool=in-process", *sys.argv[1:]])
    simulate(config, observers=[TensorBoard("runs/tensorboard")])
    print("tensorboard --logdir runs/tensorboard")
