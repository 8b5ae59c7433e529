"""How long a message is under way, without its transfer: settings of the laws; one way, in seconds."""

import pathlib
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from topologies.worlds.section import Latency, Sigma, Variant, refused

TableName = Literal["aws", "home"]
IN_TURN = (
    "places of the peers: peer 0 is in the first, peer 1 in the second, and so on in turn; or how many peers each has, "
    'in order: ["us-east-1:10", "eu-west-1:5"]'
)
MARGIN = 0.005  # seconds that the smallest latency is below the mean in SimBlock's law


class ConstantLatency(Variant):
    """Every message is under way equally long."""

    kind: Literal["constant"] = "constant"
    seconds: Latency = Field(0.0, description="seconds from sender to receiver")
    constant: ClassVar[bool] = True


class LognormalLatency(Variant):
    """A latency drawn for each message, whose logarithm is normal."""

    kind: Literal["lognormal"] = "lognormal"
    seconds: Latency = Field(0.05, description="median of the seconds from sender to receiver")
    sigma: Sigma = Field(0.3, description="sigma of the logarithm")


class ParetoLatency(Variant):
    """SimBlock's law, drawn for each message: Pareto with shape 0.2 x mean and scale mean - 5, both in milliseconds.

    Source: Aoki et al., SimBlock, 2019; the mean is the mean.
    """

    kind: Literal["pareto"] = "pareto"
    seconds: Latency = Field(0.1, description="mean of the seconds from sender to receiver, above 0.005")

    @field_validator("seconds")
    @classmethod
    def _above_the_margin(cls, seconds: float) -> float:
        if seconds <= MARGIN:
            raise refused("must be above 0.005 seconds", "the law's smallest latency is 5 ms below its mean; raise it")
        return seconds


class RegionLatency(Variant):
    """Latencies measured between regions; one way is half of a round trip."""

    kind: Literal["regions"] = "regions"
    table: TableName = Field(
        "aws",
        description="aws: median round trips between 33 AWS regions (cloudping.co, by way of commonwarexyz/monorepo); "
        "home: mean latencies between homes in north-america, europe, south-america, asia-pacific, japan and australia "
        "(SimBlock, 2019)",
    )
    regions: tuple[str, ...] = Field(description=IN_TURN)
    jitter: Sigma | None = Field(
        None,
        description="sigma of a lognormal factor of median 1, drawn for each message; left out: as measured for each "
        "pair of regions (90th percentile over median; table home: 0.05)",
    )

    @field_validator("regions")
    @classmethod
    def _some(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if not regions:
            raise refused("must name at least one region", 'such as ["us-east-1", "eu-west-1"]')
        return regions

    @classmethod
    def example(cls) -> "RegionLatency":
        return cls(regions=("us-east-1", "eu-west-1", "ap-northeast-1"))


class FileLatency(Variant):
    """Latencies from a file: a square matrix, a list of pairs, or Shadow's GML."""

    kind: Literal["file"] = "file"
    path: pathlib.Path = Field(
        description="CSV file with a square matrix (a header and, if you like, a first column of names; row: sender), "
        "CSV or Parquet file with columns from,to,ms (or from,to,seconds), or *.gml with Shadow's `latency` on its "
        "edges; peers take its places in turn, or those of `regions`"
    )
    regions: tuple[str, ...] = Field((), description=f"{IN_TURN}; left out: all places of the file in turn")
    unit: Literal["ms", "seconds"] = Field("ms", description="unit of a square matrix; others say it themselves")
    round_trip: bool | None = Field(
        None,
        description="whether the values are round trips, of which one way is half; left out: true, but false for *.gml",
    )
    jitter: Sigma = Field(0.0, description="sigma of a lognormal factor of median 1, drawn for each message")

    @classmethod
    def example(cls) -> "FileLatency":
        return cls(path=pathlib.Path("latencies.csv"))


LatencyConfig = Annotated[
    ConstantLatency | LognormalLatency | ParetoLatency | RegionLatency | FileLatency, Field(discriminator="kind")
]
OwnLatency = Annotated[ConstantLatency | LognormalLatency | ParetoLatency, Field(discriminator="kind")]
"""What a group of peers may have for itself; for a place it has `region`."""
