"""Paired runs with and without liars: what honest peers gain by rule of pooling, and what the lies cost them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.ablations.grids.factors import as_label, cell_labels
from coordinator.ablations.grids.grid import Cell
from coordinator.experiment.config import RunConfig, to_table
from coordinator.measures.gains import Gain, GainMeasure
from coordinator.measures.statistics import Estimate, estimate, paired_difference

RULES = ("aggregation", "memory", "trust")  # keys of [exchange] that make up a rule of pooling
VARIED = ("peers.adversaries", *(f"exchange.{key}" for key in RULES))
TRUTH = "none"  # the attack of a cell in which nobody lies
MEAN = "mean"
Summaries = Mapping[tuple[str, int], Mapping[str, Any]]  # of finished runs, by label of the cell and seed


@dataclass(frozen=True)
class Attacked:
    """A cell by what the comparison is about. cell: its label. attack: in words, without `liars`, the number of them.

    rest: all its other settings, as a text that is equal where they are. others: those of them that vary, as a label.
    """

    cell: str
    rule: str
    attack: str
    liars: int
    rest: str
    others: str


@dataclass(frozen=True)
class AttackRow:
    """A probe's gain over calibrated of the honest peers of a cell.

    lost: what the same peers gain in the cell without liars, less this, paired by seed. cost: what peers gain by the
    mean, less this, paired by seed, where nobody lies. None where there is nothing to compare with.
    """

    cell: Attacked
    measure: GainMeasure
    gain: Estimate
    lost: Estimate | None
    cost: Estimate | None


def attack_rows(cells: Sequence[Cell], summaries: Summaries, measures: Sequence[str]) -> list[AttackRow]:
    """The rows by measure, settings, attack, number of liars and rule; none if liars do not vary between cells."""
    described = attacked(cells)
    if len({(each.attack, each.liars) for each in described}) < 2:
        return []
    rests, rules = ([*dict.fromkeys(getattr(each, name) for each in described)] for name in ("rest", "rule"))

    def place(each: Attacked) -> tuple[object, ...]:
        return rests.index(each.rest), each.attack != TRUTH, each.attack, each.liars, rules.index(each.rule)

    parsed = filter(None, map(GainMeasure.parse, measures))
    gains = [gain for gain in parsed if gain.claims and gain.gain is Gain.OVER_CALIBRATED]
    seeds = sorted({seed for _, seed in summaries})
    return [
        _row(
            each,
            gain,
            described,
            [{cell: own for (cell, of), own in summaries.items() if of == seed} for seed in seeds],
        )
        for gain in gains
        for each in sorted(described, key=place)
    ]


def attacked(cells: Sequence[Cell]) -> list[Attacked]:
    """What the comparison is about in each cell."""
    settings = [{key: value for key, value in cell.settings.items() if key not in VARIED} for cell in cells]
    labels = cell_labels(settings) if any(each != settings[0] for each in settings) else [""] * len(cells)
    return [
        Attacked(cell.label, rule_of(cell.config), attack_of(cell.config), len(cell.config.peers.liars), rest, label)
        for cell, label in zip(cells, labels, strict=True)
        for rest in [_rest(cell.config)]
    ]


def rule_of(config: RunConfig) -> str:
    """The rule of pooling as labels have it: `krum(f=1)`, with what it remembers and trusts, if anything."""
    exchange = to_table(config)["exchange"]
    fields = type(config.exchange.aggregation).model_fields
    rule = {name: value for name, value in exchange["aggregation"].items() if _is_set(name, value, fields)}
    defaults = type(config.exchange).model_fields
    added = [name for name in RULES[1:] if getattr(config.exchange, name) != defaults[name].get_default()]
    return ", ".join([as_label(rule), *(f"{name} {as_label(exchange[name])}" for name in added)])


def attack_of(config: RunConfig) -> str:
    """The attacks of a cell's liars in words, whoever and however many they are."""
    lies = [some.model_dump(mode="json", exclude_none=True) for some in config.peers.adversaries]
    return " + ".join(dict.fromkeys(as_label([some]).replace(f" x {len(some['peers'])}", "") for some in lies)) or TRUTH


def _is_set(name: str, value: Any, fields: Mapping[str, Any]) -> bool:
    return name in ("kind", "f", "b", "m") or value != fields[name].get_default()


def _rest(config: RunConfig) -> str:
    table = to_table(config)
    left_out = {"run": ("name", "seed"), "peers": ("adversaries",), "exchange": RULES}
    return repr(
        {
            section: {key: value for key, value in table[section].items() if key not in left_out.get(section, ())}
            for section in table
            if section not in ("tracking", "hosting")
        }
    )


def _row(
    cell: Attacked, measure: GainMeasure, cells: Sequence[Attacked], runs: Sequence[Mapping[str, Mapping[str, Any]]]
) -> AttackRow:
    """runs: by seed, the summaries by cell."""
    own = [_gains(summaries.get(cell.cell, {}), measure) for summaries in runs]
    means = [_mean(gains.values()) for gains in own]

    def less_this(other: Attacked | None) -> Estimate | None:
        """What the same peers gain in another cell, less what they gain in this one."""
        if other is None:
            return None
        theirs = [_gains(summaries.get(other.cell, {}), measure) for summaries in runs]
        same = [_mean(known.get(peer, np.nan) for peer in gains) for known, gains in zip(theirs, own, strict=True)]
        return paired_difference(same, means)

    lies = cell.attack != TRUTH
    return AttackRow(
        cell,
        measure,
        estimate(means),
        less_this(_without_lies(cells, cell.rest, cell.rule)) if lies else None,
        less_this(_without_lies(cells, cell.rest, MEAN)) if not lies and cell.rule != MEAN else None,
    )


def _without_lies(cells: Sequence[Attacked], rest: str, rule: str) -> Attacked | None:
    wanted = (rest, rule, TRUTH)
    return next((each for each in cells if (each.rest, each.rule, each.attack) == wanted), None)


def _gains(summary: Mapping[str, Any], measure: GainMeasure) -> dict[int, float]:
    """Each honest student's gain, of those that a measure is about; {} if it is not known."""
    group, _, steps = measure.scope.partition(".hops.")
    of = summary if not group else summary.get("groups", {}).get(group, {})
    of = of.get("hops", {}).get(steps, {}) if steps else of
    own = of.get("probes", {}).get(measure.probe, {}).get("peers", {})
    return dict(zip(own.get("peer", ()), own.get(measure.gain.key, ()), strict=True))


def _mean(values: Any) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")
