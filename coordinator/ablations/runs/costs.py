"""What a finished run paid until it came to a target, from its tables: virtual seconds, bytes, rounds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from coordinator.measures.gains import Condition
from coordinator.measures.subjects import left_out
from coordinator.measures.targets import Paid, Target, cost_of_fall, cost_of_rise, known
from coordinator.records.files.probe_curves import SUFFIX, student_accuracies

Curve = dict[int, float]  # by the number of completed rounds


def costs(folder: Path, summary: Mapping[str, Any], names: Iterable[str]) -> dict[str, float | None]:
    """What each of the targets among the names cost in a run; NOT_REACHED if the run ended before, None if unknown.

    It is unknown if the run did not measure it, or has no virtual time.
    """
    targets = [target for name in names if (target := Target.parse(name)) is not None]
    if not targets:
        return {}
    subjects = {target.subject: target for target in targets}
    measured = {
        subject: gains(folder, summary, target.probe) if target.probe else column(folder, subject)
        for subject, target in subjects.items()
    }
    paid = {each: column(folder, each.column) for each in Paid}
    return {target.name: _cost(target, paid[target.paid], measured[target.subject]) for target in targets}


def _cost(target: Target, paid: Curve, measured: Curve) -> float | None:
    if target.paid is Paid.TIME and not paid:
        return None
    rounds = sorted(measured)
    # before the first round nothing is paid
    found, values = known([paid.get(each, np.nan if each else 0.0) for each in rounds], [measured[t] for t in rounds])
    if not len(values):
        return None
    if target.probe:
        return cost_of_rise(found, values, target.share)
    return cost_of_fall(found, values, target.share) if rounds[0] == 0 else None


def column(folder: Path, name: str) -> Curve:
    """A column of the table of rounds by round, where it is known; empty if the run has no such column."""
    path = folder / "metrics" / "rounds.parquet"
    if name not in pq.read_schema(path).names:
        return {}
    table = pq.read_table(path, columns=list(dict.fromkeys(["round", name])))
    found = zip(table["round"].to_pylist(), table[name].to_pylist(), strict=True)
    return {round_: float(value) for round_, value in found if value is not None and np.isfinite(value)}


def gains(folder: Path, summary: Mapping[str, Any], probe: str) -> Curve:
    """The students' mean accuracy less that of calibrated networks, as a fraction, by round.

    Empty if the probe was not taken over the rounds, or there are no calibrated networks.
    """
    calibrated = summary.get("probes", {}).get(probe, {}).get(Condition.CALIBRATED)
    path = folder / "metrics" / "peers.parquet"
    if calibrated is None or f"{probe}{SUFFIX}" not in pq.read_schema(path).names:
        return {}
    present = [name for name in ("round", "peer", "loss", f"{probe}{SUFFIX}") if name in pq.read_schema(path).names]
    rows = pq.read_table(path, columns=present).to_pylist()
    by_round = student_accuracies(rows, left_out(summary)).get(probe, {})
    return {round_: float(np.mean(values)) - calibrated for round_, values in by_round.items()}
