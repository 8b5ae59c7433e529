"""Who holds what of private data, and how well peers do on whose classes, in words and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain
from coordinator.measures.holdings import ENSEMBLE, SCOPES, ClassTable
from coordinator.reports.formatting import count_of, points
from coordinator.reports.wording import CONDITIONS, SCOPE_WORDS, examples, probe_name

MOST_PEERS, MOST_CLASSES = 16, 12  # whose counts are printed
HELD, OWN, OTHERS = SCOPES
SCOPES_MEANT = {
    HELD: "all classes that some peer holds",
    OWN: "a peer's own classes",
    OTHERS: "classes that others hold and it does not",
}
AGAINST = {Gain.OVER_PRIVATE_ONLY: "over private-only", Gain.OVER_POOLED: "over pooled"}
SAID = {Gain.OVER_CALIBRATED: "over calibrated", **AGAINST}


def on_holdings(facts: Mapping[str, Any], num_peers: int, noun: str = "examples") -> str:
    """What the peers hold, in a sentence. facts: the part `holdings` of a summary. noun: what examples are called."""
    effective, variation, sizes = facts["effective_classes"], facts["total_variation"], facts["examples"]
    nobodys = f"; {facts['nobodys']:,} {noun} are nobody's" if facts["nobodys"] else ""
    return (
        f"{count_of(num_peers, 'peer')} hold {_range(sizes, ',.0f')} private {noun} each, of "
        f"{_range(effective, '.1f')} effective classes; total variation from the classes of all private {noun} "
        f"{_range(variation, '.2f')}; "
        f"{facts['public']:,} public {noun} of {facts['public_of']}{nobodys}"
    )


def holdings_rows(table: ClassTable) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and a row for the public examples and for each peer: examples of each class, and their sum.

    Of many peers or classes none.
    """
    peers, classes = table.private.shape
    if peers > MOST_PEERS or classes > MOST_CLASSES:
        return [], []
    effective = [f"{value:.1f}" for value in table.effective_classes]
    rows = [
        [f"peer {peer}", *(f"{count:,}" if count else "-" for count in counts), f"{counts.sum():,}", effective[peer]]
        for peer, counts in enumerate(table.private)
    ]
    if table.public.any():
        public = [f"{count:,}" if count else "-" for count in table.public]
        rows.append(["public", *public, f"{table.public.sum():,}", ""])
    return ["class", *map(str, range(classes)), "all", "effective classes"], rows


def accuracy_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Names of columns and rows of the students' accuracies on the classes of each scope, in every condition."""
    all_probes: Mapping[str, Any] = summary.get("class_accuracy", {})
    found = {probe: scopes for probe, scopes in all_probes.items() if probe not in FOR_COMPARISON}
    scopes = [of_scope for probe in found.values() for of_scope in probe.values()]
    conditions = [condition for condition in Condition if any(condition in scope for scope in scopes)]
    gains = [gain for gain in AGAINST if any(gain.key in scope for scope in scopes)]
    if not scopes:
        return [], []
    rows = []
    for probe, of_probe in found.items():
        for scope in (*_told(of_probe), ENSEMBLE):
            if scope in of_probe:
                values = of_probe[scope]
                cells = [f"{values[each]:.1%}" if each in values else "" for each in conditions]
                cells += [points(values[gain.key]) if gain.key in values else "" for gain in gains]
                rows.append([f"{probe_name(probe)}, {SCOPE_WORDS[scope]}", *cells])
    names = ["accuracy on", *(CONDITIONS[condition] for condition in conditions), *(AGAINST[gain] for gain in gains)]
    return names, rows


def _told(scopes: Mapping[str, Any]) -> list[str]:
    """The scopes of peers that there are; `own` only where it differs from `held`, which it is if all hold the same."""
    return [scope for scope in SCOPES if scope in scopes and not (scope == OWN and scopes[OWN] == scopes.get(HELD))]


def scopes_meant(summary: Mapping[str, Any]) -> str:
    """What the rows of `accuracy_table` are about, in words."""
    of_probes = list(summary.get("class_accuracy", {}).values())
    there = {scope for of_probe in of_probes for scope in of_probe}
    told = [SCOPES_MEANT[scope] for scope in SCOPES if any(scope in _told(of_probe) for of_probe in of_probes)]
    nobody = "" if OTHERS in there else "; nobody lacks a held class"
    return f"mean accuracy of the students on test images of: {'; '.join(told)}{nobody}. Gains in points"


def on_held_classes(summary: Mapping[str, Any]) -> list[str]:
    """Which classes the verdicts are about, and the students' accuracies on those that some peer holds.

    Empty if all peers hold all, and where each class is held by somebody.
    """
    facts = summary.get("holdings") or {}
    held, of = facts.get("classes_held"), facts.get("classes")
    if held is None or of is None or held == of:
        return []
    verdicts = (
        f"The verdicts are on test {examples(summary)} of all {of} classes, but peers hold examples of only {held} of "
        "them. On these, without intervals and tests:"
    )
    lines = [
        f"{probe_name(probe)}, {SCOPE_WORDS[scope]}: {_accuracy_and_gains(scopes[scope])}"
        for probe, scopes in summary.get("class_accuracy", {}).items()
        if probe not in FOR_COMPARISON
        for scope in (*_told(scopes), ENSEMBLE)
        if scope in scopes and Condition.TRAINED in scopes[scope]
    ]
    return [verdicts, *lines] if lines else []


def _accuracy_and_gains(values: Mapping[str, float]) -> str:
    """`73.8%, +64.9 points over calibrated, +9.4 over private-only`."""
    gains = [f"{points(values[gain.key])} {name}" for gain, name in SAID.items() if gain.key in values]
    return ", ".join([f"{values[Condition.TRAINED]:.1%}", *gains])


def said_of(summary: Mapping[str, Any]) -> Sequence[str]:
    """The sentence on who holds what of a run; none if all peers hold all."""
    facts = summary.get("holdings")
    peers = summary["config"]["peers"]["count"] if facts else 0
    return [f"private data: {on_holdings(facts, peers, examples(summary))}"] if facts else []


def _range(spread: Mapping[str, float], form: str) -> str:
    least, most = format(spread["least"], form), format(spread["most"], form)
    return least if least == most else f"{least} to {most} (mean {format(spread['mean'], form)})"
