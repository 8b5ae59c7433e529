"""Unequal peers in words and tables: who lies, gains by group, and gains by distance from another group."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coordinator.measures.gains import FOR_COMPARISON, Gain
from coordinator.measures.pooling import LIES_DROPPED, LIES_UNUSABLE
from coordinator.reports.control_runs import OVER_CONTROL_RUNS
from coordinator.reports.formatting import count_of, listed, points, points_between
from coordinator.reports.settings import lie
from coordinator.reports.wording import CONDITIONS, probe_name

LIARS = ("liars", "what they send", "lies dropped", "not finite")
LIARS_MEANT = (
    "what liars send, the share of it that honest students dropped (mean over the rounds), and how many lies were not "
    "finite, so that whoever got one left it out"
)
BY_GROUP = ("group", "students", "probe", "over", "gain", "95% interval", "verdict")
BY_DISTANCE = ("group", "links away", "students", "probe", "over", "gain", "95% interval")
ARRIVED, NOTHING = "half of it since round", "nothing arrived"
NOT_PROBED = "no peer of it was probed"
MOST_PEERS = 64  # that are listed one by one
MOST_GROUPS = 8  # that are printed at the end of a run; the page has all


def about(summary: Mapping[str, Any]) -> list[str]:
    """A sentence on who lies, and whom all means are about then; none if nobody lies."""
    liars = summary.get("liars", [])
    if not liars:
        return []
    section = summary["config"]["peers"]
    lies = lies_in_words(section)
    honest = section["count"] - len(liars)
    return [
        f"liars: {lies}. Every mean, gain, verdict, ensemble and measure of agreement is of the "
        f"{count_of(honest, 'honest peer')} alone; tables of single peers, links and pairs have all."
    ]


def lies_in_words(peers: Mapping[str, Any]) -> str:
    """Who lies, how, and from when on, of a config's table of peers: `peers 6 and 7 (alie (z 1.5) from round 9 on)`."""
    return "; ".join(f"{_peers(some['peers'])} ({lie(some)})" for some in peers.get("adversaries", ()))


def liar_table(peers: Mapping[str, Any], pooling: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Names of columns and rows: who lies and how, and what became of their lies; no rows if nobody lies.

    peers: a config's table of them. pooling: what is known of the run's messages, as the part `pooling` of a summary.
    What is known is of all liars together: of several sorts, it stands in a row of its own.
    """
    sorts = [[listed([str(peer) for peer in some["peers"]]), lie(some)] for some in peers.get("adversaries", ())]
    dropped, unusable = pooling.get(LIES_DROPPED), pooling.get(LIES_UNUSABLE)
    known = ["" if dropped is None else f"{dropped:.0%}", "" if unusable is None else f"{unusable:,.0f}"]
    if not sorts or not any(known):
        return [*LIARS[:2]], sorts
    told = [[*sorts[0], *known]] if len(sorts) == 1 else [*([*sort, "", ""] for sort in sorts), ["all", "", *known]]
    return [*LIARS], told


def liars_of(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """`liar_table` of a run."""
    return liar_table(summary.get("config", {}).get("peers", {}), summary.get("pooling") or {})


def liar_tags(summary: Mapping[str, Any]) -> dict[str, str]:
    """The tag by which runs with liars are found in MLflow; none if nobody lies."""
    words = lies_in_words(summary["config"]["peers"])
    return {"liars": words} if words else {}


def group_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row per group, probe and control, with the columns `BY_GROUP`; one that says so where no peer was probed."""
    rows = []
    for name, group in summary.get("groups", {}).items():
        if _is_unprobed(group):
            rows.append([name, _students(group), NOT_PROBED, "", "", "", ""])
        for *_, cells in _gains(group["probes"]):
            rows.append([name, _students(group), *cells])
    return rows


def distance_columns(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of `distance_rows`: that of arrival only where probes were taken over the rounds."""
    known = any("arrival" in of for group in summary.get("groups", {}).values() for of in group["hops"].values())
    return (*BY_DISTANCE, *((ARRIVED,) if known else ()))


def distance_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row per group, distance, probe and control, with the columns of `distance_columns`.

    Of groups whose peers are not all equally far from the others. There is no verdict on a distance: they are many.
    """
    told, rows = ARRIVED in distance_columns(summary), []
    for name, group in summary.get("groups", {}).items():
        for steps, of in group["hops"].items() if len(group["hops"]) > 1 else ():
            if _is_unprobed(of):
                rows.append([name, steps, _students(of), NOT_PROBED, "", "", "", *([""] if told else [])])
            for probe, gain, cells in _gains(of["probes"]):
                arrived = [_arrived(of, probe, gain)] if told else []
                rows.append([name, steps, _students(of), *cells[:-1], *arrived])
    return rows


def _is_unprobed(of: Mapping[str, Any]) -> bool:
    """Whether a group, or its peers at a distance, have students of whom none was probed."""
    return bool(of["students"]) and of.get("probed") == 0


def _students(of: Mapping[str, Any]) -> str:
    """How many students there are, and how many of them were probed if these are fewer."""
    count = len(of["students"])
    probed = of.get("probed", count)
    return str(count) if probed == count else f"{probed:,} of {count:,}"


def _arrived(of: Mapping[str, Any], probe: str, gain: Gain) -> str:
    """From which round on a gain at a distance stays above half of what it is at the end; empty if it is not known."""
    known = of.get("arrival", {}).get(probe, {})
    if gain.key not in known:
        return ""
    found = known[gain.key]
    return NOTHING if found is None else f"{found:,}"


def peer_columns(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of `peer_rows`."""
    gains = [f"{probe_name(probe)} gain" for probe in _with_gains(summary)]
    return ("peer", *(("group",) if summary.get("groups") else ()), *(("role",) if _has_roles(summary) else ()), *gains)


def peer_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row per peer, group by group: who lies, who is frozen, and each student's gains over calibrated.

    None if peers have neither groups nor liars among them, or are more than `MOST_PEERS`.
    """
    groups, liars = summary.get("groups", {}), summary.get("liars", [])
    count = summary["config"]["peers"]["count"] if groups or liars else 0
    if not 0 < count <= MOST_PEERS:
        return []
    group_of = {peer: name for name, group in groups.items() for peer in group["peers"]}
    gains = [
        dict(zip(row["peers"]["peer"], row["peers"]["gain"], strict=True)) for row in _with_gains(summary).values()
    ]
    return [
        [
            str(peer),
            *([group_of.get(peer, "")] if groups else ()),
            *([_role(summary, peer)] if _has_roles(summary) else ()),
            *(points(of_probe[peer]) if peer in of_probe else "" for of_probe in gains),
        ]
        for peer in range(count)
    ]


def _has_roles(summary: Mapping[str, Any]) -> bool:
    """Whether anybody lies, is frozen or has dropped out."""
    section = summary["config"]["peers"]
    return bool(section.get("adversaries") or section.get("frozen") or summary.get("not_finite"))


def _role(summary: Mapping[str, Any], peer: int) -> str:
    """Whether a peer lies, and what is unusual about it otherwise; empty if nothing is."""
    section = summary["config"]["peers"]
    roles = [f"lies: {lie(some)}" for some in section.get("adversaries", ()) if peer in some["peers"]]
    roles += ["frozen"] if peer in section.get("frozen", ()) else []
    roles += ["dropped out"] if str(peer) in summary.get("not_finite", {}) else []
    return ", ".join(roles)


def _with_gains(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The probes whose gains are known of each student."""
    return {name: row for name, row in summary["probes"].items() if "peers" in row}


def _gains(probes: Mapping[str, Any]) -> Iterator[tuple[str, Gain, list[str]]]:
    """Each probe's gain over calibrated networks, then over the control runs, with the cells from `probe` on."""
    for gain in (Gain.OVER_CALIBRATED, *OVER_CONTROL_RUNS):
        for name, row in probes.items():
            if gain.key not in row or name in FOR_COMPARISON:
                continue
            learned = gain is Gain.OVER_CALIBRATED
            found = [row["gain"], *row["interval"]] if learned else [row[gain.key][key] for key in ENDS]
            verdict = row.get("verdict", "") if learned else row.get("controls", {}).get(gain.control, "")
            mean, low, high = found
            cells = [probe_name(name), CONDITIONS[gain.control], points(mean), points_between(low, high), verdict]
            yield name, gain, cells


ENDS = ("mean", "low", "high")


def _peers(peers: Sequence[int]) -> str:
    """`peer 3`, `peers 3 and 5`."""
    return f"peer{'s' if len(peers) > 1 else ''} {listed([str(peer) for peer in peers])}"
