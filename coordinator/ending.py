"""How a run ends: its numbers are written first, then what may take a while or fail."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coordinator import page
from coordinator.config import ConfigError
from coordinator.learned import ProbeTable
from coordinator.plan import Plan
from coordinator.recorder import Recorder
from coordinator.redact import without_secrets
from coordinator.report import in_words, size
from coordinator.store import to_json
from coordinator.summary import final_metrics, summarise, verdict_line

Status = Literal["finished", "interrupted", "stopped"]
MLFLOW_STATUS: dict[Status, str] = {"finished": "FINISHED", "interrupted": "KILLED", "stopped": "FAILED"}


@dataclass(frozen=True)
class Result:
    """What a run left: `summary` is what `summary.json` holds, `message` says why it ended early."""

    status: Status
    summary: dict[str, Any]
    folder: Path
    message: str = ""


def conclude(plan: Plan, recorder: Recorder, probes: ProbeTable, status: Status, message: str) -> Result:
    """Write tables, summary, figures and page, close MLflow. Raises: ConfigError, if the disk does not take them."""
    tracker, folder = recorder.tracker, recorder.folder
    recorder.made_good()
    summary = summarise(plan, recorder.totals, probes, status, message)
    try:
        recorder.write_tables()
        folder.write_text("summary.json", to_json(summary))
        recorder.monitor.phase("drawing figures, closing MLflow")
        from coordinator import figures  # here: matplotlib would hold up the start

        figures.save(plan.schedule, folder, summary)
        config = (folder.path / "config.toml").read_text(encoding="utf-8")
        folder.write_text("report.html", page.render(summary, in_words(summary), without_secrets(config), folder.path))
        tracker.log_metrics(final_metrics(summary), recorder.totals.completed)
        tracker.log_tags({"status": status, "verdict": verdict_line(summary)})
        tracker.log_folder(folder.path)
    except KeyboardInterrupt:
        recorder.monitor.phase("interrupted: figures or MLflow's files may be missing, the numbers are written")
    except OSError as error:
        raise ConfigError(
            f"--output: cannot write to '{folder.path}' ({error.strerror or error}): make room, then go on with: "
            f"peer-consensus resume {folder.path}"
        ) from None
    finally:
        try:
            tracker.close(MLFLOW_STATUS[status])
        except KeyboardInterrupt:  # it has told what was not sent
            recorder.monitor.phase("interrupted: no more waiting for MLflow, the numbers are written")
    return Result(status, summary, folder.path, message)


def out_of_memory(plan: Plan, error: Exception) -> str:
    """What to say, and to lower, when a GPU's memory was not enough."""
    peers = plan.config.hosting.peers_per_host if plan.num_hosts else plan.config.peers.count
    most = max(group.peer_bytes for group in plan.groups)
    why = (str(error).strip().splitlines() or ["out of memory"])[0][:160].rstrip(".")
    return (
        f"hosting.device: the GPU's memory does not hold {peers} peers, estimated at {size(peers * most)} ({why}): "
        "lower data.batch_size or hosting.peers_per_host, raise hosting.gpus_per_peer, or set hosting.recompute"
    )
