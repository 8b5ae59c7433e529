"""What came of a run, in sentences."""

from typing import Any

from coordinator.reports.wording import FLAGS, probe_name, size


def in_words(summary: dict[str, Any]) -> list[str]:
    """Consensus, flags and pace of a run in a sentence each."""
    lines = []
    measures, moved, rate = summary["consensus"], summary["relative_weight_change"], summary["rounds_per_second"]
    measured = summary.get("measured_at", summary["rounds"])
    if measured == 0 < summary["rounds"]:
        lines.append("consensus: not measured since the first round")
    elif "relative_distance" in measures:
        distance, agreement = measures["relative_distance"], measures["agreement"]
        lines.append(
            f"consensus: disagreement {distance['first']:.3f} -> {distance['last']:.3f}, "
            f"agreement {agreement['first']:.1%} -> {agreement['last']:.1%}; "
            f"effective rank {measures['rankme']['first']:.1f} -> {measures['rankme']['last']:.1f}"
            + (f"; weights moved {moved:.2%}" if moved is not None else "")
            + (f" (as of round {measured})" if measured < summary["rounds"] else "")
        )
    artefacts = ", ".join(probe_name(name, marked=True) for name in summary["artefacts"])
    explained = FLAGS | {
        "artefact": f"a gain over untrained networks ({artefacts}) vanishes beside calibrated BatchNorm; "
        "it is no evidence of learning",
        "dropped-peers": f"values that are not finite in peer {', '.join(summary['not_finite'])}",
    }
    lines += [f"flag {flag}: {explained[flag]}" for flag in summary["flags"]]
    faults = summary.get("faults", [])
    if faults:
        lost = sum(each["seconds"] or 0.0 for each in faults)
        more = f", and {len(faults) - 1} more in summary.json" if len(faults) > 1 else ""
        lines.append(f"survived: {faults[0]['what']}{more}; {lost:.0f} s lost, no number changed")
    if rate:
        lines.append(
            f"{summary['rounds']} rounds at {rate:.1f} rounds/s, {size(summary['bytes_exchanged'])} exchanged, "
            f"{summary['evaluation_share']:.0%} of the peers' time spent measuring"
        )
    return lines
