"""The `[network]` section: the world in which messages travel; absent, every message arrives at once."""

from typing import Literal, get_args

from pydantic import Field, model_validator

from topologies.worlds.caps import BandwidthConfig, NoBandwidth
from topologies.worlds.churn import ChurnConfig, NoChurn
from topologies.worlds.compute import ComputeConfig, ConstantCompute, Stragglers
from topologies.worlds.latency import ConstantLatency, FileLatency, LatencyConfig, OwnLatency, RegionLatency
from topologies.worlds.loss import LossConfig, NoLoss
from topologies.worlds.presets import with_preset
from topologies.worlds.section import Section, StepSeconds

Preset = Literal["", "datacentre", "five-regions", "home", "phones"]
Clock = Literal["synchronous", "neighbours", "deadline", "free-running", "gossip"]
LOCK_STEP = ("synchronous", "neighbours")


class Group(Section):
    """Peers with settings of their own; what is left out is as for all others."""

    peers: tuple[int, ...] = Field(min_length=1, description="the peers, by index from 0")
    region: str | None = Field(None, description="where they are, instead of their turn in network.latency.regions")
    slowdown: float = Field(1.0, gt=0, le=1e6, description="by how much their computations take longer")
    compute: ComputeConfig | None = Field(None, description="how long their computations take")
    latency: OwnLatency | None = Field(None, description="how long the messages that they send are under way")
    bandwidth: BandwidthConfig | None = Field(None, description="their limits up and down")
    loss: LossConfig | None = Field(None, description="which of the messages that they send are lost")
    churn: ChurnConfig | None = Field(None, description="when they are offline")


class NetworkConfig(Section):
    """Virtual time: how fast peers compute, how messages travel, who is online, and when a peer goes on."""

    preset: Preset = Field(
        "",
        description="a world by name, which fills what is left out: datacentre (one rack), five-regions (AWS), home "
        "(computers at home on six continents) or phones (slow, unequal, often offline)",
    )
    clock: Clock = Field(
        "neighbours",
        description="when a peer goes on: synchronous (all wait for all), neighbours (each waits for its teachers), "
        "deadline (each waits so long), free-running (nobody waits) or gossip (peers wake at random times and exchange "
        "with one neighbour: Boyd et al., 2006)",
    )
    message: Literal["outputs", "checkpoint"] = Field(
        "outputs",
        description="what travels: outputs on a batch, which a late message is about still; or a checkpoint of the "
        "teacher's weights, which the student runs on its own batch",
    )
    deadline: StepSeconds | None = Field(
        None, gt=0, description="seconds that a peer waits for its teachers; required by clock deadline, and only there"
    )
    late: Literal["drop", "use"] = Field(
        "drop", description="clock deadline: whether messages after the deadline are dropped or used in a later step"
    )
    max_age: int = Field(
        10,
        ge=0,
        description="clocks deadline with late = use, and free-running: oldest message that is used, in rounds",
    )
    wake_every: StepSeconds = Field(1.0, gt=0, description="clock gossip: mean seconds between two wake-ups of a peer")
    compute: ComputeConfig = Field(ConstantCompute(), description="how long a peer's computation of a step takes")
    latency: LatencyConfig = Field(
        ConstantLatency(), description="how long a message is under way, one way, beside its transfer"
    )
    bandwidth: BandwidthConfig = Field(
        NoBandwidth(), description="limits up and down of each peer, shared fairly by what it sends and receives"
    )
    loss: LossConfig = Field(NoLoss(), description="which messages are lost")
    churn: ChurnConfig = Field(NoChurn(), description="when peers are offline, and how they come back")
    stragglers: Stragglers = Field(Stragglers(), description="peers that are slow for the whole run")
    rewire: bool = Field(
        False, description="whether the topology is built anew, in every round, for the peers that are online"
    )
    round_seconds: StepSeconds | None = Field(
        None,
        gt=0,
        description="clocks deadline, free-running and gossip: virtual seconds of a round of the run; left out: a "
        "round ends after as many steps as there are peers",
    )
    events: bool = Field(True, description="whether every event is written to metrics/events.parquet")
    groups: tuple[Group, ...] = Field((), description="peers with settings of their own; no peer is in two groups")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: object) -> object:
        return with_preset(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check(self) -> "NetworkConfig":
        self._check_clock()
        self._check_places()
        self._check_groups()
        return self

    @property
    def lock_step(self) -> bool:
        """Whether all peers of a round have the same index: clocks synchronous and neighbours."""
        return self.clock in LOCK_STEP

    @classmethod
    def unfitting(cls, values: dict[str, object], key: str) -> list[str]:
        """Settings of another clock, which go when an override has just set the clock."""
        clock = values.get("clock")
        if key != "clock" or clock not in get_args(Clock):
            return []
        uses_age = clock == "free-running" or (clock == "deadline" and values.get("late") == "use")
        fits = {
            "deadline": clock == "deadline",
            "late": clock == "deadline",
            "max_age": uses_age,
            "wake_every": clock == "gossip",
            "round_seconds": clock not in LOCK_STEP,
        }
        return [name for name in values if not fits.get(name, True)]

    def _check_clock(self) -> None:
        if self.clock == "deadline" and self.deadline is None:
            raise ValueError(
                "network.deadline: must be set with network.clock = deadline, got nothing; set the seconds that a peer "
                "waits for its teachers"
            )
        uses_age = self.clock == "free-running" or (self.clock == "deadline" and self.late == "use")
        misplaced = (
            ("deadline", self.clock == "deadline", "clock = deadline"),
            ("late", self.clock == "deadline", "clock = deadline"),
            ("max_age", uses_age, "clock = free-running, or clock = deadline and late = use"),
            ("wake_every", self.clock == "gossip", "clock = gossip"),
            ("round_seconds", not self.lock_step, "clock = deadline, free-running or gossip"),
        )
        for field, allowed, where in misplaced:
            value = getattr(self, field)
            if not allowed and value != type(self).model_fields[field].default:
                raise ValueError(
                    f"network.{field}: must be left out with network.clock = {self.clock}, got {value}; it is for "
                    f"{where}"
                )
        laws = [self.compute, *(group.compute for group in self.groups if group.compute is not None)]
        if self.clock in ("deadline", "free-running") and any(getattr(law, "seconds", 1) == 0 for law in laws):
            raise ValueError(
                f"network.compute.seconds: must be above 0 with network.clock = {self.clock}, got 0, since no time "
                "would ever pass; raise it"
            )

    def _check_places(self) -> None:
        placed = isinstance(self.latency, RegionLatency | FileLatency)
        churns = [self.churn, *(group.churn for group in self.groups if group.churn is not None)]
        bandwidths = [self.bandwidth, *(group.bandwidth for group in self.groups if group.bandwidth is not None)]
        needing = [f"network.churn: kind {law.kind}" for law in churns if law.kind == "outage"]
        needing += [f"network.bandwidth: kind {law.kind}" for law in bandwidths if law.needs_places]
        needing += [f"network.groups: region {group.region}" for group in self.groups if group.region is not None]
        if needing and not placed:
            raise ValueError(
                f"{needing[0]} needs network.latency of kind regions, which says where peers are, got "
                f"{self.latency.kind}; set network.latency.kind to regions, or leave this out"
            )

    def _check_groups(self) -> None:
        seen: dict[int, int] = {}
        for number, group in enumerate(self.groups):
            for peer in group.peers:
                if peer in seen:
                    where = "twice" if seen[peer] == number else f"and network.groups[{seen[peer]}].peers too"
                    raise ValueError(
                        f"network.groups[{number}].peers: must name each peer once in all groups, got peer {peer} "
                        f"{where}; remove one of them"
                    )
                seen[peer] = number
