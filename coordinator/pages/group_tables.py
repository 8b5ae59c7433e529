"""What the page of a run says of unequal peers: tables of groups, of distances, and of single peers."""

from collections.abc import Mapping
from typing import Any

from coordinator.pages.parts import Table, Texts
from coordinator.reports import unequal
from coordinator.reports.wording import examples

GROUP_FIGURES: Texts = {
    "groups": (
        "Gains of each group of peers over calibrated networks and over the control runs, as points with intervals",
        "Each group of peers by itself. Dot: mean gain; bar: its 95% interval over the group's peers and the test "
        "examples; small marks: single peers.",
    ),
    "distances": (
        "Gains of peers against their distance from the nearest peer of another group",
        "Gains by distance: the least number of links, from teacher to student, from a peer of another group. At the "
        "end, with 95% intervals, which are wide where few peers are so far away; and over the rounds, where "
        "evaluation.probe_every is set.",
    ),
}
SUBJECTS = ("group", "probe", "over")  # columns of words


def group_tables(summary: Mapping[str, Any]) -> list[Table]:
    """The tables of gains by group, and by distance from another group."""
    over = f"Gains in points, with 95% intervals over the group's students and test {examples(summary)}."
    by_group, by_distance = unequal.group_rows(summary), unequal.distance_rows(summary)
    tables = []
    if by_group:
        caption, words = f"The students of each group alone. {over}", (*SUBJECTS, "verdict")
        tables.append(Table(caption, unequal.BY_GROUP, by_group, words=words))
    if by_distance:
        caption = (
            "By distance: the least number of links, from teacher to student, on a path from a peer of another group. "
            f"{over}"
        )
        columns = unequal.distance_columns(summary)
        if unequal.ARRIVED in columns:
            caption += (
                " The last column has the first probed round from which on the gain stays above half of what it is at "
                "the end (of control runs only the end is probed); nothing arrived: it is not above 0 at the end. Of "
                "a gain whose interval has 0 in it, that round says nothing."
            )
        tables.append(Table(caption, columns, by_distance, words=SUBJECTS))
    return tables


def peer_tables(summary: Mapping[str, Any]) -> list[Table]:
    """The table of single peers, where they are unequal: gains over calibrated, and who lies."""
    rows = unequal.peer_rows(summary)
    caption = "Gains over calibrated in points, of each honest student; accuracies of all are in metrics/peers.parquet."
    if not rows:
        return []
    columns = unequal.peer_columns(summary)
    words = [name for name in ("group", "role") if name in columns]
    return [Table(caption, columns, rows, words=words)]
