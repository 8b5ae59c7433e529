"""`summary.json`: every scalar of a run, in one table."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coordinator.experiment.config import RunConfig, to_table
from coordinator.experiment.plan import Plan
from coordinator.experiment.redaction import without_secrets
from coordinator.measures.declared import WEIGHT_CHANGE
from coordinator.measures.probe_table import ProbeTable
from coordinator.measures.verdict import Flag, collapsed
from coordinator.records.recorder import Totals

PACKAGES = ("peer-consensus", "torch", "torchvision", "ray", "numpy", "mlflow", "networkx", "scikit-learn")


def summarise(plan: Plan, totals: Totals, probes: ProbeTable, status: str, message: str) -> dict[str, Any]:
    """All of a run's scalars; timings and hardware are the only ones that a repetition changes."""
    students = students_of(totals)
    busy = totals.peer_seconds + totals.evaluation_seconds
    first, last = totals.first, totals.last
    return {
        "status": status,
        "message": message,
        "rounds": totals.completed,
        "rounds_per_second": totals.completed / totals.seconds if totals.seconds else None,
        "bytes_exchanged": totals.bytes_exchanged,
        "evaluation_share": totals.evaluation_seconds / busy if busy else None,
        "probes": probes.summary(students),
        "flags": flags(plan, totals, probes),
        "artefacts": probes.artefacts(students),
        "consensus": {
            name: {"first": value, "last": last.scalars[name]}
            for name, value in (first.scalars if first else {}).items()
            if last is not None and name in last.scalars
        },
        "measured_at": totals.measured,
        "relative_weight_change": _weight_change(totals, students),
        "faults": totals.faults,
        "not_finite": {str(peer): {"round": at, "reason": why} for peer, (at, why) in totals.dropped.items()},
        "digest": hashlib.sha256(b"".join(totals.digests)).hexdigest() if totals.digests else None,
        "data": {
            "name": plan.dataset.name,
            "train": len(plan.dataset.train_labels),
            "test": len(plan.dataset.test_labels),
            "shape": plan.dataset.shape,
            "classes": plan.dataset.num_classes,
            "sha256": plan.data_digest,
        },
        "topology": asdict(plan.facts) | ({"sha256": plan.links_digest} if plan.links_digest else {}),
        "peers": [asdict(group) for group in plan.groups],
        "config": shown_config(plan.config),
        "versions": versions(),
        "hardware": hardware(),
    }


def shown_config(config: RunConfig) -> dict[str, Any]:
    """The config as anybody may read it: without users, passwords and tokens in URIs."""
    table: dict[str, Any] = _without_secrets(to_table(config))
    return table


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def students_of(totals: Totals) -> list[int]:
    """The peers whose gain counts: those that took a step and have not dropped out."""
    return sorted(totals.studied - totals.dropped.keys())


def flags(plan: Plan, totals: Totals, probes: ProbeTable) -> list[Flag]:
    """Warnings that stand beside the verdicts."""
    found = []
    first, last = totals.first, totals.last
    students = [peer for peer in students_of(totals) if first and last and peer in last.peers]
    if students and first and last:
        before, after = ({peer: measures.peers[peer] for peer in students} for measures in (first, last))
        if collapsed(before, after):
            found.append(Flag.COLLAPSED)
    if probes.artefacts(students_of(totals)):
        found.append(Flag.ARTEFACT)
    if totals.dropped and plan.config.run.on_nonfinite == "drop-peer":
        found.append(Flag.DROPPED_PEERS)
    if totals.failed_alone:
        found.append(Flag.ALONE_NOT_FINITE)
    return found


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def final_metrics(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary's numbers that MLflow gets at the end, beside the curves it already has."""
    names = ("probes", "rounds_per_second", "bytes_exchanged", "evaluation_share", "relative_weight_change")
    return flatten({name: summary[name] for name in names}) | intervals(summary["probes"])


def intervals(probes: Mapping[str, Any]) -> dict[str, float]:
    """The ends of each gain's interval, by dotted name."""
    return {
        f"probes.{probe}.interval_{end}": value
        for probe, table in probes.items()
        if "interval" in table
        for end, value in zip(("low", "high"), table["interval"], strict=True)
    }


def verdict_line(summary: Mapping[str, Any]) -> str:
    """The verdicts and flags in one line."""
    verdicts = [f"{name}: {table['verdict']}" for name, table in summary["probes"].items() if "verdict" in table]
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


def _weight_change(totals: Totals, students: list[int]) -> float | None:
    """Mean over the students of |theta - theta_0| / |theta_0|, as last measured."""
    if totals.last is None:
        return None
    changes = [totals.last.peers[peer][WEIGHT_CHANGE.name] for peer in students if peer in totals.last.peers]
    return sum(changes) / len(changes) if changes else None
