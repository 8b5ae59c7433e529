"""Where a run's numbers go as they come: tables, MLflow, the screen, and the running totals of the summary."""

from dataclasses import dataclass, field
from typing import Any

from coordinator.measures import Measures, Pairing, measure
from coordinator.progress import Monitor
from coordinator.rounds import RoundRecord
from coordinator.store import RunFolder
from coordinator.tracking import Tracker
from peers.measuring import Observation, ProbeOutcome
from topologies.schedule import Round


@dataclass
class Totals:
    """What the summary needs beside the tables and the probes."""

    completed: int = 0
    bytes_exchanged: int = 0
    seconds: float = 0.0
    peer_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    last_checkpoint: int = 0
    first: Measures | None = None
    last: Measures | None = None
    studied: set[int] = field(default_factory=set)  # peers that took at least one step
    failed_alone: set[int] = field(default_factory=set)
    dropped: dict[int, tuple[int, str]] = field(default_factory=dict)  # peer -> round, reason
    digests: list[bytes] = field(default_factory=list)


class Recorder:
    """Takes the records of a run in order."""

    def __init__(self, folder: RunFolder, tracker: Tracker, monitor: Monitor, temperature: float) -> None:
        self.folder = folder
        self.tracker = tracker
        self.monitor = monitor
        self.temperature = temperature
        self.totals = Totals()
        self._last_seen: tuple[int, Pairing] | None = None  # after which round, and by what peers compare

    def start(self, observations: list[Observation], plan: Round) -> None:
        """The state before the first round, measured along that round's edges."""
        self._close_round(0, self._measures(0, observations, plan))

    def round(self, record: RoundRecord) -> None:
        totals, completed = self.totals, record.completed
        totals.completed = completed
        totals.bytes_exchanged += record.num_bytes
        losses = {peer: each.loss for peer, each in record.stats.items() if each.loss is not None}
        totals.studied |= losses.keys()
        row: dict[str, Any] = {
            "loss": sum(losses.values()) / len(losses) if losses else None,
            "students": len(losses),
            "bytes": record.num_bytes,
            "bytes_so_far": totals.bytes_exchanged,
        }
        for peer, stats in record.stats.items():
            values = {"loss": stats.loss, "gradient_norm": stats.gradient_norm}
            self.folder.record("peers", {"round": completed, "peer": peer}, values)
        if record.observations:
            row |= self._measures(completed, record.observations, record.plan)
        self._close_round(completed, row)
        if record.checkpointed:
            totals.last_checkpoint = completed
            self.write_tables()

    def write_tables(self) -> None:
        """Write all tables; every two peers are compared only now, and only as they were last seen."""
        if self._last_seen:
            completed, pairing = self._last_seen
            pairs = pairing.pairs().items()
            rows = [{"round": completed, "peer": i, "other": j, **values} for (i, j), values in pairs]
            self.folder.replace("pairs", rows)
        self.folder.write_tables()

    def probes(self, completed: int, outcomes: list[ProbeOutcome]) -> None:
        """Accuracy of every probe on every peer after a round."""
        self.totals.evaluation_seconds += sum(each.seconds for each in outcomes)
        names = [f"{name}_accuracy" for name in outcomes[0].correct]
        accuracies = [[float(correct.mean()) for correct in each.correct.values()] for each in outcomes]
        for peer, values in enumerate(accuracies):
            self.folder.record("peers", {"round": completed, "peer": peer}, dict(zip(names, values, strict=True)))
        means = [sum(column) / len(column) for column in zip(*accuracies, strict=True)]
        self.tracker.log_metrics(dict(zip(names, means, strict=True)), completed)

    def _measures(self, completed: int, observations: list[Observation], plan: Round) -> dict[str, float]:
        measures, pairing = measure(observations, plan, self.temperature)
        self._last_seen = (completed, pairing)
        totals = self.totals
        totals.evaluation_seconds += sum(each.seconds for each in observations)
        totals.first = totals.first or measures
        totals.last = measures
        for peer, values in measures.peers.items():
            self.folder.record("peers", {"round": completed, "peer": peer}, values)
        for (student, teacher), values in measures.edges.items():
            self.folder.record("edges", {"round": completed, "student": student, "teacher": teacher}, values)
        return measures.scalars

    def _close_round(self, completed: int, row: dict[str, Any]) -> None:
        self.folder.record("rounds", {"round": completed}, row)
        self.tracker.log_metrics(row, completed)
        self.monitor.round({"round": completed, **row})
