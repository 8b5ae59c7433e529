"""What students made of the messages that they heard, in sentences."""

from collections.abc import Mapping
from typing import Any

from coordinator.measures.pooling import HONEST_DROPPED, LIE_AUC, LIES_DROPPED, LIES_UNUSABLE, TOLD, WINDOW
from coordinator.reports.formatting import count_of


def on_unusable(summary: Mapping[str, Any]) -> list[str]:
    """A sentence on the lies that no student could use; none if there were none."""
    count = (summary.get("pooling") or {}).get(LIES_UNUSABLE)
    if not count:
        return []
    found = count_of(count, "lie")
    return [f"pooling: {found} that honest students got had numbers that are not finite: they left these out"]


def on_pooling(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on what pools dropped, on lies of no use, and on whether distances tell lies, if known."""
    part = summary.get("pooling") or {}
    dropped = [
        f"{part[name]:.0%} of {what}"
        for name, what in ((HONEST_DROPPED, "the honest messages"), (LIES_DROPPED, "the lies"))
        if part.get(name) is not None
    ]
    lines = [f"pooling: honest students dropped {' and '.join(dropped)}"] if dropped else []
    rule = summary.get("config", {}).get("exchange", {}).get("aggregation", {})
    if rule.get("kind") in ("import", "given"):
        lines = ["pooling: a rule of one's own does not say which messages it used, so what it dropped is not known"]
    lines += on_unusable(summary)
    if part.get(LIE_AUC) is None:
        return lines
    since = part.get("round_of_auc")
    if part.get("rounds_with_auc", WINDOW) < WINDOW:
        when = "too few rounds to say whether a filter by distance can tell lies"
    elif since is None:
        when = "no filter by distance can tell lies to the end"
    else:
        when = f"a filter by distance can tell lies from round {since} on"
    return [
        *lines,
        f"pooling: {when} (AUC above {TOLD:g}, mean of {WINDOW} rounds; in the last ones {part[LIE_AUC]:.2f}, chance "
        "0.5)",
    ]
