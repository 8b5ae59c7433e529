"""Figures of a run: its gains over the controls, curves over its rounds, and its topology."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from coordinator.figures.class_curves import save_class_curves
from coordinator.figures.curves import save_consensus
from coordinator.figures.gains import save_gains
from coordinator.figures.graph import save_topology
from coordinator.figures.groups import save_distances, save_groups
from coordinator.figures.holdings import save_holdings
from coordinator.figures.network import save_ages, save_gantt, save_over_time
from coordinator.figures.peers import Look
from coordinator.figures.pooling import save_pooling
from coordinator.figures.regions import save_regions
from coordinator.figures.views import save_views
from coordinator.measures.subjects import left_out
from coordinator.planning.plan import Plan
from coordinator.records.files.holdings_files import read_holdings
from coordinator.records.files.network_files import intervals_in, latency_table
from coordinator.records.files.probe_curves import ProbeCurve, class_curves, probe_curves
from coordinator.records.files.run_folder import RunFolder
from coordinator.reports.wording import probe_name
from topologies.facts import TopologyFacts
from topologies.schedule import Schedule


def save(schedule: Schedule, folder: RunFolder, summary: dict[str, Any], plan: Plan | None = None) -> None:
    """Write figures as PNGs into `figures` of a run's folder, all but `topology` also in a narrow form.

    A figure without data is not written; without gains over calibrated there is no figure of gains. plan: has the
    images of the figure `views`, which is written where peers have views.
    """
    target = folder.path / "figures"
    target.mkdir(exist_ok=True)
    probe, gains = peer_gains(summary["probes"])
    kind = summary.get("config", {}).get("topology", {}).get("kind", "")
    facts = known_facts(summary.get("topology", {}))
    held = read_holdings(folder.path)
    look = Look.in_summary(summary)
    save_topology(schedule, target / "topology.png", probe, gains, kind=kind, facts=facts, look=look)
    rows = folder.rows("rounds")
    curves = probe_curves(folder.rows("peers"), left_out(summary))
    by_class = class_curves(folder.rows("peers"), left_out(summary))
    for narrow in (False, True):
        form = "-narrow" if narrow else ""
        save_gains(summary, target / f"gains{form}.png", narrow)
        save_groups(summary, target / f"groups{form}.png", narrow)
        save_distances(summary, folder.rows("peers"), target / f"distances{form}.png", narrow)
        save_holdings(held, target / f"holdings{form}.png", narrow)
        save_class_curves(by_class, summary.get("class_accuracy", {}), target / f"classes{form}.png", narrow)
        save_consensus(rows, summary["probes"], target / f"consensus{form}.png", curves, narrow)
        save_pooling(rows, target / f"pooling{form}.png", narrow)
    if summary.get("network"):
        _save_network(folder, summary, curves)
    if plan is not None:
        save_views(plan, target)


def _save_network(folder: RunFolder, summary: Mapping[str, Any], curves: Mapping[str, ProbeCurve]) -> None:
    """Write the figures of a simulated network: `seconds`, `gantt`, `ages` and `regions`."""
    network, target, rows = summary["network"], folder.path / "figures", folder.rows("rounds")
    rounds, intervals = intervals_in(folder.path, summary["rounds"])
    table = latency_table(summary["config"].get("network", {}))
    for narrow in (False, True):
        form = "-narrow" if narrow else ""
        save_over_time(rows, target / f"seconds{form}.png", curves, narrow)
        save_gantt(intervals, rounds, target / f"gantt{form}.png", narrow)
        save_ages(network["age_bins"], target / f"ages{form}.png", narrow)
        if table is not None and network["places"]:
            save_regions(table, network["places"], target / f"regions{form}.png", narrow)


def known_facts(table: Mapping[str, Any]) -> TopologyFacts | None:
    """The facts in a summary; None if it lacks any, as those of older versions may."""
    names = {field.name for field in fields(TopologyFacts)}
    return TopologyFacts(**{name: table[name] for name in names}) if names <= table.keys() else None


def peer_gains(probes: Mapping[str, Any]) -> tuple[str, dict[int, float]]:
    """The probe to show in figures (linear if it was run, else kNN) and each student's gain over calibrated.

    Empty if neither probe was run.
    """
    for name in ("linear", "knn"):
        if "peers" in probes.get(name, {}):
            peers = probes[name]["peers"]
            return probe_name(name), dict(zip(peers["peer"], peers["gain"], strict=True))
    return "", {}
