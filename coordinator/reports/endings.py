"""Messages for a run that ended early: the reason, how far it came, and how to continue it."""

from pathlib import Path

from coordinator.experiment.redaction import first_line
from coordinator.planning.plan import Plan
from coordinator.records.events import Stage
from coordinator.records.files.run_folder import way_on
from coordinator.records.run_state import RunState
from coordinator.reports.formatting import size
from coordinator.scheduling.dropouts import Stop, StopReason

STAGES = {
    Stage.LOADING: "the loading of data",
    Stage.START: "the start",
    Stage.CONTROLS: "the controls",
    Stage.ROUNDS: "the rounds",
    Stage.FINAL_PROBES: "the final probes",
    Stage.CONTROL_RUNS: "the control runs",
    Stage.REPORT: "the report",
}


def where(stage: Stage, state: RunState, num_rounds: int) -> str:
    """How far the run has come, as a phrase."""
    return f"in {STAGES[stage]}, with round {state.completed} of {num_rounds} completed"


def last_checkpoint(state: RunState, every: int) -> str:
    """Which checkpoint is the last one, as a phrase; every: the config's `checkpoint.every`."""
    if state.last_checkpoint:
        return f"the last good checkpoint is of round {state.last_checkpoint}"
    return "there is no checkpoint yet" if every else "there is no checkpoint (checkpoint.every = 0)"


def resumed_by(run: Path, every: int) -> str:
    """How to resume the run in a folder; empty without checkpoints, as in an ablation, where it would start again."""
    return way_on(run) if every else ""


def ended_early(state: RunState, num_rounds: int) -> str:
    """Why and where a finished run ended before its last round; empty if it did not. num_rounds: those planned."""
    if state.ended is None:
        return ""
    by = f"run.stop: {state.ended.rule}"
    if state.ended.by == "observer":
        by = f"an observer ended it: {state.ended.rule}"
    value = f", at {state.ended.value:.4g}" if state.ended.value is not None else ""
    return f"after round {state.ended.completed} of {num_rounds} ({by}{value})"


def stopped(stop: Stop, state: RunState, every: int) -> str:
    """Why the rounds ended before the last one."""
    if stop.reason is StopReason.NO_PEER_LEFT:
        return "every peer has dropped out"
    advice = "lower peers.optimizer.lr, check the temperatures, or set run.on_nonfinite = 'drop-peer'"
    return f"{stop.dropout}; {last_checkpoint(state, every)}; {advice}"


def out_of_memory(plan: Plan, error: Exception) -> str:
    """The message for a GPU that ran out of memory, with the settings to change."""
    peers = -(-plan.config.peers.count // max(1, plan.num_hosts))
    largest = max(group.peer_bytes for group in plan.groups)
    why = first_line(error, "out of memory")[:160].rstrip(".")
    return (
        f"hosting.device: the GPU's memory does not hold {peers} peers, estimated at {size(peers * largest)} ({why}): "
        "lower data.batch_size or hosting.peers_per_host, raise hosting.gpus_per_peer, or set hosting.recompute"
    )
