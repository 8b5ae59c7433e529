"""What users bring: objects from Python in place of what a config names, and what a config says to import."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, TypeVar

from pydantic import BaseModel, ValidationError

from coordinator.experiment.brought_topology import GivenTopology
from coordinator.experiment.config import ConfigError, RunConfig, to_table
from coordinator.experiment.errors import explain
from peers.base.brought import Brought, Given, Imported, forget_digests
from peers.base.content import digest_of
from peers.data.brought import GivenData
from peers.data.section import DataSection
from peers.exchange.losses import GivenLoss
from peers.exchange.targets import GivenTarget
from peers.networks.brought import GivenHead, GivenModel
from peers.networks.config import PeerKind, PeersConfig
from peers.networks.weights import HeldWeights, read_weights
from peers.partitions.config import FromFile
from peers.pooling.brought import GivenAggregation

S = TypeVar("S", bound=BaseModel)
_SHARED = {
    "data": tuple(DataSection.model_fields),
    "topology": ("self_weight", "weights", "allow_disconnected"),
}  # kept where the kind changes
EXCHANGED = ("loss", "target", "self_target", "aggregation")  # parts of [exchange] that may be brought
DATA = ("data", "public", "irrelevant")  # sections that name data sets
NOT_ALONE = "# This file alone is not all of it"
FROM_PYTHON = "simulate(load_config(FILE), {arguments}) starts it anew; resume(FOLDER, {arguments}) goes on"


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects from Python that take the place of what the config names; None: as the config says.

    network: a torch.nn.Module, a class or function of (shape) or (shape, peer) that makes one, or a list with one for
    each peer. head: a torch.nn.Module, or a class or function of the number of features. loss: (student, target) ->
    scalar. target: outputs -> outputs. aggregation: (own, messages, weights) -> outputs. topology: a networkx graph, a
    matrix, a `Schedule`, or a function of the round that gives a graph, a matrix or edges. data: a `Dataset`.
    """

    network: Any = None
    head: Any = None
    loss: Any = None
    target: Any = None
    aggregation: Any = None
    topology: Any = None
    data: Any = None

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> "Objects":
        """Those that `simulate` was called with. Raises: ConfigError, for a name that is none of them."""
        for name in keywords.keys() - SECTIONS.keys():
            close = difflib.get_close_matches(name, SECTIONS, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"what can be brought is {', '.join(SECTIONS)}"
            raise ConfigError(f"{name}: is no argument: {hint}")
        return cls(**keywords)

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in dataclasses.fields(self))

    def take(self, config: RunConfig) -> RunConfig:
        """The config with these objects. Raises: ConfigError."""
        return self._placed(config, lambda section, value, _: section.of(value))

    def take_again(self, config: RunConfig) -> RunConfig:
        """The config of a run that was given objects, with the same ones. Raises: ConfigError, for any others."""

        def same(section: type[Given], value: Any, before: Any) -> Given:
            found = section.of(value)
            if not isinstance(before, section):
                raise ConfigError(
                    f"{section.argument}: the run was started with what its config names "
                    f"({section.field} '{getattr(before, 'kind', '')}') and goes on with that: leave it out"
                )
            if found.digest != before.digest:
                raise ConfigError(
                    f"{section.argument}: must be what the run was given ('{before.name}', SHA-256 "
                    f"{before.digest[:12]}), got '{found.name}' with SHA-256 {found.digest[:12]} (what the code itself "
                    "has changed counts, too): give the same code and data, or start a new run"
                )
            return found

        return self._placed(config, same)

    def _placed(self, config: RunConfig, section_of: Callable[[type[Given], Any, Any], Given]) -> RunConfig:
        try:
            for field in dataclasses.fields(self):
                value = getattr(self, field.name)
                if value is not None:
                    config = _with(config, SECTIONS[field.name], partial(section_of, SECTIONS[field.name], value))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return config


SECTIONS: dict[str, type[Given]] = {
    "network": GivenModel,
    "head": GivenHead,
    "loss": GivenLoss,
    "target": GivenTarget,
    "aggregation": GivenAggregation,
    "topology": GivenTopology,
    "data": GivenData,
}


def identified(config: RunConfig) -> RunConfig:
    """The config with the digests of what is imported, and with the weights of files.

    Raises: ValueError, if something cannot be imported or read, or has another digest than the config says.
    """
    forget_digests()
    for part in brought(config):
        if part not in (config.data, *config.other_data.values()):  # which are asked for when they are loaded
            part.bring()  # refuses objects that are not there
    for where in ("model", "head"):
        config = _with_peers(config, where, _identify)
    config = _with_peers(config, "view", _identified_steps)
    exchange = config.exchange
    updates = {name: _identify(getattr(exchange, name)) for name in EXCHANGED}
    if any(updates[name] is not getattr(exchange, name) for name in updates):
        config = config.model_copy(update={"exchange": exchange.model_copy(update=updates)})
    for name in ("topology", *DATA):
        config = config.model_copy(update={name: _identify(getattr(config, name))})
    if isinstance(config.data.partition, FromFile):
        data = config.data.model_copy(update={"partition": config.data.partition.identified()})
        config = config.model_copy(update={"data": data})
    return config.model_copy(update={"peers": _with_attacks(_with_weights(config.peers))})


def brought(config: RunConfig) -> list[Brought]:
    """All that the user has brought, without repetitions."""
    kinds: list[PeerKind] = [config.peers, *config.peers.groups]
    parts: list[Any] = [part for kind in kinds for part in (kind.model, kind.head, *kind.view)]
    parts += [*(getattr(config.exchange, part) for part in EXCHANGED), config.topology, config.data]
    parts += [some.attack for some in config.peers.adversaries]
    parts += config.other_data.values()
    found: list[Brought] = []
    for part in parts:
        if isinstance(part, Brought) and part not in found:
            found.append(part)
    return found


def differing(config: RunConfig, stored: Mapping[str, Any]) -> str:
    """The first key at which a stored config names something else that was brought than `config`; "" if none does."""
    now, then = _named(to_table(config)), _named(stored)
    return next((key for key in {**now, **then} if now.get(key) != then.get(key)), "")


def _named(table: Mapping[str, Any]) -> dict[str, str]:
    """The digests of what a config's table says was brought, by key."""
    peers, exchange = table.get("peers", {}), table.get("exchange", {})
    kinds = {"peers": peers, **{f"peers.groups[{i}]": group for i, group in enumerate(peers.get("groups", ()))}}
    parts = {f"{name}.{part}": kind.get(part, {}) for name, kind in kinds.items() for part in ("model", "head")}
    for name, kind in kinds.items():
        parts |= {f"{name}.view[{place}]": step for place, step in enumerate(kind.get("view", ()))}
        parts[f"{name}.weights"] = {"kind": "given", "digest": kind.get("weights_digest", "")}
    attacks = [some.get("attack", {}) for some in peers.get("adversaries", ())]
    parts |= {f"peers.adversaries[{place}].attack": attack for place, attack in enumerate(attacks)}
    parts |= {f"exchange.{part}": exchange.get(part, {}) for part in EXCHANGED}
    parts |= {part: table.get(part, {}) for part in ("topology", *DATA)}
    return {key: part.get("digest", "") for key, part in parts.items() if part.get("kind") in ("import", "given")}


def note_for_file(config: RunConfig, instead: str = FROM_PYTHON) -> str:
    """The first lines of a run's config, if it does not start the run again by itself; else nothing."""
    given = [part for part in brought(config) if isinstance(part, Given)]
    if not given:
        return ""
    names = list(dict.fromkeys(part.argument for part in given))
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    what = f"its {listed} {'were' if names[1:] else 'was'}"
    arguments = ", ".join(f"{name}=..." for name in names)
    return f"{NOT_ALONE}: {what} given from Python.\n# {instead.format(arguments=arguments)}.\n\n"


def _identify(section: Any) -> Any:
    return section.identified() if isinstance(section, Imported) else section


def _with_attacks(peers: PeersConfig) -> PeersConfig:
    """The section with the digests of imported attacks."""
    identified = tuple(some.model_copy(update={"attack": _identify(some.attack)}) for some in peers.adversaries)
    return peers.model_copy(update={"adversaries": identified}) if identified else peers


def _identified_steps(view: tuple[Any, ...]) -> tuple[Any, ...]:
    """The steps of a view with the digests of those that are imported; the same object if none is."""
    return tuple(_identify(step) for step in view) if any(isinstance(step, Imported) for step in view) else view


def _with_weights(peers: PeersConfig) -> PeersConfig:
    """The section with the weights of each file, which is read once."""
    kinds: list[PeerKind] = [peers, *peers.groups]
    read = {path: read_weights("peers.weights", path) for path in {kind.weights for kind in kinds} if path}
    held = {path: HeldWeights(digest_of(tensors), tensors) for path, tensors in read.items()}
    if not held:
        return peers
    groups = tuple(group.with_weights(held[group.weights]) if group.weights else group for group in peers.groups)
    whole = peers.model_copy(update={"groups": groups})
    return whole.with_weights(held[peers.weights]) if peers.weights else whole


def _with(config: RunConfig, section: type[Given], change: Callable[[Any], Any]) -> RunConfig:
    """The config with the part that `section` stands for changed, and all rules between sections checked again."""
    name, _, part = section.field.partition(".")
    if name == "peers":
        return _rebuilt(RunConfig, _fields(config) | {"peers": _with_peers(config, part, change).peers}, config)
    whole = getattr(config, name)
    if part:
        changed = _rebuilt(type(whole), _fields(whole) | {part: change(getattr(whole, part))}, config)
    else:
        changed = change(whole)
        shared = {field: getattr(whole, field) for field in _SHARED.get(name, ()) if field in whole.model_fields_set}
        changed = changed.model_copy(update=shared)
    return _rebuilt(RunConfig, _fields(config) | {name: changed}, config)


def _with_peers(config: RunConfig, part: str, change: Callable[[Any], Any]) -> RunConfig:
    """The config with the model, head or view of all peers changed, those of each group, too."""
    peers = config.peers
    changed = change(getattr(peers, part))
    groups = tuple(group.model_copy(update={part: change(getattr(group, part))}) for group in peers.groups)
    if changed is getattr(peers, part) and groups == peers.groups:
        return config
    whole = _rebuilt(PeersConfig, _fields(peers) | {part: changed, "groups": groups}, config)
    return config.model_copy(update={"peers": whole})


def _fields(section: BaseModel) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.model_fields_set}


def _rebuilt(kind: type[S], values: dict[str, Any], config: RunConfig) -> S:
    """A section of these values, checked by its own rules. Raises: ConfigError."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, to_table(config), RunConfig))) from None


class Keywords(TypedDict, total=False):
    """The fields of `Objects` as keyword arguments, for type checkers."""

    network: Any
    head: Any
    loss: Any
    target: Any
    aggregation: Any
    topology: Any
    data: Any
