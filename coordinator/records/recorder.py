"""Where a run's numbers go as they come: tables, MLflow, the screen, and the running totals of the summary."""

import time
from dataclasses import dataclass, field
from typing import Any

from coordinator.measures.measure import Measures, Pairing, measure
from coordinator.records.mlflow import Tracker
from coordinator.records.run_folder import RunFolder
from coordinator.records.terminal import Monitor
from coordinator.scheduling.synchronous import RoundRecord
from peers.probing.measuring import Observation, ProbeOutcome
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
    measured: int = 0  # after which round `last` is
    studied: set[int] = field(default_factory=set)  # peers that took at least one step
    failed_alone: set[int] = field(default_factory=set)
    dropped: dict[int, tuple[int, str]] = field(default_factory=dict)  # peer -> round, reason
    digests: list[bytes] = field(default_factory=list)
    probed: set[int] = field(default_factory=set)  # rounds after which peers were probed
    faults: list[dict[str, Any]] = field(default_factory=list)  # what happened, after which round, seconds it cost


class Recorder:
    """Takes the records of a run in order; of rounds that are run again it has the numbers already."""

    def __init__(
        self,
        folder: RunFolder,
        tracker: Tracker,
        monitor: Monitor,
        temperature: float,
        totals: Totals | None = None,
    ) -> None:
        self.folder = folder
        self.tracker = tracker
        self.monitor = monitor
        self.temperature = temperature
        self.totals = totals or Totals()
        self._lost_since: float | None = None  # when the last host was lost, until its rounds have been made good
        self._last_seen: tuple[int, Pairing] | None = None  # after which round, and by what peers compare

    def resumed(self, notes: list[str]) -> None:
        """The run goes on from where its totals are; notes: what was found damaged."""
        self.tracker.log_tags({"resumed_from_round": str(self.totals.completed)})
        self.log_again()
        for note in notes:
            self.fault(note, lost=False)

    def log_again(self) -> None:
        """Give MLflow what the tables have: whoever is killed has not sent the latest; it skips what it has."""
        for row in self.folder.rows("rounds"):
            self.tracker.log_metrics({name: value for name, value in row.items() if name != "round"}, row["round"])
        accuracies: dict[int, dict[str, list[float]]] = {}  # of every peer, by round and probe
        for row in self.folder.rows("peers"):
            for name, value in row.items():
                if name.endswith("_accuracy") and value is not None:
                    accuracies.setdefault(row["round"], {}).setdefault(name, []).append(value)
        for completed, probes in accuracies.items():
            self.tracker.log_metrics({name: sum(each) / len(each) for name, each in probes.items()}, completed)

    def start(self, observations: list[Observation], plan: Round) -> None:
        """The state before the first round, measured along that round's edges."""
        self._close_round(0, self._measures(0, observations, plan))

    def round(self, record: RoundRecord) -> None:
        totals, completed = self.totals, record.completed
        if completed <= totals.completed:
            self.monitor.round({"round": completed})
            return
        self.made_good()
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

    def fault(self, what: str, lost: bool = True) -> None:
        """Note what went wrong, once; where it has `lost` rounds, the time counts until they have been made good."""
        faults = self.totals.faults
        if not lost and any(each["what"] == what for each in faults):
            return
        faults.append({"round": self.totals.completed, "what": what, "seconds": None if lost else 0.0})
        if lost and self._lost_since is None:
            self._lost_since = time.perf_counter()
        self.monitor.phase(what)
        self.tracker.log_tags({f"fault.{len(faults)}": what})
        self.tracker.log_metrics({"faults": len(faults)}, self.totals.completed)

    def made_good(self) -> None:
        """What was lost is there again."""
        if self._lost_since is not None:
            seconds, self._lost_since = time.perf_counter() - self._lost_since, None
            for each in self.totals.faults:
                each["seconds"] = seconds if each["seconds"] is None else each["seconds"]

    def save_rows(self) -> None:
        """Write what the tables have got since the last time."""
        self._compare()
        self.folder.save_rows(self.totals.completed)

    def write_tables(self) -> None:
        """Write all tables."""
        self._compare()
        self.folder.write_tables()

    def _compare(self) -> None:
        """Every two peers are compared only when tables are written, and only as they were last seen."""
        if self._last_seen:
            completed, pairing = self._last_seen
            pairs = pairing.pairs().items()
            rows = [{"round": completed, "peer": i, "other": j, **values} for (i, j), values in pairs]
            self.folder.replace("pairs", rows)

    def probes(self, completed: int, outcomes: list[ProbeOutcome]) -> None:
        """Accuracy of every probe on every peer after a round."""
        if completed in self.totals.probed:
            return
        self.totals.probed.add(completed)
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
        totals.last, totals.measured = measures, completed
        for peer, values in measures.peers.items():
            self.folder.record("peers", {"round": completed, "peer": peer}, values)
        for (teacher, student), values in measures.edges.items():
            self.folder.record("edges", {"round": completed, "student": student, "teacher": teacher}, values)
        return measures.scalars

    def _close_round(self, completed: int, row: dict[str, Any]) -> None:
        self.folder.record("rounds", {"round": completed}, row)
        self.tracker.log_metrics(row, completed)
        self.monitor.round({"round": completed, **row})
