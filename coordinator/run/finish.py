"""How a run ends: its numbers are written first, then what may take a while or fail."""

from pathlib import Path

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.plan import Plan, build_schedule
from coordinator.experiment.reading import from_json
from coordinator.experiment.redaction import first_line, without_secrets
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.recorder import Recorder
from coordinator.records.result import Result, Status
from coordinator.records.run_folder import to_json, way_on
from coordinator.records.summary import final_metrics, summarise, verdict_line
from coordinator.reports import run_page
from coordinator.reports.formatting import size
from coordinator.reports.sentences import in_words
from topologies.schedule import Schedule

MLFLOW_STATUS: dict[Status, str] = {"finished": "FINISHED", "interrupted": "KILLED", "stopped": "FAILED"}


def conclude(plan: Plan, recorder: Recorder, probes: ProbeTable, status: Status, message: str) -> Result:
    """Write tables and summary, then figures and page, and close MLflow.

    Where the latter fail or are interrupted, the folder says so, and `resume` makes them from what is written.
    Raises: ConfigError, if the disk does not take them.
    """
    folder = recorder.folder
    recorder.made_good()
    summary = summarise(plan, recorder.totals, probes, status, message)
    try:
        folder.note_unreported()
        recorder.write_tables()
        folder.write_text("summary.json", to_json(summary))
    except OSError as error:
        recorder.tracker.close(MLFLOW_STATUS[status])
        raise _no_room(folder.path, error) from None
    return _report(plan.schedule, recorder, Result(status, summary, folder.path, message))


def complete(config: RunConfig, recorder: Recorder) -> Result:
    """Make what is missing of a finished run's figures, page and MLflow run, from its tables and its summary.

    Raises: ConfigError, if the disk does not take them.
    """
    folder = recorder.folder
    summary = from_json((folder.path / "summary.json").read_bytes())
    return _report(build_schedule(config), recorder, Result("finished", summary, folder.path))


def _report(schedule: Schedule, recorder: Recorder, result: Result) -> Result:
    tracker, folder, summary = recorder.tracker, recorder.folder, result.summary
    recorder.monitor.phase("drawing figures, closing MLflow" if tracker.enabled else "drawing figures")
    try:
        try:
            from coordinator.reports import figures  # here: matplotlib would hold up the start

            figures.save(schedule, folder, summary)
            config = without_secrets((folder.path / "config.toml").read_text(encoding="utf-8"))
            folder.write_text("report.html", run_page.render(summary, in_words(summary), config, folder.path))
            tracker.log_metrics(final_metrics(summary), summary["rounds"])
            tracker.log_tags({"status": result.status, "verdict": verdict_line(summary)})
            tracker.log_folder(folder.path)
        finally:
            tracker.close(MLFLOW_STATUS[result.status])
        folder.note_reported()
    except KeyboardInterrupt:
        message = f"the numbers are written; figures, page and MLflow: peer-consensus resume {folder.path}"
        return Result("interrupted", summary, folder.path, "; ".join(filter(None, (result.message, message))))
    except OSError as error:
        raise _no_room(folder.path, error) from None
    return result


def _no_room(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--output: cannot write to '{folder}' ({error.strerror or error}): make room, then {way_on(folder)}"
    )


def out_of_memory(plan: Plan, error: Exception) -> str:
    """What to say, and to lower, when a GPU's memory was not enough."""
    peers = plan.config.hosting.peers_per_host if plan.num_hosts else plan.config.peers.count
    most = max(group.peer_bytes for group in plan.groups)
    why = first_line(error, "out of memory")[:160].rstrip(".")
    return (
        f"hosting.device: the GPU's memory does not hold {peers} peers, estimated at {size(peers * most)} ({why}): "
        "lower data.batch_size or hosting.peers_per_host, raise hosting.gpus_per_peer, or set hosting.recompute"
    )
