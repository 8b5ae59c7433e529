"""The results of a run as sentences."""

from collections.abc import Mapping
from typing import Any

from coordinator.measures.declared import GROUP, PEER, Shown
from coordinator.measures.subjects import left_out
from coordinator.measures.verdict import Flag
from coordinator.reports.control_runs import idle_in_words, upper_marks
from coordinator.reports.formatting import size
from coordinator.reports.holdings import said_of
from coordinator.reports.network import on_network
from coordinator.reports.pooling import on_pooling
from coordinator.reports.unequal import about
from coordinator.reports.wording import FLAGS, not_taken, probe_name, probed_in_words


def in_words(summary: dict[str, Any]) -> list[str]:
    """Sentences on liars, probed peers, consensus, messages, private data, upper marks, flags, speed and network."""
    said = [
        about(summary),
        on_probed(summary),
        on_consensus(summary),
        on_pooling(summary),
        said_of(summary),
        upper_marks(summary),
    ]
    said += [on_flags(summary), on_speed(summary), on_network(summary)]
    return [line for lines in said for line in lines]


def on_probed(summary: Mapping[str, Any]) -> list[str]:
    """A sentence on whom the probes looked at; none if at all peers."""
    count, of = (summary.get("probed", {}).get(key, 0) for key in ("count", "of"))
    return [probed_in_words(count, of)] if count < of else []


def on_consensus(summary: dict[str, Any]) -> list[str]:
    """How disagreement and the other measures changed from first to last, and which were not taken."""
    measures, moved, rounds = summary["consensus"], summary["relative_weight_change"], summary["rounds"]
    measured = summary.get("measured_at", rounds)
    if measured == 0 < rounds:
        return ["consensus: not measured since the first round"]
    if summary.get("liars") and len(left_out(summary)) == sum(group["count"] for group in summary["peers"]):
        return ["consensus: every honest peer has dropped out, so there is no measure of the group at the end"]
    if not any(measure.name in measures for measure in GROUP):
        return []
    line = (
        f"consensus: {'; '.join(_from_first_to_last(measures))}"
        + (f"; weights moved {moved:.2%}" if moved is not None else "")
        + (f" (as of round {measured})" if measured < rounds else "")
    )
    return [line, *filter(None, [not_taken(sum(group["count"] for group in summary["peers"]))])]


def on_flags(summary: dict[str, Any]) -> list[str]:
    """The warnings beside the verdicts, and the faults that the run survived."""
    lines, faults = flags_in_words(summary), summary.get("faults", [])
    if faults:
        lost = sum(fault["seconds"] or 0.0 for fault in faults)
        more = f", and {len(faults) - 1} more in summary.json" if len(faults) > 1 else ""
        lines.append(f"survived: {faults[0]['what']}{more}; {lost:.0f} s lost, no number changed")
    return lines


def flags_in_words(summary: dict[str, Any]) -> list[str]:
    """A sentence for each flag of a run, with its meaning there."""
    artefacts = ", ".join(probe_name(name, marked=True) for name in summary.get("artefacts", ()))
    explained: dict[str, str] = {str(flag): words for flag, words in FLAGS.items()} | {
        Flag.ARTEFACT: f"a gain over untrained networks ({artefacts}) vanishes beside calibrated BatchNorm; "
        "it is no evidence of learning",
        Flag.ALONE_IDLE: idle_in_words(summary) or FLAGS[Flag.ALONE_IDLE],
        Flag.DROPPED_PEERS: f"values that are not finite in peer {', '.join(summary.get('not_finite', ()))}",
    }
    return [f"flag {flag}: {explained.get(flag, 'of another version')}" for flag in summary.get("flags", ())]


def on_speed(summary: dict[str, Any]) -> list[str]:
    """Rounds a second, bytes exchanged and the share of measuring; empty if no round was timed."""
    rate = summary["rounds_per_second"]
    if not rate:
        return []
    return [
        f"{summary['rounds']} rounds at {rate:.1f} rounds/s, {size(summary['bytes_exchanged'])} exchanged, "
        f"{summary['evaluation_share']:.0%} of the peers' time spent measuring"
    ]


def _from_first_to_last(measures: dict[str, Any]) -> list[str]:
    """First and last values of the reported measures: those of the group, then those of each peer."""
    parts = []
    for declared in (GROUP, PEER):
        changes = [
            f"{measure.written(measures[measure.name]['first'])} -> "
            f"{measure.unit.written(measures[measure.name]['last'])}"
            for measure in declared
            if Shown.REPORT in measure.shown and measure.name in measures
        ]
        parts += [", ".join(changes)] if changes else []
    return parts
