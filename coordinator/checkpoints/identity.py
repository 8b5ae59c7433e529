"""Identifies the experiment of a checkpoint, so that no other experiment is resumed from it."""

from collections.abc import Mapping
from typing import Any

from coordinator.experiment.config import ConfigError, RunConfig, to_table
from coordinator.planning.plan import Plan
from coordinator.records.files.summary import flatten, inputs_of, versions

DECIDING = (
    "run",
    "data",
    "public",
    "irrelevant",
    "peers",
    "topology",
    "exchange",
    "evaluation",
    "network",
)  # sections that determine the numbers
FREE = (
    "run.rounds",
    "run.name",
    "data.name",
    "data.root",
    "data.path",
    "data.on_each_node",
    "data.partition.path",
    "public.root",
    "public.path",
    "irrelevant.root",
    "irrelevant.path",
    "topology.path",
    "network.events",
)  # keys of these sections that do not
ADDED = {"evaluation.precision": "float32"}  # unknown to older checkpoints, which were made so
SEEN = ("evaluation.probe_peers",)  # likewise; their table of probes says whom it has
STOP = "run.stop."  # the settings of the rule by which a run may end early
INPUTS = {"data": "data: the images or labels", "links": "topology.path: the links", "network": "network: the files"}


def identity_of(plan: Plan) -> dict[str, Any]:
    """A checkpoint's description of its experiment: settings, planned rounds, SHA-256 of inputs, package versions.

    data: what a network's inputs are, so that a peer can be used without the data set.
    """
    return {
        "config": deciding(plan.config),
        "rounds": plan.config.run.rounds,
        "data": inputs_of(plan),
        "inputs": _inputs(plan),
        "versions": versions(),
    }


def deciding(config: RunConfig) -> dict[str, object]:
    """The settings that determine a run's numbers, by dotted key."""
    table = to_table(config)
    flat = flatten({section: table[section] for section in DECIDING if section in table})
    return {name: value for name, value in flat.items() if name not in FREE}


def check_config(config: RunConfig, identity: Mapping[str, Any], rule_has_held: bool = False) -> None:
    """Raises: ConfigError, if a setting that determines the numbers differs from the checkpoint's.

    rule_has_held: whether the run ended by its rule `run.stop`, so that it may go on by another one. It may always go
    on without a rule.
    """
    now, then = deciding(config), _settings(identity)
    differing = _differing(now, then)
    if rule_has_held or config.run.stop is None:
        differing = [name for name in differing if not name.startswith(STOP)]
    if differing:
        name = differing[0]
        section = name.partition(".")[0]
        with_it, has_it = (any(each.startswith(f"{section}.") for each in settings) for settings in (then, now))
        if with_it != has_it:
            raise ConfigError(
                f"{section}: the checkpoint was made {'with' if with_it else 'without'} this section, but config.toml "
                f"{'has none' if with_it else 'has one'}: {'put it back' if with_it else 'leave it out'}, or start a "
                "new run"
            )
        raise ConfigError(
            f"{name}: the checkpoint was made with {then.get(name)!r}, but config.toml has {now.get(name)!r}: put it "
            "back, or start a new run"
        )


def has_rule_of(config: RunConfig, identity: Mapping[str, Any]) -> bool:
    """Whether the rule `run.stop` is the checkpoint's."""
    return not any(name.startswith(STOP) for name in _differing(deciding(config), _settings(identity)))


def _settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's settings that determine the numbers, also those that it does not know yet."""
    return {**ADDED, **identity["config"]}


def _differing(now: Mapping[str, object], then: Mapping[str, object]) -> list[str]:
    names = {*now, *then} - {name for name in SEEN if name not in then}
    return sorted(name for name in names if now.get(name) != then.get(name))


def check_inputs(plan: Plan, identity: Mapping[str, Any]) -> None:
    """Raises: ConfigError, if data or links differ from the checkpoint's."""
    for name, digest in _inputs(plan).items():
        before = identity["inputs"].get(name, digest)
        if digest != before:
            raise ConfigError(
                f"{INPUTS[name]} have changed since the run was started (SHA-256 {before[:12]}, now {digest[:12]}): "
                "put them back, or start a new run"
            )


def _inputs(plan: Plan) -> dict[str, str]:
    found = {"data": plan.data_digest, "links": plan.links_digest, "network": plan.network_digest}
    return {name: digest for name, digest in found.items() if digest}
