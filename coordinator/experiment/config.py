"""RunConfig: the sections of an experiment file, read from TOML with dotted overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from coordinator.experiment import overrides as _overrides
from coordinator.experiment.errors import explain
from coordinator.experiment.overrides import parse_assignment as parse_assignment
from coordinator.experiment.reading import ConfigError as ConfigError
from coordinator.experiment.reading import absolute_path, check_depth, plain, unusable_values
from coordinator.experiment.reading import read_table as read_table
from peers.base.precision import Precision
from peers.base.section import Section
from peers.data.config import DataConfig
from peers.exchange.config import ExchangeConfig
from peers.learning.settings import Execution
from peers.networks.config import PeersConfig
from peers.probing.measuring import ProbeConfig
from topologies.config import TopologyConfig

PATHS = (  # settings that name a file or folder
    ("data", "root"),
    ("data", "path"),
    ("topology", "path"),
    ("checkpoint", "path"),
)


MANY = 65_536  # of anything that a run has one process, thread or device for
LONG = 1e7  # seconds: four months


class RunSection(Section):
    name: str = Field("run", pattern=r"^[A-Za-z0-9._-]+$", max_length=100)
    seed: int = Field(0, ge=0, lt=2**63, strict=True)
    rounds: int = Field(100, ge=1, le=10**9, strict=True)
    on_nonfinite: Literal["stop", "drop-peer"] = "stop"


class EvaluationConfig(ProbeConfig):
    every: int = Field(
        20, ge=1, strict=True, description="rounds between two measures of consensus, collapse and similarity"
    )
    probe_every: int = Field(0, ge=0, strict=True, description="rounds between two probes; 0: at start and end only")
    alone: bool = Field(False, description="run the control in which every peer is its own teacher, too")
    reset: bool = Field(False, description="probe the trained peers with their BatchNorm buffers put back as well")


class HostingConfig(Section):
    pool: Literal["ray", "in-process"] = "ray"
    peers_per_host: int = Field(1, ge=1, le=MANY)
    execution: Literal["loop", "vectorised", "auto"] = Field(
        "loop", description="of the peers of a host; auto: the faster, timed at the start and noted in the run's config"
    )
    address: str = Field(
        "",
        description="a Ray cluster's: auto, HOST:PORT or ray://HOST:PORT; empty: a local one, started and ended by the "
        "run, or inside a Ray job that job's cluster",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a GPU for each peer where there are so many; cuda: GPUs, shared where they are fewer"
    )
    gpus_per_peer: Annotated[float, Field(ge=0, le=MANY)] | Literal["auto"] = Field(
        "auto", description="auto: 1 where there is one for each, else 0"
    )
    cpus_per_peer: Annotated[float, Field(gt=0, le=MANY)] | Literal["auto"] = Field(
        "auto", description="auto: a CPU a host at most, less where there are fewer CPUs than hosts"
    )
    resources: dict[str, Annotated[float, Field(gt=0, le=1e12)]] = Field(
        {}, description="of each host: amounts of a Ray cluster's custom resources"
    )
    placement: Literal["spread", "pack"] = Field(
        "spread",
        description="of hosts on a Ray cluster's nodes: evenly, so that a lost node takes few of them, or on as few "
        "nodes as hold them, so that few messages travel",
    )
    precision: Precision = Field(
        "float32", description="of a round's forward and backward passes; tf32 needs CUDA; measures are in float32"
    )
    deterministic: bool = Field(True, description="equal runs on a GPU, at some cost; the CPU always repeats itself")
    data_on_device: bool = Field(True, description="on a GPU: keep the data set there; false: copy each batch")
    threads: int = Field(1, ge=1, le=1024, description="torch threads of a host")
    evaluators: Annotated[int, Field(ge=0, le=MANY, strict=True)] | Literal["auto"] = Field(
        "auto", description="Ray processes that only probe, while rounds go on; auto: on the CPUs that hosts leave idle"
    )
    lookahead: int = Field(3, ge=1, le=MANY, description="rounds in flight")
    recompute: bool = Field(False, description="keep no graph between rounds; pay with a second forward")
    start_timeout: float = Field(300.0, gt=0, le=LONG, description="seconds to wait for the actors")
    timeout: float = Field(
        1800.0, gt=0, le=LONG, description="seconds that a call of a host may take; one that hangs is ended"
    )
    max_failures: int = Field(
        5, ge=0, strict=True, description="lost hosts that a run starts anew before it stops; 0: none"
    )

    @model_validator(mode="after")
    def _check(self) -> "HostingConfig":
        if self.device == "cpu" and self.gpus_per_peer not in ("auto", 0):
            raise ValueError(
                f"hosting.gpus_per_peer is {self.gpus_per_peer:g} but hosting.device is 'cpu': leave one of them out"
            )
        if self.execution == "vectorised" and self.pool == "ray" and self.peers_per_host == 1:
            raise ValueError(
                "hosting.execution 'vectorised' runs the peers of a host together, but hosting.peers_per_host is 1: "
                "raise it, or set hosting.execution to loop"
            )
        if self.pool == "in-process" and self.evaluators not in ("auto", 0):
            raise ValueError(
                f"hosting.evaluators is {self.evaluators} but hosting.pool is 'in-process': set hosting.pool to ray"
            )
        if self.device == "cuda" and self.gpus_per_peer == 0:
            raise ValueError("hosting.device is 'cuda' but hosting.gpus_per_peer is 0: leave one of them out")
        return self


class TrackingConfig(Section):
    enabled: bool = True
    uri: str = Field("", description="an MLflow tracking URI; empty: SQLite in the output folder")
    experiment: str = Field("peer-consensus", min_length=1, max_length=500)

    @model_validator(mode="after")
    def _check(self) -> "TrackingConfig":
        if self.uri.startswith("~"):
            raise ValueError(
                f"tracking.uri must be a URI, in which ~ is no home, got '{self.uri}': write the path out, such as "
                "sqlite:////home/me/mlflow.db"
            )
        return self


class CheckpointConfig(Section):
    every: int = Field(
        100, ge=0, strict=True, description="rounds between two checkpoints; 0: none, not even at the end"
    )
    seconds: float = Field(
        300.0,
        ge=0,
        description="one is due after so many seconds as well, and the first after a few; 0: rounds alone count",
    )
    keep: int = Field(2, ge=1, strict=True, description="checkpoints that stay; older ones are removed")
    path: str = Field(
        "", description="a folder that every node reaches, or a URL (fsspec, pyarrow); empty: in the run's folder"
    )


class RunConfig(Section):
    """A whole experiment. Components receive their own section, never this."""

    run: RunSection = RunSection()
    data: DataConfig
    peers: PeersConfig = PeersConfig()
    topology: TopologyConfig
    exchange: ExchangeConfig = ExchangeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    hosting: HostingConfig = HostingConfig()
    tracking: TrackingConfig = TrackingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        if self.exchange.delivery == "shared-sum" and self.topology.kind != "complete":
            raise ValueError(
                f"exchange.delivery 'shared-sum' needs topology 'complete', where all hear all, got "
                f"'{self.topology.kind}': use per-edge"
            )
        if self.hosting.execution != "loop" and self.peers.channels_last:
            raise ValueError(
                f"hosting.execution '{self.hosting.execution}' does not take peers.channels_last, which lays out one "
                "network's images: set hosting.execution to loop, or peers.channels_last to false"
            )
        return self


def load_config(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file (or a table already read) and apply `section.key=value` overrides, values in TOML.

    Relative paths are relative to the current folder, and absolute in what comes back.

    Raises: ConfigError, one line per mistake.
    """
    table = source if isinstance(source, dict) else read_table(Path(source))
    if "grid" in table or "zip" in table:
        named = "the table" if isinstance(source, dict) else f"'{source}'"
        raise ConfigError(f"config: {named} is an ablation, with axes: use peer-consensus ablate")
    for override in overrides:
        table = with_override(table, override)
    return config_from(table)


def config_from(table: dict[str, Any]) -> RunConfig:
    """A validated RunConfig of nested tables, whose values may be NumPy's, and paths. Raises: ConfigError."""
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


def with_execution(config: RunConfig, execution: Execution) -> RunConfig:
    """The config with what "auto" has chosen, so that it takes the same path again."""
    return config.model_copy(update={"hosting": config.hosting.model_copy(update={"execution": execution})})


def to_table(config: RunConfig) -> dict[str, Any]:
    """The config as nested plain values: what TOML, JSON and MLflow get."""
    return config.model_dump(mode="json", exclude_none=True)


def to_toml(config: RunConfig) -> str:
    return tomli_w.dumps(to_table(config))


def parse_setting(text: str, section: str = "") -> tuple[str, Any]:
    """`key=value`, whose key is one of `section`, such as "topology.". Raises: ConfigError."""
    return _overrides.parse_setting(RunConfig, text, section)


def with_override(table: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy of `table` with one value replaced, as the command line says it. Raises: ConfigError."""
    return _overrides.with_override(RunConfig, table, text)


def with_value(table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of `table` with the value at a dotted key replaced; see `overrides`. Raises: ConfigError."""
    return _overrides.with_value(RunConfig, table, key, value)


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same config with file names that mean the same from any folder."""
    updates: dict[str, Any] = {}
    for section, field in PATHS:
        part = updates.get(section, getattr(config, section))
        if hasattr(part, field):
            name = getattr(part, field)
            if not str(name) or "://" in str(name):
                continue
            absolute = absolute_path(f"{section}.{field}", name)
            updates[section] = part.model_copy(update={field: type(name)(absolute)})
    return config.model_copy(update=updates)
