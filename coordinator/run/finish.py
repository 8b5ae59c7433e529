"""The end of a run: write its numbers first, then the figures, the page and MLflow, which may be slow or fail."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.documents.document import run_document
from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.reading import from_json
from coordinator.experiment.redaction import without_secrets
from coordinator.measures import pooling
from coordinator.pages import component, run_page
from coordinator.planning.brought import NOT_ALONE
from coordinator.planning.plan import Plan, prepare
from coordinator.planning.schedules import build_schedule
from coordinator.records.events import Note, Stage, StageEntered
from coordinator.records.files.holdings_files import write_holdings
from coordinator.records.files.network_files import write_network
from coordinator.records.files.probe_curves import arrivals
from coordinator.records.files.result import Ending, Result, Status
from coordinator.records.files.run_folder import RunFolder, to_json, way_on
from coordinator.records.files.summary import final_tags, summarise
from coordinator.records.files.tables import Tables
from coordinator.records.recorder import Recorder
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_names import final_metrics
from coordinator.reports.markdown import NOTE, run_note
from coordinator.reports.sentences import in_words
from coordinator.reports.unequal import liar_tags
from coordinator.run.results import result_of
from peers.data.dataset_check import digest_of
from topologies.schedule import Schedule

OfPlan = Callable[[], Plan | None]  # which may have to be made again
MLFLOW_STATUS = {Status.FINISHED: "FINISHED", Status.INTERRUPTED: "KILLED", Status.STOPPED: "FAILED"}


@dataclass(frozen=True)
class Finish:
    """Writes the results of a run to its folder and to MLflow."""

    recorder: Recorder
    tables: Tables
    tracker: Tracker

    @property
    def folder(self) -> RunFolder:
        return self.tables.folder

    def conclude(self, plan: Plan, ending: Ending) -> Result:
        """Write tables and summary, then figures and page, and close MLflow.

        If figures, page or MLflow fail or are interrupted, the folder is marked as unreported, and `resume` produces
        them from the tables and the summary. Raises: ConfigError, if writing to disk fails.
        """
        recorder, folder = self.recorder, self.folder
        recorder.recovered()
        summary = summarise(plan, recorder.state, recorder.probes, ending, recorder.times)
        try:
            folder.note_unreported()
            self.tables.write()
            summary |= write_holdings(folder.path, plan, recorder.probes, recorder.state.students)
            summary |= pooling_part(folder)
            note_arrivals(folder, summary)
            summary |= network_part(folder.path, plan, recorder.state.completed)
            folder.write_text("summary.json", to_json(summary))
        except OSError as error:
            self.tracker.close(MLFLOW_STATUS[ending.status])
            raise _no_room(folder.path, error) from None
        result = result_of(plan.config, folder.path, summary, ending)
        return self._reported(plan.config, plan.schedule, result, lambda: plan)

    def complete(self, config: RunConfig) -> Result:
        """Produce the missing figures, page and MLflow run of a finished run from its tables and its summary.

        The figure `views` needs the data, which are loaded again; a note says so if they are not there any more.
        Raises: ConfigError, if writing to disk fails.
        """
        summary = from_json((self.folder.path / "summary.json").read_bytes())
        ending = Ending(Status.FINISHED, summary.get("message", ""))
        result = result_of(config, self.folder.path, summary, ending)
        return self._reported(config, build_schedule(config), result, lambda: self._planned_again(config, summary))

    def _planned_again(self, config: RunConfig, summary: Mapping[str, Any]) -> Plan | None:
        """The plan of a finished run, with its data; None, with a note, if these are not to be had, or not needed."""
        if not config.peers.has_views:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the run has told of them
                plan = prepare(config)
            if digest_of(plan.dataset).hex() == summary.get("data", {}).get("sha256"):
                return plan
            why = "the data are others than those of the run"
        except ConfigError as error:
            why = str(error).splitlines()[0]
        self.recorder.publish(Note(f"the figure views, of what peers see of the images, is not drawn: {why}"))
        return None

    def _reported(self, config: RunConfig, schedule: Schedule, result: Result, plan: OfPlan) -> Result:
        self.recorder.publish(StageEntered(Stage.REPORT, config))
        return self._report(schedule, result, plan)

    def _report(self, schedule: Schedule, result: Result, plan: OfPlan) -> Result:
        tracker, folder, summary = self.tracker, self.folder, result.summary
        try:
            try:
                from coordinator.figures import run as figures  # imported here because matplotlib would delay the start

                figures.save(schedule, folder, summary, plan())
                config = without_secrets((folder.path / "config.toml").read_text(encoding="utf-8"))
                view = component.inlined(run_document(folder.path, schedule=schedule))
                folder.write_text("report.html", run_page.render(summary, in_words(summary), config, folder.path, view))
                tracker.log_final(final_metrics(summary))
                note = run_note(summary, repeatable=not config.startswith(NOT_ALONE))
                tracker.log_tags(final_tags(summary) | liar_tags(summary) | {NOTE: note})
                tracker.log_folder(folder.path)
            finally:
                tracker.close(MLFLOW_STATUS[result.status])
            folder.note_reported()
        except KeyboardInterrupt:
            message = f"the numbers are written; figures, page and MLflow: peer-consensus resume {folder.path}"
            message = "; ".join(filter(None, (result.message, message)))
            return replace(result, status=Status.INTERRUPTED, message=message)
        except OSError as error:
            raise _no_room(folder.path, error) from None
        return result


def pooling_part(folder: RunFolder) -> dict[str, Any]:
    """What students made of messages; the part `pooling` of a summary, or nothing."""
    found = pooling.of_run(folder.rows("rounds"))
    return {"pooling": found} if found else {}


def note_arrivals(folder: RunFolder, summary: dict[str, Any]) -> None:
    """Add to each distance of a summary's groups when what its peers gained has arrived, if probes say so."""
    distances = [of for group in summary["groups"].values() for of in group["hops"].values()]
    rows = folder.rows("peers") if distances else []
    for of in distances:
        found = arrivals(rows, of)
        of |= {"arrival": found} if found else {}


def network_part(folder: Path, plan: Plan, completed: int) -> dict[str, Any]:
    """Write what a run's simulated network did in these rounds; the part `network` of its summary, or nothing."""
    network, trace, world = plan.config.network, plan.trace, plan.world
    if network is None or trace is None or world is None:
        return {}
    return {"network": write_network(folder, trace, plan.schedule, network, world, completed)}


def _no_room(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--output: cannot write to '{folder}' ({error.strerror or error}): make room, then {way_on(folder)}"
    )
