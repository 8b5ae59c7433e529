"""A run's tables: events add rows, which are written to the run's folder at checkpoints and at the end."""

from collections.abc import Callable

from coordinator.measures.measure import Pairing
from coordinator.records.events import Measured, Probed, RoundCompleted, RunEvent
from coordinator.records.run_folder import RunFolder
from coordinator.scheduling.scheduler import Phase


class Tables:
    """Fills the tables of rounds, peers, links and pairs of peers."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._last_measured: tuple[int, Pairing] | None = None  # round and input for pairs

    def observe(self, event: RunEvent) -> None:
        match event:
            case Measured():
                self._add_measures(event)
            case RoundCompleted(phase=Phase.ROUNDS, replayed=False):
                self._add_round(event)
            case Probed(completed=int(completed)):
                for name, accuracies in event.accuracies.items():
                    for peer, accuracy in enumerate(accuracies):
                        self.folder.record("peers", {"round": completed, "peer": peer}, {name: accuracy})
            case _:
                pass

    def compare_later(self, completed: int, pairing: Pairing) -> None:
        """Keep the input for comparing all pairs of peers, until the tables are written or newer input arrives."""
        self._last_measured = (completed, pairing)

    def gradient_norms(self) -> Callable[[int, int], float | None]:
        """The gradient norm of every step of the run, by index of the round and peer; None where there was no step."""
        rows = self.folder.rows("peers")
        norms = {(row["round"] - 1, row["peer"]): row.get("gradient_norm") for row in rows}
        return lambda round_index, peer: norms.get((round_index, peer))

    def save(self) -> None:
        """Write the rows added since the last call. Raises: OSError."""
        self._compare_pairs()
        self.folder.save_rows()

    def write(self) -> None:
        """Write all tables. Raises: OSError."""
        self._compare_pairs()
        self.folder.write_tables()

    def _add_round(self, event: RoundCompleted) -> None:
        for peer, stats in event.stats.items():
            values = {"loss": stats.loss, "gradient_norm": stats.gradient_norm}
            self.folder.record("peers", {"round": event.completed, "peer": peer}, values)
        self.folder.record("rounds", {"round": event.completed}, event.row)

    def _add_measures(self, event: Measured) -> None:
        self.folder.record("rounds", {"round": event.completed}, event.measures.scalars)
        for peer, values in event.measures.peers.items():
            self.folder.record("peers", {"round": event.completed, "peer": peer}, values)
        for (teacher, student), values in event.measures.edges.items():
            self.folder.record("edges", {"round": event.completed, "student": student, "teacher": teacher}, values)

    def _compare_pairs(self) -> None:
        """Compare all pairs of peers as of the last measurement; this is costly, so only when tables are written."""
        if self._last_measured:
            completed, pairing = self._last_measured
            pairs = pairing.pairs().items()
            rows = [{"round": completed, "peer": i, "other": j, **values} for (i, j), values in pairs]
            self.folder.replace("pairs", rows)
            self._last_measured = None
