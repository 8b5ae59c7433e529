"""Reads a run's folder while the run goes on and after it; what was read stays, so that a change costs the new part."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from coordinator.documents.readers.graph import Graph, graph_of
from coordinator.documents.readers.run_rows import COLUMNS, TABLES, RunRows, Sample
from coordinator.documents.readers.status_files import PROGRESS, SUMMARY, ConfigFile, JsonFile, results_of, status_of
from coordinator.documents.readers.table_files import TableFiles
from coordinator.experiment.config import RunConfig
from topologies.schedule import Schedule


@dataclass(frozen=True)
class Limits:
    """How large a document may become: of everything that has a value for each peer or link, rounds are left out.

    links: in the list. numbers_of_links, numbers_of_peers: of all frames together. numbers_of_curves: of the curves of
    single peers; points: of a curve of the group.
    """

    links: int = 20_000
    numbers_of_links: int = 160_000
    numbers_of_peers: int = 160_000
    numbers_of_curves: int = 80_000
    points: int = 1_000


class RunReader:
    """What is known of a run from its folder alone. It writes nothing, and raises nothing for what is damaged.

    ended: take the run as ended, whatever its progress says: for the page that the run itself writes at its end.
    schedule: the run's, where it is at hand; else it is built from the config, as far as that tells it.
    """

    def __init__(
        self, run: Path, limits: Limits | None = None, ended: bool = False, schedule: Schedule | None = None
    ) -> None:
        self.path, self.limits, self._ended, self._schedule = run, limits or Limits(), ended, schedule
        self._config, self._progress, self._summary = ConfigFile(run), JsonFile(run / PROGRESS), JsonFile(run / SUMMARY)
        self._linked = 0  # rounds whose links are in the sample
        self._start_over()
        self._known: tuple[Any, ...] = ()
        self.status, self.message = "", ""

    def read(self) -> bool:
        """Read what is new; returns whether there was anything. If nothing is, only the files' dates are looked at."""
        found = [self._config.read(), self._progress.read(), self._summary.read()]
        known = (self.config, self.num_peers, self.total)
        if known != self._known or self._files.is_afresh():
            self._known = known
            self._start_over()
            found.append(True)
        found.append(self._files.read(TABLES, self.rows.take, COLUMNS))
        self._take_unmeasured_links()
        before = self.status, self.message
        self.judge()
        return any(found) or before != (self.status, self.message)

    def judge(self) -> None:
        """Set status and message by the files as they were read."""
        self.status, self.message = status_of({} if self._ended else self.progress, self.summary)

    @property
    def status_files(self) -> list[JsonFile]:
        return [self._progress, self._summary]

    @property
    def config(self) -> RunConfig | None:
        return self._config.config

    @property
    def progress(self) -> dict[str, Any]:
        return self._progress.content

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`; of an earlier end, if the run goes on."""
        return self._summary.content

    @property
    def results(self) -> dict[str, Any]:
        """The summary of the run as it is now; {} if it goes on or was lost before there was any."""
        return results_of(self.status, self.summary)

    @property
    def num_peers(self) -> int:
        """0 if neither config nor summary can be read."""
        if self.config is not None:
            return self.config.peers.count
        facts = self.summary.get("topology")
        count = facts.get("num_peers") if isinstance(facts, dict) else None
        return count if isinstance(count, int) and 0 < count <= 2**16 else 0

    @property
    def total(self) -> int:
        """The rounds that the run will have, or had."""
        for value in (self.progress.get("total"), self.config and self.config.run.rounds, self.summary.get("rounds")):
            if isinstance(value, int) and value > 0:
                return value
        return 0

    @property
    def completed(self) -> int:
        first, second = self.summary if self.results else self.progress, self.progress or self.summary
        found = first.get("rounds", second.get("completed", second.get("rounds", 0)))
        return found if isinstance(found, int) else 0

    @property
    def notes(self) -> list[str]:
        """What cannot be read, in words."""
        tables = [f"metrics/{name} cannot be read ({why})" for name, why in sorted(self._files.damaged.items())]
        return [text for text in (self._config.damaged, self._progress.damaged, self._summary.damaged) if text] + tables

    @cached_property
    def graph(self) -> Graph:
        return graph_of(self.config, self.num_peers, self._schedule)

    @cached_property
    def rows(self) -> RunRows:
        stride = stride_of(self.total + 1, self.limits.numbers_of_curves // max(self.num_peers, 1))
        sample = Sample(self.limits.links)
        sample.add(self.graph.base)
        liars = self.config.peers.liars if self.config is not None else ()
        return RunRows(self.num_peers, stride, self.graph.canonical, sample, liars)

    def _take_unmeasured_links(self) -> None:
        """Add the links of rounds that are drawn anew and were not measured: these carry messages, too."""
        completed = max(self.rows.rounds, default=0)
        if completed > self._linked and not self.graph.known and self.graph.counts_messages(self.total):
            self.rows.sample.add(self.graph.links(self._linked, completed))
            self._linked = completed

    def _start_over(self) -> None:
        """Forget the rows: another config, number of rounds, or final table is there."""
        self._files = TableFiles(self.path)
        self._linked = 0
        for name in ("graph", "rows"):
            self.__dict__.pop(name, None)


def stride_of(expected: int, most: int) -> int:
    """Of `expected` entries every so many are kept, so that there are at most about `most`: known before they come."""
    return max(1, -(-expected // max(most, 2)))
