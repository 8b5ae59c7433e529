"""Maps a run's events to MLflow parameters, metrics (by round) and tags."""

from coordinator.records.events import Fault, Measured, Probed, RoundCompleted, RunEvent, RunStarted
from coordinator.records.mlflow import Tracker
from coordinator.records.run_folder import RunFolder
from coordinator.records.summary import flatten, shown_config
from coordinator.scheduling.scheduler import Phase


class MlflowObserver:
    """Logs a run's events to MLflow as they occur."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.tracker.log_params(flatten(shown_config(event.config)))
            case Measured():
                self.tracker.log_metrics(event.measures.scalars, event.completed)
            case RoundCompleted(phase=Phase.ROUNDS, replayed=False):
                self.tracker.log_metrics(event.row, event.completed)
            case Probed(completed=int(completed)):
                means = {name: sum(values) / len(values) for name, values in event.accuracies.items()}
                self.tracker.log_metrics(means, completed)
            case Fault():
                self.tracker.log_tags({f"fault.{event.number}": event.what})
                self.tracker.log_metrics({"faults": event.number}, event.completed)
            case _:
                pass

    def send_again(self, folder: RunFolder) -> None:
        """Log the tables' rows again, since a killed process may not have sent them; known ones are skipped."""
        for row in folder.rows("rounds"):
            self.tracker.log_metrics({name: value for name, value in row.items() if name != "round"}, row["round"])
        accuracies: dict[int, dict[str, list[float]]] = {}  # of every peer, by round and probe
        for row in folder.rows("peers"):
            for name, value in row.items():
                if name.endswith("_accuracy") and value is not None:
                    accuracies.setdefault(row["round"], {}).setdefault(name, []).append(value)
        for completed, probes in accuracies.items():
            self.tracker.log_metrics({name: sum(values) / len(values) for name, values in probes.items()}, completed)
