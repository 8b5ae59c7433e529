"""Paired runs with and without liars: what honest peers gain by rule of pooling, and what the lies cost them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from coordinator.ablations.factors import as_label
from coordinator.ablations.grid import Cell
from coordinator.experiment.config import RunConfig, to_table
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate, estimate, paired_difference

RULES = ("aggregation", "memory", "trust")  # keys of [exchange] that make up a rule of pooling
TRUTH = "none"  # the attack of a cell in which nobody lies


@dataclass(frozen=True)
class Attacked:
    """A cell by what the table is about. rest: all its other settings, as a text that is equal where they are.

    attack: in words, without the number of liars; `liars` is that number.
    """

    cell: str
    rule: str
    attack: str
    liars: int
    rest: str


@dataclass(frozen=True)
class AttackRow:
    """A measure in one cell. lost: the same cell without liars less this one, paired by seed; None if it has none.

    cost: of the rule where nobody lies: the mean's gain less the rule's, paired by seed; None where it is not known.
    """

    attacked: Attacked
    measure: str
    gain: Estimate
    lost: Estimate | None
    cost: Estimate | None


class AttackTable:
    """The rows of an ablation in which liars vary, by settings, measure, attack, number of liars and rule."""

    def __init__(self, cells: Sequence[Cell], rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> None:
        self._cells = [attacked(cell) for cell in cells]
        self._values = {(row["cell"], int(row["seed"])): row for row in rows}
        self._seeds = sorted({seed for _, seed in self._values})
        parsed = {name: GainMeasure.parse(name) for name in measures}
        self._measures = [
            name for name, gain in parsed.items() if gain and gain.claims and gain.gain is Gain.OVER_CALIBRATED
        ]

    @cached_property
    def rows(self) -> list[AttackRow]:
        """None if liars do not vary, or no gain over calibrated is measured."""
        if len({(each.attack, each.liars) for each in self._cells}) < 2:
            return []
        rests, rules = ([*dict.fromkeys(getattr(each, name) for each in self._cells)] for name in ("rest", "rule"))

        def place(each: Attacked) -> tuple[object, ...]:
            return rests.index(each.rest), each.attack != TRUTH, each.attack, each.liars, rules.index(each.rule)

        ordered = sorted(self._cells, key=place)
        return [self._row(each, measure) for measure in self._measures for each in ordered]

    def _row(self, cell: Attacked, measure: str) -> AttackRow:
        truthful = self._like(cell, attack=TRUTH)
        of_mean = self._like(cell, rule="mean") if cell.attack == TRUTH and cell.rule != "mean" else None
        own = self._of(cell, measure)
        return AttackRow(
            cell,
            measure,
            estimate(own),
            paired_difference(self._of(truthful, measure), own) if truthful and cell.attack != TRUTH else None,
            paired_difference(self._of(of_mean, measure), own) if of_mean else None,
        )

    def _like(self, cell: Attacked, **other: str) -> Attacked | None:
        """The cell that differs from this one only so; without liars if the attack is none."""
        wanted = {"rule": cell.rule, "attack": cell.attack, **other}
        for each in self._cells:
            same = all(getattr(each, name) == value for name, value in wanted.items())
            if same and each.rest == cell.rest and (wanted["attack"] == TRUTH or each.liars == cell.liars):
                return each
        return None

    def _of(self, cell: Attacked, measure: str) -> list[float]:
        """A measure of a cell, by seed; nan where it is unknown."""
        found = [self._values.get((cell.cell, seed), {}).get(measure) for seed in self._seeds]
        return [float("nan") if value is None else float(value) for value in found]


def attacked(cell: Cell) -> Attacked:
    """What the table is about in a cell's config, in words."""
    table = to_table(cell.config)
    peers, exchange = table["peers"], table["exchange"]
    lies = [{**some, "peers": []} for some in peers.get("adversaries", [])]
    rest = {
        **table,
        "run": {name: value for name, value in table["run"].items() if name not in ("name", "seed")},
        "peers": {name: value for name, value in peers.items() if name != "adversaries"},
        "exchange": {name: value for name, value in exchange.items() if name not in RULES},
    }
    attack = as_label(lies).replace(" x 0", "") if lies else TRUTH
    return Attacked(cell.label, rule_of(cell.config), attack, len(cell.config.peers.liars), repr(rest))


def rule_of(config: RunConfig) -> str:
    """The rule of pooling as labels have it: `krum(f=1)`, with what it remembers or trusts if anything."""
    exchange = to_table(config)["exchange"]
    defaults = to_table(config.model_copy(update={"exchange": type(config.exchange)()}))["exchange"]
    given = {name: exchange.get(name) for name in RULES[1:] if exchange.get(name) != defaults.get(name)}
    kind = type(config.exchange.aggregation)
    options = {
        name: value
        for name, value in exchange["aggregation"].items()
        if name == "kind" or value != kind.model_fields[name].get_default()
    }
    parts = [as_label(options), *(f"{name} {as_label(value)}" for name, value in given.items())]
    return ", ".join(parts)
