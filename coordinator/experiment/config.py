"""RunConfig: the sections of an experiment file, read from TOML with dotted overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import Field, ValidationError, model_validator

from coordinator.experiment import overrides as _overrides
from coordinator.experiment.brought_topology import GivenTopology, ImportedTopology
from coordinator.experiment.control_checks import check_controls
from coordinator.experiment.errors import explain
from coordinator.experiment.liar_checks import check_liars
from coordinator.experiment.network_checks import check_network
from coordinator.experiment.overrides import parse_assignment as parse_assignment
from coordinator.experiment.private_data import check_private, with_public
from coordinator.experiment.reading import ConfigError as ConfigError
from coordinator.experiment.reading import absolute_path, check_depth, plain, unusable_values
from coordinator.experiment.reading import read_table as read_table
from coordinator.experiment.sections import MOST_LOGGED, EvaluationConfig, RunSection
from coordinator.experiment.sections import CheckpointConfig as CheckpointConfig
from coordinator.experiment.sections import HostingConfig as HostingConfig
from coordinator.experiment.sections import TrackingConfig as TrackingConfig
from peers.base.section import Section
from peers.data.config import DataConfig
from peers.exchange.config import ExchangeConfig
from peers.networks.config import PeersConfig
from peers.partitions.config import FromFile
from peers.probing.config import ProbeName
from topologies.config import TopologyConfig
from topologies.worlds.config import Group, NetworkConfig

AnyTopology = Annotated[TopologyConfig | ImportedTopology | GivenTopology, Field(discriminator="kind")]

PATHS = (  # keys whose values are names of files or folders
    ("data", "root"),
    ("data", "path"),
    ("public", "root"),
    ("public", "path"),
    ("irrelevant", "root"),
    ("irrelevant", "path"),
    ("topology", "path"),
    ("peers", "weights"),
    ("checkpoint", "path"),
)
PARTITION_PATH = "data.partition.path"
NETWORK_FILES = ("compute", "latency", "bandwidth", "churn")  # laws in `network` that a file may give


class RunConfig(Section):
    """A whole experiment. Components receive their own section, never this."""

    run: RunSection = Field(RunSection(), description="name, seed and length of the run")
    data: DataConfig = Field(description="images and labels, and how batches are cut from them")
    public: DataConfig | None = Field(
        None,
        description="another data set, whose training images are the public ones, which messages are about (with "
        "data.partition)",
    )
    irrelevant: DataConfig | None = Field(
        None, description="another data set, from which teachers learn in the control irrelevant"
    )
    peers: PeersConfig = Field(PeersConfig(), description="the networks: how many, and what each is made of")
    topology: AnyTopology = Field(description="who learns from whom in which round")
    exchange: ExchangeConfig = Field(
        ExchangeConfig(), description="what peers send to each other, and the loss by which students learn from it"
    )
    evaluation: EvaluationConfig = Field(
        EvaluationConfig(), description="what is measured, how often, and with which controls"
    )
    hosting: HostingConfig = Field(
        HostingConfig(), description="where and how peers are computed: processes, devices, a Ray cluster"
    )
    tracking: TrackingConfig = Field(TrackingConfig(), description="the record of the run in MLflow")
    checkpoint: CheckpointConfig = Field(
        CheckpointConfig(), description="snapshots from which an interrupted run goes on"
    )

    network: NetworkConfig | None = Field(
        None,
        description="the simulated network: virtual time, delays, bandwidth, losses, absent and slow peers; left out: "
        "every message arrives at once, and all peers are always there and equally fast",
    )

    @model_validator(mode="before")
    @classmethod
    def _public_images(cls, values: object) -> object:
        return with_public(values)

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        check_private(self.data, self.exchange, self.other_data)
        if self.exchange.delivery == "shared-sum" and self.topology.kind != "complete":
            raise ValueError(
                f"exchange.delivery 'shared-sum' needs topology 'complete', where all hear all, got "
                f"'{self.topology.kind}': use per-edge"
            )
        check_controls(self.evaluation, self.data, self.irrelevant, self.peers, self.exchange)
        check_liars(self.peers, self.exchange)
        if self.peers.head_shared and self.exchange.what == "features":
            raise ValueError(
                "peers.head_shared fixes the head, but exchange.what is 'features', which no head changes: set "
                "exchange.what to logits or probabilities, or leave peers.head_shared out"
            )
        if self.network is not None:
            check_network(self.network, self.exchange, self.evaluation, self.topology, self.peers.count)
        if self.data.kind == "given" and self.data.on_each_node:
            raise ValueError(
                "data.on_each_node is true, but nodes cannot read data that is given from Python: set it to false"
            )
        if self.tracking.per_peer and self.peers.count > MOST_LOGGED:
            raise ValueError(
                f"tracking.per_peer is true, which is for at most {MOST_LOGGED} peers, but peers.count is "
                f"{self.peers.count}: leave it out; metrics/peers.parquet has every peer's numbers"
            )
        return self

    @property
    def other_data(self) -> dict[str, DataConfig]:
        """The sections of other data sets, by name."""
        sections = {"public": self.public, "irrelevant": self.irrelevant}
        return {name: section for name, section in sections.items() if section is not None}

    @property
    def probe_names(self) -> tuple[ProbeName, ...]:
        """The probes of the run's peers: those of the section, and `top1` if the peers learn from labels."""
        return self.evaluation.names(self.exchange.uses_labels)


def load_config(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file (or a table already read) and apply `section.key=value` overrides, values in TOML.

    Relative paths are resolved against the current folder; the returned config has absolute paths only.

    Raises: ConfigError, one line per mistake.
    """
    table = source if isinstance(source, dict) else read_table(Path(source))
    if {"grid", "zip", "seeds"} & table.keys():
        named = "the table" if isinstance(source, dict) else f"'{source}'"
        raise ConfigError(f"config: {named} is an ablation, with axes or seeds: use peer-consensus ablate")
    for override in overrides:
        table = with_override(table, override)
    return config_from(table)


def config_from(table: dict[str, Any]) -> RunConfig:
    """Validate nested tables, whose values may include NumPy types and paths. Raises: ConfigError."""
    check_depth(table)
    table = plain(table)
    unusable = unusable_values(table)
    if unusable:
        raise ConfigError("\n".join(unusable))
    try:
        config = RunConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, table, RunConfig))) from None
    return _with_absolute_paths(config)


def with_hosting(config: RunConfig, **found: str) -> RunConfig:
    """The config with settings of `hosting` resolved from "auto", so that a repetition takes the same path."""
    return config.model_copy(update={"hosting": config.hosting.model_copy(update=found)})


def to_table(config: RunConfig) -> dict[str, Any]:
    """The config as nested tables of plain values, ready for TOML, JSON and MLflow."""
    return config.model_dump(mode="json", exclude_none=True)


def to_toml(config: RunConfig) -> str:
    return tomli_w.dumps(to_table(config))


def parse_setting(text: str, section: str = "") -> tuple[str, Any]:
    """Parse `key=value`; `section`, such as "topology.", is the prefix of the key. Raises: ConfigError."""
    return _overrides.parse_setting(RunConfig, text, section)


def with_override(table: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy of `table` with one `section.key=value` override applied. Raises: ConfigError."""
    return _overrides.with_override(RunConfig, table, text)


def with_value(table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `table` with the value at a dotted key replaced; see `overrides`. Raises: ConfigError."""
    return _overrides.with_value(RunConfig, table, key, value)


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """The config with absolute paths."""
    updates: dict[str, Any] = {}
    for section, field in PATHS:
        part = updates.get(section, getattr(config, section))
        if hasattr(part, field):
            name = getattr(part, field)
            if not str(name) or "://" in str(name):
                continue
            absolute = absolute_path(f"{section}.{field}", name)
            updates[section] = part.model_copy(update={field: type(name)(absolute)})
    data = updates.get("data", config.data)
    if isinstance(data.partition, FromFile):
        path = absolute_path(PARTITION_PATH, data.partition.path)
        updates["data"] = data.model_copy(update={"partition": data.partition.model_copy(update={"path": path})})
    if config.network is not None:
        updates["network"] = _network_with_absolute_paths(config.network)
    peers = updates.get("peers", config.peers)
    groups = tuple(
        group.model_copy(update={"weights": absolute_path("peers.groups.weights", group.weights)})
        if group.weights
        else group
        for group in peers.groups
    )
    return config.model_copy(update={**updates, "peers": peers.model_copy(update={"groups": groups})})


def _network_with_absolute_paths(network: NetworkConfig) -> NetworkConfig:
    """The section with absolute paths of the files of its laws, also of those in its groups."""

    def laws_of(section: NetworkConfig | Group, name: str) -> dict[str, Any]:
        found = {law: getattr(section, law) for law in NETWORK_FILES if getattr(getattr(section, law), "path", "")}
        return {
            law: value.model_copy(update={"path": Path(absolute_path(f"{name}.{law}.path", value.path))})
            for law, value in found.items()
        }

    groups = tuple(
        group.model_copy(update=laws_of(group, f"network.groups[{number}]"))
        for number, group in enumerate(network.groups)
    )
    return network.model_copy(update={**laws_of(network, "network"), "groups": groups})
