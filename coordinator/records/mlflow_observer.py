"""Maps a run's events to MLflow parameters, metrics (by round) and tags."""

from statistics import fmean

from coordinator.records.events import Fault, Measured, PeerDropped, Probed, RoundCompleted, RunEvent, RunStarted
from coordinator.records.mlflow import Tracker
from coordinator.records.probe_curves import SUFFIX, student_accuracies
from coordinator.records.run_folder import RunFolder
from coordinator.records.summary import flatten, shown_config
from coordinator.scheduling.scheduler import Phase


class MlflowObserver:
    """Logs a run's events to MLflow as they occur."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._students: set[int] = set()  # peers that have studied so far, less those that dropped out

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.tracker.log_params(flatten(shown_config(event.config)))
            case Measured():
                self.tracker.log_metrics(event.measures.scalars, event.completed)
            case RoundCompleted(phase=Phase.ROUNDS):
                self._students |= event.losses.keys()
                if not event.replayed:
                    self.tracker.log_metrics(event.row, event.completed)
            case PeerDropped():
                self._students.discard(event.dropout.peer)
            case Probed(completed=int(completed)):
                peers = sorted(self._students) or range(len(event.outcomes))
                means = {name: fmean(values[peer] for peer in peers) for name, values in event.accuracies.items()}
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
        rows = folder.rows("peers")
        self._students |= {row["peer"] for row in rows if row.get("loss") is not None}
        for probe, accuracies in student_accuracies(rows).items():
            for completed, values in accuracies.items():
                self.tracker.log_metrics({f"{probe}{SUFFIX}": fmean(values)}, completed)
