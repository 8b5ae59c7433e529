"""When peers are offline: settings of the laws."""

import pathlib
from enum import IntEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from topologies.worlds.section import Moment, Span, Stay, Variant

LEAST_ONLINE = 1e-6  # of the time that a peer is online: with less, no round would ever end
OnReturn = Literal["own", "fresh", "neighbour"]
Leave = Literal["graceful", "crash"]


class Weights(IntEnum):
    """The weights that a peer comes back with: its own, fresh ones, or a copy of a neighbour's."""

    OWN = 0
    FRESH = 1
    NEIGHBOUR = 2


class NoChurn(Variant):
    """Every peer is always online."""

    kind: Literal["none"] = "none"
    constant: ClassVar[bool] = True


class _Churn(Variant):
    """What every kind of absence says beside its times."""

    on_return: OnReturn = Field(
        "own",
        description="weights of a peer that comes back: own (as it left), fresh (new random ones) or neighbour (a copy "
        "of a neighbour's)",
    )
    leave: Leave = Field(
        "graceful",
        description="graceful: what a peer has sent before it goes offline still arrives; crash: it does not",
    )


class ExponentialChurn(_Churn):
    """Peers come and go by themselves, for exponential times: online for up / (up + down) of the time."""

    kind: Literal["exponential"] = "exponential"
    up: Stay = Field(description="mean seconds online, above 0")
    down: Stay = Field(description="mean seconds offline, above 0")
    start: Literal["long-run", "online"] = Field(
        "long-run", description="who is online at second 0: as at any later time, or all peers"
    )

    @model_validator(mode="after")
    def _positive(self) -> "ExponentialChurn":
        for field in ("up", "down"):
            value = getattr(self, field)
            if value <= 0:
                raise ValueError(
                    f"network.churn.{field}: must be above 0 seconds, got {value:g}; raise it, or set "
                    "network.churn.kind to none"
                )
        if self.up < LEAST_ONLINE * (self.up + self.down):
            raise ValueError(
                f"network.churn: peers must be online at least {LEAST_ONLINE:g} of the time, got up {self.up:g} and "
                f"down {self.down:g} seconds; raise up, or lower down"
            )
        return self

    @classmethod
    def example(cls) -> "ExponentialChurn":
        return cls(up=20, down=5)


class DiurnalChurn(_Churn):
    """Every peer is online for its own share of each period, from a moment of its own; both drawn evenly.

    Source: SACS-sim's diurnal churn (10 to 80% of 3,600 seconds).
    """

    kind: Literal["diurnal"] = "diurnal"
    period: Span = Field(3600.0, description="seconds after which a peer's presence repeats")
    low: float = Field(0.1, gt=0, le=1, description="smallest share of the period that a peer is online")
    high: float = Field(0.8, gt=0, le=1, description="largest share of the period that a peer is online")

    @model_validator(mode="after")
    def _ordered(self) -> "DiurnalChurn":
        if self.low > self.high:
            raise ValueError(
                f"network.churn.low: must be at most network.churn.high = {self.high:g}, got {self.low:g}; swap them"
            )
        return self


class TraceChurn(_Churn):
    """The intervals in which peers are online, from a file."""

    kind: Literal["trace"] = "trace"
    path: pathlib.Path = Field(
        description="CSV or Parquet file with columns peer,start,end: an interval of seconds in which the peer is "
        "online; or FedScale's client_id,active,inactive. Peers without a row are always online"
    )
    period: Span | None = Field(
        None, description="seconds after which the file repeats (FedScale: finish_time); left out: it does not"
    )

    @classmethod
    def example(cls) -> "TraceChurn":
        return cls(path=pathlib.Path("presence.csv"))


class OutageChurn(_Churn):
    """All peers of one region are offline at the same time."""

    kind: Literal["outage"] = "outage"
    region: str = Field(description="the region, as in network.latency.regions")
    start: Moment = Field(description="second at which it goes offline")
    seconds: Span = Field(description="how long it is offline")
    every: Span | None = Field(None, description="seconds from one outage to the next; left out: only one")

    @model_validator(mode="after")
    def _shorter_than_its_period(self) -> "OutageChurn":
        if self.every is not None and self.every <= self.seconds:
            raise ValueError(
                f"network.churn.every: must be above network.churn.seconds = {self.seconds:g}, got {self.every:g}; the "
                "region would never come back: raise it"
            )
        return self

    @classmethod
    def example(cls) -> "OutageChurn":
        return cls(region="eu-west-1", start=5, seconds=5)


ChurnConfig = Annotated[
    NoChurn | ExponentialChurn | DiurnalChurn | TraceChurn | OutageChurn, Field(discriminator="kind")
]
