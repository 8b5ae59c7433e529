"""The numbers in a run's summary by which the cells of an ablation can be compared."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.errors import nearest
from coordinator.measures import declared
from coordinator.measures.distance import Arrival
from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain, GainMeasure
from coordinator.measures.holdings import NUMBERS, names_of
from coordinator.measures.network import NETWORK
from coordinator.measures.pooling import POOLING
from coordinator.measures.targets import GAIN, Paid, Target
from coordinator.records.files import trainings
from peers.learning.control import Control
from peers.probing.config import TOP1, ProbeName
from topologies.facts import TopologyFacts

MOST_HOPS = 32  # the largest distance that has measures


def conditions_of(config: RunConfig) -> list[Condition]:
    """The conditions in which a run with this config probes its peers."""
    evaluation = config.evaluation
    asked = {Condition.RESET: evaluation.reset, Condition.RECALIBRATED: evaluation.recalibrated}
    asked |= {Condition.of(control): control in evaluation.controls for control in Control}
    return [condition for condition in Condition if asked.get(condition, True)]


def known_measures(config: RunConfig) -> list[str]:
    """The measures in the summary of a run with this config, by dotted name."""
    probes = [name for probe in config.probe_names for name in _of_probe(probe, conditions_of(config))]
    if TOP1 not in config.probe_names and Control.SUPERVISED in config.evaluation.controls:
        probes += _of_probe(TOP1, [Condition.SUPERVISED])  # its peers learn from labels, those of the run do not
    probes += [f"groups.{scope}.{name}" for scope in scopes_of(config) for name in probes]
    probes += [arrival.name for arrival in arrivals_of(config)]
    measured = [
        f"consensus.{name}.{when}" for name in declared.scalar_names(config.peers.count) for when in ("first", "last")
    ]
    facts = [f"topology.{fact.name}" for fact in fields(TopologyFacts)]
    trained = [
        f"controls.{run}.{number}" for run in ("exchange", *config.evaluation.controls) for number in trainings.NUMBERS
    ]
    network = [f"network.{name}" for name in NETWORK] if has_network(config) else []
    probes += _of_private_data(config)
    pooled = [f"pooling.{name}" for name in POOLING if tells_of_pooling(config)]
    others = ["rounds", "bytes_exchanged", "relative_weight_change"]
    return [*probes, *measured, *trained, *facts, *network, *pooled, *others]


def scopes_of(config: RunConfig) -> list[str]:
    """Of whom a run has gains of their own: its groups, and where these have names their peers at each distance.

    Which distances there are only the graph says; so all are known that there may be.
    """
    peers = config.peers
    named = any(group.name for group in peers.groups)
    distances = range(1, min(peers.count, MOST_HOPS + 1)) if named else ()
    return [*peers.members, *(f"{name}.hops.{steps}" for name in peers.members for steps in distances)]


def arrivals_of(config: RunConfig) -> list[Arrival]:
    """The rounds of arrival at each distance from another group; none unless probes are taken under way."""
    if not 0 < config.evaluation.probe_every < config.run.rounds:
        return []
    gains = [
        gain
        for gain in Gain
        if gain.is_of_training and not gain.is_of_upper_mark
        if gain.needs <= set(conditions_of(config))
    ]
    return [
        Arrival(scope, probe, gain)
        for scope in scopes_of(config)
        if ".hops." in scope
        for probe in config.probe_names
        for gain in gains
    ]


def default_measures(configs: Sequence[RunConfig]) -> list[str]:
    """Each probe's gain, its gains over the control runs of any cell, and the disagreement at the end.

    Where groups have names, also these gains of each group.
    """
    probes = list(dict.fromkeys(name for config in configs for name in config.probe_names))
    known = {condition for config in configs for condition in conditions_of(config)}
    groups = [config.peers.members for config in configs if any(group.name for group in config.peers.groups)]
    gains = [
        GainMeasure(name, gain, scope=scope).name
        for scope in dict.fromkeys(["", *(name for members in groups for name in members)])
        for gain in Gain
        if gain is Gain.OVER_CALIBRATED or (gain.is_over_control_run and gain.control in known)
        for name in probes
        if name not in FOR_COMPARISON
    ]
    return [*gains, f"consensus.{declared.RELATIVE_DISTANCE.name}.last"]


def read_measures(asked: Any, configs: Sequence[RunConfig]) -> tuple[str, ...]:
    """The measures that the file asks for, or the default ones. Raises: ConfigError."""
    if asked is None:
        return tuple(default_measures(configs))
    if not isinstance(asked, list) or not asked:
        raise ConfigError(f"measures: must be a list of at least one name, got {asked!r}")
    known = list(dict.fromkeys(name for config in configs for name in known_measures(config)))
    mistakes = [_mistake(str(name), known, configs) for name in asked if name not in known]
    mistakes = [mistake for mistake in mistakes if mistake]
    mistakes += [f"measures: '{name}' stands twice: remove one" for name in {*map(str, asked)} if asked.count(name) > 1]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tuple(asked)


def _mistake(name: str, known: list[str], configs: Sequence[RunConfig]) -> str:
    """Why a name is none of a number in a summary, and of no target that a run can reach; empty if it is of one."""
    target = Target.parse(name)
    if target is None:
        return _unknown(name, known, configs)
    wrong = _wrong_level(target) or _wrong_subject(target, configs)
    if wrong:
        return f"measures: '{name}' {wrong}"
    if target.paid is Paid.TIME and not any(has_network(config) for config in configs):
        paid = Target(Paid.ROUNDS, target.subject, target.level).name
        return f"measures: '{name}' needs virtual time: add a section [network], or measure {paid}"
    return ""


def _wrong_level(target: Target) -> str:
    """Why a level cannot be meant; empty if it can."""
    try:
        share = target.share
    except ValueError:
        share = math.nan
    if 0 < share < 1:
        return ""
    what = "a gain in accuracy, such as 0.02 for 2 points" if target.probe else "a share of the value at round 0"
    return f"must end in {what}, between 0 and 1, got {target.level}"


def _wrong_subject(target: Target, configs: Sequence[RunConfig]) -> str:
    """Why no run comes to know when it reaches a target; empty if one does."""
    if target.probe is not None:
        having = [config for config in configs if target.probe in config.probe_names]
        if not having:
            return f"needs the probe {target.probe}: add it to evaluation.probes"
        followed = any(0 < config.evaluation.probe_every < config.run.rounds for config in having)
        return "" if followed else "needs the probe over the rounds: set evaluation.probe_every"
    falling = [measure.name for measure in declared.GROUP if measure.agreement is declared.Agreement.LOW]
    if target.subject not in falling:
        valid = [*falling, *(f"{probe}{GAIN}" for config in configs[:1] for probe in config.probe_names)]
        return f"is about what has no target{nearest(target.subject, valid)}"
    followed = any(config.evaluation.every < config.run.rounds for config in configs)
    return "" if followed else "is not measured between start and end: lower evaluation.every"


def _of_private_data(config: RunConfig) -> list[str]:
    """The numbers on who holds what, and on whose classes peers are accurate; none if all peers hold all."""
    if config.data.partition is None:
        return []
    conditions = conditions_of(config)
    return [*NUMBERS, *(name for probe in config.probe_names for name in names_of(probe, conditions))]


def has_network(config: RunConfig) -> bool:
    """Whether a run has a simulated network, and so virtual time."""
    return config.network is not None


def tells_of_pooling(config: RunConfig) -> bool:
    """Whether a run counts what became of messages: where somebody lies, or not all go into a plain mean."""
    exchange = config.exchange
    return bool(config.peers.adversaries) or exchange.aggregation.robust or exchange.memory != "none"


def _of_probe(probe: ProbeName, conditions: Sequence[Condition]) -> list[str]:
    """A probe's numbers in a summary whose peers were probed in these conditions."""
    probed = [condition for condition in conditions if condition.has(probe)]
    gains = [gain for gain in Gain if gain.needs <= set(probed)]
    ensemble = [f"probes.{probe}.ensemble.{condition}" for condition in probed] if probe == TOP1 else []
    return [
        *(f"probes.{probe}.{condition}" for condition in probed),
        *ensemble,
        *(number.name for gain in gains for number in GainMeasure.of(probe, gain)),
    ]


def _unknown(name: str, known: list[str], configs: Sequence[RunConfig]) -> str:
    """Why a name is unknown: no cell runs its control, there are too many peers, or it is misspelt."""
    absent = {*Condition} - {condition for config in configs for condition in conditions_of(config)}
    for condition in Condition:
        if condition in absent and _needs(name, condition):
            run = condition.control_run
            setting = f'evaluation.controls = ["{run}"]' if run else f"evaluation.{condition} = true"
            return f"measures: '{name}' needs the control {run or condition}: set {setting}"
    for measure in declared.SCALARS:  # always known, except with too many peers
        if name in (f"consensus.{measure.name}.first", f"consensus.{measure.name}.last"):
            limit = measure.cost.most_peers
            return f"measures: '{name}' is not measured of more than {limit} peers: lower peers.count, or remove it"
    if Arrival.parse(name) and not any(arrivals_of(config) for config in configs):
        return f"measures: '{name}' needs named groups, and probes over the rounds: set evaluation.probe_every"
    suggestion = nearest(name, known, listed=False)
    return f"measures: '{name}' is not in a run's summary{suggestion or '; such as ' + ', '.join(known[-3:])}"


def _needs(name: str, control: Condition) -> bool:
    """Whether a probe's number exists only if this control is run."""
    keys = {control.value, *(gain.key for gain in Gain if control in gain.needs)}
    _, _, of_probe = f".{name}".rpartition(".probes.")
    return name.startswith(("probes.", "groups.")) and not keys.isdisjoint(of_probe.split(".")[1:2])
