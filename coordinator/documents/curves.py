"""The curves of a run's document: of the whole group with the levels of controls, and of single peers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from coordinator.documents.network import NetworkPart
from coordinator.documents.nodes import PROBES, Nodes, accuracies_so_far
from coordinator.documents.readers.folder_reader import RunReader, stride_of
from coordinator.documents.readers.numbers import Kept, Number, listed, shortened
from coordinator.documents.readers.run_rows import BYTES, LOSS, NETWORK
from coordinator.measures import pooling
from coordinator.measures.declared import SCALARS, Shown, shown_in
from coordinator.measures.gains import Condition
from coordinator.measures.units import FRACTION
from coordinator.records.files.probe_curves import SUFFIX
from coordinator.reports.wording import CONDITIONS, probe_name

MIB = 2**20
TITLES = {measure.name: measure for measure in SCALARS}
OF_POOLING: tuple[tuple[str, str, str, str, float], ...] = (  # column, title, unit, panel, factor
    (pooling.HONEST_DROPPED, "honest messages dropped", "%", "pooling", 100.0),
    (pooling.LIES_DROPPED, "lies dropped", "%", "pooling", 100.0),
    (pooling.LIE_AUC, "AUC of lies by distance", "", "pooling", 1.0),
)
LEVELS = tuple(each for each in Condition if each is Condition.CALIBRATED or each.control_run is not None)


class Curves:
    """Of a run with many rounds every so many points are kept, and the last one once the run has ended."""

    def __init__(self, reader: RunReader, kept: Kept, nodes: Nodes, network: NetworkPart) -> None:
        self._reader, self._rows, self._kept, self._nodes = reader, reader.rows, kept, nodes
        self._network = network
        self._stride = stride_of(reader.total + 1, reader.limits.points)

    def of_all(self) -> list[dict[str, Any]]:
        """Loss, the measures that are shown as curves, probes taken over the rounds, bytes, what pools dropped."""
        found = [self._of_rounds(LOSS, "loss", "", "loss", self._loss_range)]
        for measure in shown_in(Shown.CURVE):
            is_share = measure.unit == FRACTION
            unit = f"% {measure.detail}".strip() if is_share else measure.detail or measure.unit.name
            factor = 100.0 if is_share else 1.0
            found.append(self._of_rounds(measure.name, measure.title, unit, "consensus", factor=factor))
        found += [self._of_probe(probe) for probe in PROBES if self._is_over_rounds(probe)]
        found.append(self._of_rounds(BYTES, "exchanged", "MiB", "exchanged", factor=1 / MIB))
        found += [
            self._of_rounds(column, title, unit, panel, factor=factor)
            for column, title, unit, panel, factor in OF_POOLING
        ]
        found += [self._of_rounds(*curve, "network") for curve in self._network.curves()]
        return [curve for curve in found if curve["x"]]

    def of_peers(self) -> list[dict[str, Any]]:
        """The loss of each peer, and the accuracy of probes that were taken over the rounds."""
        losses = self._rows.peers.get(LOSS, {})
        rounds = sorted(losses)
        last = self._nodes.last_of(rounds)
        every = stride_of(
            self._reader.total + 1, self._reader.limits.numbers_of_curves // max(self._reader.num_peers, 1)
        )
        shown = [number for number in rounds if number % every == 0 or number == last]
        found = [self._of_each("loss", "loss", "", LOSS, shown)] if shown else []
        for probe in PROBES:
            if self._is_over_rounds(probe):
                column = f"{probe}{SUFFIX}"
                frames = [frame for frame in self._nodes.frames if frame in self._rows.peers[column]]
                found.append(self._of_each(column, f"{probe_name(probe)} accuracy", "%", column, frames, 100.0))
        return found

    def _of_each(
        self, name: str, title: str, unit: str, column: str, rounds: list[int], factor: float = 1.0
    ) -> dict[str, Any]:
        values = [self._nodes.written(column, number, None, factor) for number in rounds]
        return {"name": name, "title": title, "unit": unit, "x": rounds, "y": values}

    def _of_rounds(
        self,
        column: str,
        title: str,
        unit: str,
        panel: str,
        extremes: Callable[[int], tuple[float, float] | None] | None = None,
        factor: float = 1.0,
    ) -> dict[str, Any]:
        """A curve of a column of the table of rounds. extremes: the lowest and the highest value of a round."""
        known = sorted(number for number, row in self._rows.rounds.items() if column in row)
        last = self._nodes.last_of(known)
        # what is taken in a few rounds only is shown in all of them, up to the limit
        sparse = column not in (LOSS, BYTES, *pooling.COLUMNS, *NETWORK)
        stride = stride_of(self._nodes.expected, self._reader.limits.points) if sparse else self._stride
        shown = [
            number
            for place, number in enumerate(known)
            if (place if sparse else number) % stride == 0 or number == last
        ]
        ends = [extremes(number) or (np.nan, np.nan) for number in shown] if extremes is not None else None
        return {
            "name": title if sparse else column,
            "title": title,
            "unit": unit,
            "low_is": 0,
            "panel": panel,
            "x": shown,
            "y": listed(self._rows.rounds[number][column] * factor for number in shown),
            "low": None if ends is None else listed(low for low, _ in ends),
            "high": None if ends is None else listed(high for _, high in ends),
            "levels": [],
        }

    def _loss_range(self, number: int) -> tuple[float, float] | None:
        return self._rows.loss_range.get(number)

    def _is_over_rounds(self, probe: str) -> bool:
        return len(self._rows.peers.get(f"{probe}{SUFFIX}", {})) > 1

    def _of_probe(self, probe: str) -> dict[str, Any]:
        """The students' mean accuracy in percent, with the lowest and the highest, and the levels of controls."""
        column = self._rows.peers[f"{probe}{SUFFIX}"]
        rounds = [frame for frame in self._nodes.frames if frame in column]
        rows = [100 * column[number][self._studied(number)] for number in rounds]
        mean, low, high = (
            [float(summary(row)) if np.isfinite(row).any() else np.nan for row in rows]
            for summary in (np.nanmean, np.nanmin, np.nanmax)
        )
        return {
            "name": f"{probe}{SUFFIX}",
            "title": f"{probe_name(probe, marked=True)} accuracy",
            "unit": "%",
            "low_is": None,
            "panel": probe,
            "x": rounds,
            "y": listed(mean),
            "low": listed(low),
            "high": listed(high),
            "levels": self._levels(probe),
        }

    def _studied(self, completed: int) -> list[int]:
        """The honest students that had studied by then; all honest peers, where nobody had."""
        alive = self._nodes.counted
        return [peer for peer in alive if self._rows.began[peer] <= completed] or alive

    def _levels(self, probe: str) -> list[dict[str, Any]]:
        found = []
        for condition in LEVELS:
            level = self._level(probe, condition)
            if level is not None:
                found.append({"words": CONDITIONS[condition], "value": level})
        return found

    def _level(self, probe: str, condition: Condition) -> Number:
        """The students' mean accuracy in a condition, in percent; None if it is not known."""
        row = _inner(_inner(self._reader.results, "probes"), probe)
        if isinstance(row.get(condition), int | float):
            return shortened(100 * row[condition])
        known = accuracies_so_far(self._reader, condition, probe)
        of_students = known[self._nodes.students] if known is not None else np.array([])
        return shortened(100 * float(np.nanmean(of_students))) if np.isfinite(of_students).any() else None


def _inner(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
