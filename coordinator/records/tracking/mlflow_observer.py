"""Maps a run's events to MLflow parameters, metrics (by round) and tags."""

from collections.abc import Mapping
from statistics import fmean

from coordinator.experiment.config import RunConfig
from coordinator.measures.subjects import honest
from coordinator.records.events import Fault, Measured, PeerDropped, Probed, RoundCompleted, RunEvent, RunStarted
from coordinator.records.files.probe_curves import SUFFIX, student_accuracies
from coordinator.records.files.run_folder import Row, RunFolder
from coordinator.records.files.summary import flatten, shown_config
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_names import accuracies_of_peer, curve_name, curves_of_peer, curves_of_round
from coordinator.scheduling.scheduler import Phase


class MlflowObserver:
    """Logs a run's events to MLflow as they occur.

    Probes that are taken once only, at the end, give no curve: their accuracy is among the final values.
    """

    def __init__(self, tracker: Tracker, config: RunConfig) -> None:
        self.tracker = tracker
        self._per_peer = config.tracking.per_peer
        self._has_curves_of_probes = config.evaluation.probe_every > 0
        self._liars = config.peers.liars
        self._students: set[int] = set()  # honest peers that have studied so far, less those that dropped out
        self._dropped: set[int] = set()
        self._measured: dict[int, Row] = {}  # by peer, the measures of the round that is about to be completed

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self.tracker.log_params(flatten(shown_config(event.config)))
            case Measured():
                self._log_row({**event.measures.scalars, "round": event.completed})
                self._measured = {peer: dict(values) for peer, values in event.measures.peers.items()}
                if event.completed == 0:
                    self._log_peers(0)
            case RoundCompleted(phase=Phase.ROUNDS):
                self._students |= event.losses.keys()
                if not event.replayed:
                    self._log_row({**event.row, "round": event.completed})
                    for peer, stats in event.stats.items():
                        if peer in self._measured:
                            self._measured[peer] |= {"loss": stats.loss, "gradient_norm": stats.gradient_norm}
                    self._log_peers(event.completed)
            case PeerDropped():
                self._dropped.add(event.dropout.peer)
                self._students.discard(event.dropout.peer)
            case Probed(completed=int(completed)):
                self._log_probes(event, completed)
            case Fault():
                self.tracker.log_tags({f"fault.{event.number}": event.what})
                self.tracker.log_metrics({curve_name("faults"): event.number}, event.completed)
            case _:
                pass

    def send_again(self, folder: RunFolder, dropped: Mapping[int, int]) -> None:
        """Log the tables' rows again, since a killed process may not have sent them; known ones are skipped.

        So a run of an older version, whose names had no groups, gets its whole history by the present names.
        """
        self.send_tables(folder.rows("rounds"), folder.rows("peers"), dropped)

    def send_tables(self, rounds: list[Row], peers: list[Row], dropped: Mapping[int, int]) -> None:
        """Log the rows of a run's tables. dropped: the round after which a peer dropped out: no mean counts it then."""
        for row in rounds:
            self._log_row(row)
        self._dropped |= dropped.keys()
        left_out = self._dropped | self._liars
        self._students |= {row["peer"] for row in peers if row.get("loss") is not None and row["peer"] not in left_out}
        if self._has_curves_of_probes:
            counted = [row for row in peers if row["round"] < dropped.get(row["peer"], row["round"] + 1)]
            for probe, accuracies in student_accuracies(counted, self._liars).items():
                for completed, values in accuracies.items():
                    self._log_row({f"{probe}{SUFFIX}": fmean(values), "round": completed})
        if self._per_peer:
            for row in peers:
                self.tracker.log_metrics(curves_of_peer(row), row["round"])
            probed = [row for row in peers if any(value is not None for value in accuracies_of_peer(row).values())]
            last = {row["peer"]: row for row in probed}
            self._log_accuracies(probed if self._has_curves_of_probes else list(last.values()))

    def _log_row(self, row: Row) -> None:
        self.tracker.log_metrics(curves_of_round(row), row["round"])

    def _log_probes(self, event: Probed, completed: int) -> None:
        row_of = {peer: row for row, peer in enumerate(event.probed)}
        students = [peer for peer in event.probed if peer in self._students]
        peers = students if self._students else honest(event.probed, self._liars | self._dropped)
        if self._has_curves_of_probes and peers:
            means = {
                curve_name(name): fmean(values[row_of[peer]] for peer in peers)
                for name, values in event.accuracies.items()
            }
            self.tracker.log_metrics(means, completed)
        if self._per_peer:
            columns = event.accuracies
            rows = {peer: {name: columns[name][row] for name in columns} for peer, row in row_of.items()}
            self._log_accuracies([{"round": completed, "peer": peer, **row} for peer, row in rows.items()])

    def _log_accuracies(self, rows: list[Row]) -> None:
        """Log the accuracies of each peer on its own; as final values if there are no curves."""
        if self._has_curves_of_probes:
            for row in rows:
                self.tracker.log_metrics(accuracies_of_peer(row), row["round"])
        elif rows:
            self.tracker.log_final({name: value for row in rows for name, value in accuracies_of_peer(row).items()})

    def _log_peers(self, completed: int) -> None:
        """Log the numbers of the peers that were measured after this round, each on its own, if it is asked for."""
        if self._per_peer:
            for peer, values in self._measured.items():
                self.tracker.log_metrics(curves_of_peer({"peer": peer, **values}), completed)
        self._measured = {}
