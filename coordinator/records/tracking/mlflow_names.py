"""The names of a run's numbers in MLflow, in groups: `consensus/agreement`, `probes/linear/gain`. MLFLOW.md lists them.

MLflow draws a section of charts for each group, which is the part of a name before its last `/`. Groups whose numbers
are logged over the rounds and groups of final values are kept apart, so that no chart of a single point stands among
curves. MLflow's page shows the group `system` on a tab of its own, whatever it holds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from coordinator.measures import pooling
from coordinator.measures.declared import GROUP, PEER
from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain
from coordinator.records.files.probe_curves import SUFFIX
from peers.probing.config import TOP1

Row = Mapping[str, Any]
_BYTES = {"bytes": "system/bytes_of_round", "bytes_so_far": "system/bytes_exchanged", "faults": "system/faults"}
_NETWORK = ("virtual_seconds", "online", "lost", "mean_age", "mean_age_seconds")
_CURVES = {
    **{measure.name: f"consensus/{measure.name}" for measure in GROUP},
    **{measure.name: f"peers/{measure.name}" for measure in PEER},  # the mean over peers
    **_BYTES,
    **{name: f"network/{name}" for name in _NETWORK},
    **{name: f"pooling/{name}" for name in pooling.COLUMNS},
}
VIEW = {  # columns of MLflow's list of runs, and their widths in pixels
    "tags.`verdict.linear`": 170,
    "metrics.`probes/linear/gain`": 140,
    "metrics.`probes/linear/over_alone`": 190,
    "tags.`verdict.knn`": 160,
    "metrics.`probes/knn/gain`": 130,
    "metrics.`consensus/relative_distance`": 210,
    "metrics.`consensus/agreement`": 180,
}
_MEASURES = tuple(measure.name for measure in PEER)
_OF_A_STEP = ("loss", "gradient_norm")


def curve_name(column: str) -> str:
    """The name of a number that is logged over the rounds. column: its name in the table of rounds, or of a probe.

    What no measure declares is told by the steps themselves, such as the loss: its group is `learning`.
    """
    if column.endswith(SUFFIX):
        return f"accuracy/{column.removesuffix(SUFFIX)}"
    return _CURVES.get(column, f"learning/{column}")


def curves_of_round(row: Row) -> dict[str, Any]:
    """The numbers of a row of the table of rounds, by their names in MLflow."""
    return {curve_name(column): value for column, value in row.items() if column != "round"}


def curves_of_peer(row: Row) -> dict[str, Any]:
    """A peer's own numbers of a row of the table of peers, if it was measured after this round.

    Loss and gradient norm of every round would be too many for MLflow: only those of measured rounds are logged.
    """
    if all(row.get(name) is None for name in _MEASURES):
        return {}
    return {f"peers/{row['peer']}/{name}": row[name] for name in (*_MEASURES, *_OF_A_STEP) if name in row}


def accuracies_of_peer(row: Row) -> dict[str, Any]:
    """A peer's accuracies of a row of the table of peers, if it was probed after this round."""
    return {f"peers/{row['peer']}/{name}": row[name] for name in row if name.endswith(SUFFIX)}


def final_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that runs are filtered and compared by, besides the curves' last values; all are in the summary.

    Of each probe the accuracy of the trained peers, the gain over calibrated ones and over each control run, and the
    ends of these gains' intervals; of a probe that is for comparison only, and has no verdict, accuracy and gain.
    """
    found: dict[str, Any] = {}
    for probe, table in summary["probes"].items():
        found[f"probes/{probe}/trained"] = table.get(Condition.TRAINED.value)
        if probe == TOP1:
            found[f"probes/{probe}/ensemble"] = table.get("ensemble", {}).get(Condition.TRAINED.value)
        if probe in FOR_COMPARISON:
            found |= gain_metrics(probe, Gain.OVER_CALIBRATED, table["gain"]) if "gain" in table else {}
        else:
            for gain, mean, low, high in _gains(table):
                found |= gain_metrics(probe, gain, mean, low, high)
    found |= _of_groups(summary)
    found |= {f"system/{name}": summary.get(name) for name in ("rounds_per_second", "evaluation_share")}
    found |= network_metrics(summary["network"]) if summary.get("network") else {}
    found |= _class_metrics(summary.get("class_accuracy", {}))
    found |= {f"pooling/run/{name}": value for name, value in summary.get("pooling", {}).items()}
    seconds = summary.get("seconds", {}).items()
    found |= {f"system/seconds_{stage.replace('-', '_')}": value for stage, value in seconds}
    return {name: value for name, value in found.items() if value is not None}


def _of_groups(summary: Mapping[str, Any]) -> dict[str, float]:
    """The gains of groups that have names, in points: `groups/chroma/knn/over_stranger`."""
    groups = summary.get("config", {}).get("peers", {}).get("groups", ())
    return {
        f"groups/{group}/{probe}/{gain.key}": round(100 * mean, 6)
        for group, of in summary.get("groups", {}).items()
        if any(each.get("name") for each in groups)
        for probe, table in of["probes"].items()
        if probe not in FOR_COMPARISON
        for gain, mean, _, _ in _gains(table)
    }


def gain_metrics(
    probe: str, gain: Gain, mean: float, low: float | None = None, high: float | None = None
) -> dict[str, float]:
    """A probe's gain and the ends of its interval, from fractions, in points: MLflow's bars show two decimals."""
    ends = {f"uncertainty/{probe}/{gain.key}_{end}": value for end, value in (("low", low), ("high", high))}
    found = {f"probes/{probe}/{gain.key}": mean} | {name: value for name, value in ends.items() if value is not None}
    return {name: round(100 * value, 6) for name, value in found.items()}


def network_metrics(network: Mapping[str, Any]) -> dict[str, Any]:
    """What the simulated network came to; shares are from 0 to 1, times in virtual seconds."""
    use, path = network["use"], network["critical_path"]
    found = {
        "seconds": network["virtual_seconds"],
        "seconds_per_round": network["seconds_per_round"],
        **{f"use_{name}": use[name] for name in ("compute", "wait", "offline")},
        "loss": network["loss"]["seen"],
        "availability": network["availability"]["seen"],
        "age_rounds": (network["age_rounds"] or {}).get("mean"),
        "age_seconds": network["age_seconds"]["mean"],
        "effective_gap": network["effective_gap"],
        "nominal_gap": network["nominal_gap"],
        **{f"path_{name}": path[name] for name in ("compute", "latency", "idle", "offline")},
    }
    return {f"virtual/{name}": value for name, value in found.items()}


def _class_metrics(accuracies: Mapping[str, Any]) -> dict[str, float]:
    """The trained peers' accuracy on all held classes, their own and those of others, from 0 to 1."""
    return {
        f"classes/{probe}/{scope}": values[Condition.TRAINED]
        for probe, scopes in accuracies.items()
        for scope, values in scopes.items()
        if Condition.TRAINED in values
    }


def is_of_older_version(name: str) -> bool:
    """Whether a metric of a run was logged by a version of this program whose names had no groups."""
    return "/" not in name


def _gains(table: Row) -> Iterator[tuple[Gain, Any, Any, Any]]:
    """The gains over calibrated networks and over control runs: mean, and lower and upper end of the interval."""
    if "gain" in table:
        yield Gain.OVER_CALIBRATED, table["gain"], *table["interval"]
    for gain in Gain:
        if gain.is_over_control_run and gain.key in table:
            over = table[gain.key]
            yield gain, over["mean"], over["low"], over["high"]
