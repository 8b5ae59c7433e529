"""What paired runs with and without liars come to, in sentences: what lies cost the honest, and what rules cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.ablations.comparisons.attacks import AttackRow
from coordinator.ablations.comparisons.estimates import LEVEL
from coordinator.measures.statistics import Estimate, holm
from coordinator.reports.formatting import count_of, listed, points, points_between
from coordinator.reports.wording import gain_of

MOST_FOUND = 4  # losses that a sentence tells one by one; the table has all


@dataclass(frozen=True)
class _Loss:
    """A tested loss. where: the rule and the lies, in words. p: corrected."""

    probe: str
    where: str
    found: Estimate
    p: float


def attack_lines(rows: Sequence[AttackRow]) -> list[str]:
    """Two sentences: which losses to lies, and which costs of rules, are told from 0; fewer if nothing is tested.

    Both families, all probes together, are corrected by Holm's method, each as a whole.
    """
    lost = [(row, f"{row.cell.rule} against {row.cell.attack} x {row.cell.liars}", row.lost) for row in rows]
    cost = [(row, row.cell.rule, row.cost) for row in rows]
    return [
        line
        for subject, family in (
            ("Lost to the lies (the same honest peers with and without liars)", lost),
            ("Cost of the rule (against the mean, where nobody lies)", cost),
        )
        for line in _said(subject, _tested(family))
    ]


def _tested(family: Sequence[tuple[AttackRow, str, Estimate | None]]) -> list[_Loss]:
    """Losses that differ between seeds, with corrected p values."""
    kept = [
        (row, where, found, found.p)
        for row, where, found in family
        if found is not None and found.varies and found.p is not None
    ]
    adjusted = holm([p for *_, p in kept])
    return [
        _Loss(gain_of(row.measure), ", ".join(filter(None, (where, row.cell.others))), found, p)
        for (row, where, found, _), p in zip(kept, adjusted, strict=True)
    ]


def _said(subject: str, losses: Sequence[_Loss]) -> list[str]:
    if not losses:
        return []
    told = sorted((each for each in losses if each.p < LEVEL), key=lambda each: -abs(each.found.mean))
    tests = f"in {count_of(len(losses), 'test')} after Holm's correction"
    if not told:
        means = [each.found.mean for each in losses]
        between = points_between(min(means), max(means)) if len(means) > 1 else points(means[0])
        return [f"{subject}: means of {between} points; none told from 0 {tests}."]
    parts = [f"{points(each.found.mean)} by {each.probe} for {each.where}" for each in told[:MOST_FOUND]]
    more = len(told) - len(parts)
    return [f"{subject}: {listed([*parts, *([f'{more} more'] if more else [])])}, told from 0 {tests}."]
