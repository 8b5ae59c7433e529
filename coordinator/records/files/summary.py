"""The content of `summary.json`: all scalars of a run."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coordinator.experiment.config import RunConfig, to_table
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.distance import distance_scopes, hops_to_other_groups
from coordinator.measures.gains import Condition
from coordinator.measures.probe_table import ProbeTable
from coordinator.measures.subjects import Scope, group_scopes
from coordinator.measures.verdict import Flag, collapsed
from coordinator.planning.plan import Plan
from coordinator.records.event_kinds import Stage, StageTimes
from coordinator.records.files import trainings
from coordinator.records.files.result import Ending
from coordinator.records.run_state import RunState
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import Phase
from peers.learning.control import Control
from peers.networks.trained import InputFormat

PACKAGES = ("peer-consensus", "torch", "torchvision", "ray", "numpy", "mlflow", "networkx", "scikit-learn")


def summarise(plan: Plan, state: RunState, probes: ProbeTable, ending: Ending, times: StageTimes) -> dict[str, Any]:
    """All scalars of a run; only timings and hardware differ if the run is repeated.

    times: of the stages until now, so without the report, which is made of the summary.
    """
    busy = state.peer_seconds + state.evaluation_seconds
    first, last = state.first, state.last
    return {
        "status": ending.status.value,
        "message": ending.message,
        "rounds": state.completed,
        "ended": _ended(state),
        "rounds_per_second": state.completed / state.seconds if state.seconds else None,
        "seconds": {stage.value: round(seconds, 3) for stage, seconds in times.seconds.items()},
        "beside_rounds": [stage.value for stage in Stage if stage in times.beside],
        "bytes_exchanged": state.bytes_exchanged,
        "evaluation_share": state.evaluation_seconds / busy if busy else None,
        "probed": {"count": len(probes.probed(range(plan.config.peers.count))), "of": plan.config.peers.count},
        "probes": probes.summary(state.students, void_conditions(state)),
        "controls": _trainings(plan, state),
        "flags": flags(plan, state, probes),
        "artefacts": probes.artefacts(state.students),
        **_unequal(plan, state, probes),
        "consensus": {
            name: {"first": value, "last": last.scalars[name]}
            for name, value in (first.scalars if first else {}).items()
            if last is not None and name in last.scalars
        },
        "measured_at": state.measured_at,
        "relative_weight_change": trainings.weight_change(state, Phase.ROUNDS),
        "faults": [{"round": fault.completed, "what": fault.what, "seconds": fault.seconds} for fault in state.faults],
        "not_finite": {str(dropout.peer): _failure(dropout) for dropout in state.dropped.values()},
        "digest": hashlib.sha256(b"".join(state.digests)).hexdigest() if state.digests else None,
        "data": _data(plan),
        "topology": asdict(plan.facts) | ({"sha256": plan.links_digest} if plan.links_digest else {}),
        "peers": [asdict(group) for group in plan.groups],
        "config": shown_config(plan.config),
        "versions": versions(),
        "hardware": hardware() | ({"workers": dict(sorted(state.workers.items()))} if state.workers else {}),
    }


def void_conditions(state: RunState) -> list[Condition]:
    """The control runs from which there is no verdict."""
    return [Condition.of(control) for control in trainings.void_controls(state)]


def _trainings(plan: Plan, state: RunState) -> dict[str, Any]:
    """What each training did; of irrelevant also in whose place networks saw nothing of its data, if there are any."""
    found, name = trainings.table(state), Control.IRRELEVANT.value
    blind = plan.blind_teachers if name in found else ()
    return found | ({name: found[name] | {"saw_nothing": [*blind]}} if blind else {})


def _unequal(plan: Plan, state: RunState, probes: ProbeTable) -> dict[str, Any]:
    """`liars`; `groups`: by name of each group its peers, and the probes of its honest students that are probed.

    `hops` in a group: where groups have names, the same of those that are so many links away from another group.
    """
    peers, void = plan.config.peers, void_conditions(state)

    def of(scope: Scope) -> dict[str, Any]:
        students = [peer for peer in scope.peers if peer in state.students]
        probed = len(probes.probed(students))
        return {"students": students, "probed": probed, "probes": probes.summary(students, void)}

    found = {
        scope.name: {"peers": list(peers.members[scope.name]), "hops": {}} | of(scope) for scope in group_scopes(peers)
    }
    distances = hops_to_other_groups(peers, plan.schedule, plan.config.run.rounds)
    for scope in distance_scopes(peers, distances):
        name, _, steps = scope.name.partition(".hops.")
        found[name]["hops"][steps] = of(scope)
    return {"liars": sorted(state.liars), "groups": found}


def _data(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.dataset.name,
        "train": len(plan.dataset.train_labels),
        "test": len(plan.dataset.test_labels),
        "classes": plan.dataset.num_classes,
        "sha256": plan.data_digest,
        **inputs_of(plan),
    }


def _ended(state: RunState) -> dict[str, Any] | None:
    """Why and after which round the run ended before its last one; None if it did not."""
    ended = state.ended
    if ended is None:
        return None
    return {"by": ended.by, "rule": ended.rule, "round": ended.completed, "value": ended.value}


def inputs_of(plan: Plan) -> dict[str, Any]:
    """What the run's networks get, as JSON: shape and dtype of an example, and its normalisation.

    of_peers: where peers have views, that of each peer, with its view.
    """
    assert plan.normalisations, "`identified` sets them"
    shape, dtype, peers = plan.dataset.shape, str(plan.dataset.train_images.dtype), plan.config.peers
    if not peers.has_views:
        return InputFormat(shape, dtype, plan.normalisations[0]).to_json()
    of_peers = [
        InputFormat(shape, dtype, normalisation, peers.view_of(peer, plan.config.run.seed), peer).to_json()
        for peer, normalisation in enumerate(plan.normalisations)
    ]
    return of_peers[0] | {"of_peers": of_peers}


def _failure(dropout: Dropout) -> dict[str, Any]:
    return {"round": dropout.completed, "reason": dropout.reason}


def shown_config(config: RunConfig) -> dict[str, Any]:
    """The config without credentials in URIs, fit to be published."""
    table: dict[str, Any] = _without_secrets(to_table(config))
    return table


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def flags(plan: Plan, state: RunState, probes: ProbeTable) -> list[Flag]:
    """The warning flags listed beside the verdicts."""
    found = []
    first, last = state.first, state.last
    students = [peer for peer in state.students if first and last and peer in last.peers]
    if students and first and last:
        before, after = ({peer: measures.peers[peer] for peer in students} for measures in (first, last))
        if collapsed(before, after):
            found.append(Flag.COLLAPSED)
    if probes.artefacts(state.students):
        found.append(Flag.ARTEFACT)
    if state.dropped and plan.config.run.on_nonfinite == "drop-peer":
        found.append(Flag.DROPPED_PEERS)
    if any(training.failed for phase, training in state.trainings.items() if phase.control):
        found.append(Flag.CONTROL_NOT_FINITE)
    found += [Flag.ALONE_IDLE] if trainings.idle_controls(state) else []
    return found


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables into one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def final_tags(summary: Mapping[str, Any]) -> dict[str, str]:
    """The summary's words that are logged to MLflow at the end; runs can be filtered by those of each verdict."""
    tags = {"status": str(summary["status"]), "verdict": verdict_line(summary)}
    for name, table in summary["probes"].items():
        tags |= {f"verdict.{name}": table["verdict"]} if "verdict" in table else {}
        tags |= {f"verdict.{name}.over_{control}": verdict for control, verdict in table.get("controls", {}).items()}
    if summary.get("network"):
        tags["critical_path"] = summary["network"]["critical_path"]["sentence"]
    return tags | ({"ended": summary["message"]} if summary.get("ended") else {})


def intervals(probes: Mapping[str, Any]) -> dict[str, float]:
    """The lower and upper end of each gain's interval, by dotted name."""
    return {
        f"probes.{probe}.interval_{end}": value
        for probe, table in probes.items()
        if "interval" in table
        for end, value in zip(("low", "high"), table["interval"], strict=True)
    }


def verdict_line(summary: Mapping[str, Any]) -> str:
    """The verdicts on learning and on the exchange, and the flags, as one line of text."""
    verdicts = []
    for name, table in summary["probes"].items():
        verdicts += [f"{name}: {table['verdict']}"] if "verdict" in table else []
        verdicts += [f"{name} over {control}: {verdict}" for control, verdict in table.get("controls", {}).items()]
    return "; ".join(verdicts + list(summary["flags"])) or "no verdict"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """This machine: processor, cores, memory in bytes, GPUs."""
    import torch

    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
