"""A run's tables: events add rows, which are written to the run's folder at checkpoints and at the end."""

from collections.abc import Callable
from typing import Any

import numpy as np

from coordinator.experiment.config import RunConfig
from coordinator.measures.holdings import ClassImages
from coordinator.measures.measure import Pairing
from coordinator.records.events import Measured, Probed, RoundCompleted, RunEvent, RunStarted
from coordinator.records.files.probe_curves import SUFFIX
from coordinator.records.files.run_folder import RunFolder
from coordinator.scheduling.scheduler import Phase
from peers.learning.control import Control
from peers.networks.config import PeersConfig

MOST_ROWS = 2_000_000  # of peers and rounds: some GiB in the coordinator's memory


class Tables:
    """Fills the tables of rounds, peers, links and pairs of peers; of too many peers and rounds only what is measured.

    classes: with private data, which probed images are of whose classes.
    """

    def __init__(self, folder: RunFolder, classes: ClassImages | None = None) -> None:
        self.folder, self._classes = folder, classes
        self._known: dict[int, dict[str, Any]] = {}  # by peer, what is in each of its rows: group, and whether it lies
        self._last_measured: tuple[int, Pairing] | None = None  # round and input for pairs
        self._thinned, self._measured = False, 0  # whether peers have rows of measured rounds only; the last of these

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted(config=config):
                self._known, self._thinned = unequal(config.peers), bool(thinned(config))
            case Measured():
                self._measured = event.completed
                self._add_measures(event)
            case RoundCompleted(phase=Phase.ROUNDS, replayed=False):
                self._add_round(event)
            case Probed(completed=int(completed)):
                for name, accuracies in (event.accuracies | self._by_class(event)).items():
                    for peer, accuracy in zip(event.probed, accuracies, strict=True):
                        self._record_peer(completed, peer, {name: accuracy})
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

    def _record_peer(self, completed: int, peer: int, values: dict[str, Any]) -> None:
        self.folder.record("peers", {"round": completed, "peer": peer}, self._known.get(peer, {}) | values)

    def _by_class(self, event: Probed) -> dict[str, list[float | None]]:
        """By column, each peer's accuracy on images of its own classes, and on those of others; {} if all hold all."""
        if self._classes is None:
            return {}
        stacked = {
            name: np.stack([each.correct[name] for each in event.outcomes]) for name in event.outcomes[0].correct
        }
        return {
            f"{name}{SUFFIX}_{scope}": values
            for name, correct in stacked.items()
            for scope, values in self._classes.accuracies(correct, event.probed).items()
        }

    def _add_round(self, event: RoundCompleted) -> None:
        for peer, stats in event.stats.items() if not self._thinned or event.completed == self._measured else ():
            values = {"loss": stats.loss, "gradient_norm": stats.gradient_norm}
            self._record_peer(event.completed, peer, values)
        self.folder.record("rounds", {"round": event.completed}, event.row)

    def _add_measures(self, event: Measured) -> None:
        self.folder.record("rounds", {"round": event.completed}, event.measures.scalars)
        for peer, values in event.measures.peers.items():
            self._record_peer(event.completed, peer, values)
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


def thinned(config: RunConfig) -> str:
    """Why peers have rows of the measured rounds only, in words; empty if they have one of every round.

    The control alone-matched needs those of every round.
    """
    rows = config.peers.count * config.run.rounds
    if rows <= MOST_ROWS or Control.ALONE_MATCHED in config.evaluation.controls:
        return ""
    return (
        f"metrics/peers.parquet has the peers' losses of the rounds that are measured only (evaluation.every): of all "
        f"rounds they would be {rows:,} rows"
    )


def unequal(peers: PeersConfig) -> dict[int, dict[str, Any]]:
    """By peer the name of its group (`group`), and whether it lies to its students (`liar`), where any has or does."""
    found: dict[int, dict[str, Any]] = {}
    for name, members in peers.members.items():
        for peer in members:
            found[peer] = {"group": name}
    if peers.liars:
        for peer in range(peers.count):
            found.setdefault(peer, {})["liar"] = peer in peers.liars
    return found
