"""The probes' accuracy over the rounds of a run, where `evaluation.probe_every` is set."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from coordinator.measures.distance import round_of_arrival
from coordinator.measures.gains import Gain
from coordinator.measures.holdings import FOLLOWED

SUFFIX = "_accuracy"  # of the columns of accuracies in the table of peers


@dataclass(frozen=True)
class ProbeCurve:
    """A probe's accuracy after some rounds: the mean over students, and the lowest and the highest of them."""

    rounds: Int[np.ndarray, " points"]
    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def student_accuracies(
    rows: Iterable[Mapping[str, Any]], dropped: Collection[int] = (), suffix: str = SUFFIX
) -> dict[str, dict[int, list[float]]]:
    """By probe and number of completed rounds, the accuracies of the peers that had studied by then.

    Where nobody had, those of all peers. rows: those of the table of peers. dropped: peers that are left out. suffix:
    of the columns.
    """
    rows = [row for row in rows if row["peer"] not in dropped]
    began: dict[int, int] = {}
    for row in rows:
        if row.get("loss") is not None:
            began[row["peer"]] = min(row["round"], began.get(row["peer"], row["round"]))
    first = min(began.values(), default=None)
    found: dict[str, dict[int, list[float]]] = {}
    for row in sorted(rows, key=lambda row: (row["round"], row["peer"])):
        completed = row["round"]
        if first is None or first > completed or began.get(row["peer"], completed + 1) <= completed:
            for name, value in row.items():
                if name.endswith(suffix) and value is not None:
                    found.setdefault(name.removesuffix(suffix), {}).setdefault(completed, []).append(value)
    return found


def gains_by_distance(
    rows: Iterable[Mapping[str, Any]], distances: Mapping[str, Mapping[str, Any]], probe: str
) -> dict[int, dict[int, float]]:
    """By distance and number of completed rounds, the mean gain over calibrated of the students that are so far away.

    As fractions. distances: `hops` of a group in a summary. Without a distance of which no student is probed.
    """
    rows, found = list(rows), {}
    for steps, of in distances.items():
        calibrated = of["probes"].get(probe, {}).get("calibrated")
        own = student_accuracies(row for row in rows if row["peer"] in of["students"]).get(probe, {})
        if calibrated is not None and own:
            found[int(steps)] = {completed: float(np.mean(values)) - calibrated for completed, values in own.items()}
    return found


def arrivals(rows: Iterable[Mapping[str, Any]], of: Mapping[str, Any]) -> dict[str, dict[str, int | None]]:
    """By probe and gain, the round of arrival (`round_of_arrival`) of the students at one distance.

    Of gains over calibrated networks and over control runs, which are probed at the end only: the accuracy after each
    round less that of the control at the end. None where the gain at the end is not above 0: nothing has arrived.
    Without what was not probed under way. rows: those of the table of peers. of: a distance, in `hops` of a group in a
    summary.
    """
    found: dict[str, dict[str, int | None]] = {}
    for probe, curve in student_accuracies(row for row in rows if row["peer"] in of["students"]).items():
        row = of["probes"].get(probe, {})
        for gain in Gain:
            shown = gain.is_of_training and not gain.is_of_upper_mark
            if not shown or gain.key not in row or len(curve) < 2:
                continue
            over = {completed: float(np.mean(values)) - row[gain.control] for completed, values in curve.items()}
            found.setdefault(probe, {})[gain.key] = round_of_arrival(over)
    return found


def class_curves(rows: Iterable[Mapping[str, Any]], dropped: Collection[int] = ()) -> dict[str, dict[str, ProbeCurve]]:
    """By probe and scope (own classes, those of others), the curves of `probe_curves`; {} without private data."""
    rows, found = list(rows), dict[str, dict[str, ProbeCurve]]()
    for scope in FOLLOWED:
        for probe, curve in probe_curves(rows, dropped, f"{SUFFIX}_{scope}").items():
            found.setdefault(probe, {})[scope] = curve
    return found


def probe_curves(
    rows: Iterable[Mapping[str, Any]], dropped: Collection[int] = (), suffix: str = SUFFIX
) -> dict[str, ProbeCurve]:
    """The curve of each probe that was taken after several numbers of rounds; arguments as of `student_accuracies`."""
    return {
        probe: ProbeCurve(
            np.array(list(table)),
            *(np.array([summary(values) for values in table.values()]) for summary in (np.mean, np.min, np.max)),
        )
        for probe, table in student_accuracies(rows, dropped, suffix).items()
        if len(table) > 1
    }
