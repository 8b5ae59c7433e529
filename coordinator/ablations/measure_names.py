"""The numbers of a run's summary that the cells of an ablation can be compared by."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.errors import nearest
from coordinator.measures.measure import GroupMeasures, PeerMeasures
from coordinator.measures.probe_table import CONDITIONS, FOR_COMPARISON
from topologies.facts import TopologyFacts

CONSENSUS = tuple(each.name for kind in (GroupMeasures, PeerMeasures) for each in fields(kind))
OPTIONAL = {  # gains that come with the controls that cost more, by the control's name in `evaluation`
    "reset": ("over_reset", "reset_over_untrained"),
    "alone": ("over_alone",),
}


def known_measures(config: RunConfig) -> list[str]:
    """By their dotted names in the summary."""
    left_out = [control for control in OPTIONAL if not getattr(config.evaluation, control)]
    over = ["over_untrained", *(name for control in OPTIONAL if control not in left_out for name in OPTIONAL[control])]
    names = [condition for condition in CONDITIONS if condition not in left_out] + ["gain"]
    names += [f"{each}.{part}" for each in over for part in ("mean", "low", "high")]
    probes = [f"probes.{probe}.{name}" for probe in config.evaluation.probes for name in names]
    measured = [f"consensus.{name}.{when}" for name in CONSENSUS for when in ("first", "last")]
    facts = [f"topology.{each.name}" for each in fields(TopologyFacts)]
    return [*probes, *measured, *facts, "rounds", "bytes_exchanged", "relative_weight_change"]


def default_measures(configs: Sequence[RunConfig]) -> list[str]:
    """Each probe's gain, its gain over peers alone where that control is run, and the disagreement at the end."""
    probes = list(dict.fromkeys(name for each in configs for name in each.evaluation.probes))
    claims = [name for name in probes if name not in FOR_COMPARISON]
    over_alone = claims if any(each.evaluation.alone for each in configs) else []
    gains = [f"probes.{name}.gain" for name in claims] + [f"probes.{name}.over_alone.mean" for name in over_alone]
    return [*gains, "consensus.relative_distance.last"]


def read_measures(asked: Any, configs: Sequence[RunConfig]) -> tuple[str, ...]:
    """The measures that the file asks for, or the default ones. Raises: ConfigError."""
    if asked is None:
        return tuple(default_measures(configs))
    if not isinstance(asked, list) or not asked:
        raise ConfigError(f"measures: must be a list of at least one name, got {asked!r}")
    known = list(dict.fromkeys(name for config in configs for name in known_measures(config)))
    mistakes = [_unknown(str(name), known) for name in asked if name not in known]
    mistakes += [f"measures: '{name}' stands twice: remove one" for name in {*map(str, asked)} if asked.count(name) > 1]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tuple(asked)


def _unknown(name: str, known: list[str]) -> str:
    last = name.split(".")[2:3] if name.startswith("probes.") else []
    for control, gains in OPTIONAL.items():
        run = any(each.endswith(f".{control}") for each in known)
        if not run and last and last[0] in (control, *gains):
            return f"measures: '{name}' needs the control {control}: set evaluation.{control} = true"
    near = nearest(name, known, listed=False)
    return f"measures: '{name}' is not in a run's summary{near or '; such as ' + ', '.join(known[-3:])}"
