"""The document of a run: all that a page shows of it, from the run's folder, while it goes on and after it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.documents.curves import Curves
from coordinator.documents.headline import tables_of, verdicts_of
from coordinator.documents.links import Links
from coordinator.documents.network import NetworkPart
from coordinator.documents.nodes import Nodes
from coordinator.documents.readers.folder_reader import Limits, RunReader
from coordinator.documents.readers.numbers import Kept
from coordinator.documents.readers.status_files import RUNNING, tolerantly
from coordinator.records.events import Stage
from coordinator.records.stage_clock import duration
from coordinator.reports.endings import STAGES
from coordinator.reports.formatting import in_points, size
from coordinator.reports.sentences import flags_in_words
from coordinator.reports.verdicts import VerdictLine
from peers.base.brought import called
from topologies.schedule import Schedule

FORMAT = 1
INLINED = Limits()  # some 4 MB, in a page that is sent as a file
LIVE = Limits(numbers_of_links=400_000, numbers_of_peers=400_000, numbers_of_curves=200_000, points=2_000)
Document = dict[str, Any]


def run_document(run: Path, ended: bool = True, schedule: Schedule | None = None) -> Document:
    """The document of a run from its folder, once.

    ended: take it as ended even if its process is still there. schedule: the run's, if the caller has it.
    """
    return RunDocument(run, INLINED, ended, schedule).read()


class RunDocument:
    """Makes the document of a run again and again; a change in the folder costs only what is new.

    Rows that have not changed are the same objects in the next document.
    """

    def __init__(self, run: Path, limits: Limits = LIVE, ended: bool = False, schedule: Schedule | None = None) -> None:
        self.reader = RunReader(run, limits, ended, schedule)
        self._kept = Kept()
        self._document: Document | None = None

    def read(self) -> Document:
        """The document as of now: the same object as before if nothing has changed."""
        if self.reader.read() or self._document is None:
            self._document = tolerantly(self._made, self.reader.status_files)
        return self._document

    def _made(self) -> Document:
        reader = self.reader
        reader.judge()
        nodes = Nodes(reader, self._kept)
        network = NetworkPart(reader, self._kept)
        curves = Curves(reader, self._kept, nodes, network)
        lines = verdicts_of(reader.results)
        return {
            "format": FORMAT,
            "kind": "run",
            "name": reader.path.name,
            "title": reader.config.run.name if reader.config is not None else reader.path.name,
            "status": reader.status,
            "message": reader.message,
            **_stage(reader),
            "completed": reader.completed,
            "total": reader.total,
            "clock": {"name": "round", "unit": "", "from": 0, "to": max(reader.total, reader.completed)},
            **({"virtual": network.time(nodes.last_of(sorted(reader.rows.rounds)))} if network.is_there else {}),
            "peers": nodes.peers(network.absences()),
            "frames": nodes.frames,
            "nodes": nodes.colourings(),
            "links": Links(reader, self._kept, nodes.left).part(nodes.frames, network),
            "curves": curves.of_all(),
            "peer_curves": curves.of_peers(),
            "gains": [_gain(line) for line in lines if line.mean is not None],
            "headline": [line.text for line in lines],
            "tones": [str(line.tone) for line in lines],  # of the headline, line by line
            "tables": tables_of(reader),
            "facts": _facts(reader, network),
            "flags": _flags(reader),
        }


def _gain(line: VerdictLine) -> dict[str, Any]:
    """A verdict on a gain, in points."""
    words = {"probe": line.probe, "control": line.control, "words": line.words, "tone": str(line.tone)}
    numbers = {"mean": line.mean, "low": line.low, "high": line.high}
    return words | {
        name: None if value is None else in_points(value) for name, value in numbers.items()
    }  # as in `headline`


def _stage(reader: RunReader) -> dict[str, str]:
    """The stage that a running run is in, by name and in words; empty for one that has ended."""
    name = str(reader.progress.get("stage", "")) if reader.status == RUNNING else ""
    stage = Stage.__members__.get(name.upper().replace("-", "_"))
    words = STAGES[stage].removeprefix("the ") if stage is not None else ""
    counted = reader.progress.get("probes_done") if stage in (Stage.CONTROLS, Stage.FINAL_PROBES) else None
    if isinstance(counted, list) and len(counted) == 2:
        words += f", {counted[0]} of {counted[1]} probes"
    return {"stage": name, "stage_words": words}


def _facts(reader: RunReader, network: NetworkPart) -> list[list[str]]:
    """What was asked and what it cost, as pairs of a name and a text."""
    config, progress, summary = reader.config, reader.progress, reader.results
    facts = []
    if config is not None:
        messages = reader.graph.mean_messages
        facts.append(
            [
                "topology",
                f"{called(config.topology)} of {config.peers.count}"
                + (f", {_count(messages)} messages a round" if messages is not None else ""),
            ]
        )
        facts.append(["data", f"{called(config.data)}, batches of {config.data.batch_size}"])
        facts.append(["seed", str(config.run.seed)])
    num_bytes = progress.get("bytes", summary.get("bytes_exchanged"))
    if isinstance(num_bytes, int | float):
        facts.append(["exchanged", size(num_bytes)])
    facts += network.facts() if network.is_there else []
    facts += _times(progress, summary)
    facts += [["controls", text] for text in [_controls(progress, reader.total)] if text and not summary]
    return facts


def _times(progress: Mapping[str, Any], summary: Mapping[str, Any]) -> list[list[str]]:
    """How long the run took, of all processes that had a part in it once it has ended; and when the last one began."""
    started, at, stages = progress.get("started"), progress.get("at"), summary.get("seconds")
    if not isinstance(started, int | float) or not isinstance(at, int | float):
        return []
    known = [each for each in stages.values() if isinstance(each, int | float)] if isinstance(stages, dict) else []
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
    return [["time", duration(sum(known) or at - started)], ["started", began]]


def _controls(progress: Mapping[str, Any], total: int) -> str:
    """How far the control runs of a running run have come."""
    controls = progress.get("controls")
    parts = [f"{name} {done}/{total}" for name, done in controls.items()] if isinstance(controls, dict) else []
    return ", ".join(parts)


def _flags(reader: RunReader) -> list[str]:
    """The flags of the run, the faults that it survived, and what in its folder cannot be read, in words."""
    found = flags_in_words(dict(reader.results))
    faults = reader.progress.get("faults")
    found += [f"survived: {fault.get('what', '')}" for fault in faults[-3:]] if isinstance(faults, list) else []
    return found + reader.notes


def _count(mean: float) -> str:
    """A mean number of things: whole if it is large."""
    return f"{mean:,.0f}" if mean >= 1000 else f"{mean:.3g}"
