"""How long a computation of a peer takes: the laws, the peers' own speeds, and stragglers."""

import pathlib
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from topologies.worlds.section import Section, Sigma, StepSeconds, Variant
from topologies.worlds.table_file import device_seconds

Seconds = Float[np.ndarray, " draws"]


class _Compute(Variant, ABC):
    """A law of the seconds of a computation. node_sigma: how unequal the peers are for the whole run."""

    node_sigma: Sigma = Field(
        0.0,
        description="spread of the peers' own speeds, kept for the whole run: each peer's times are multiplied by a "
        "lognormal factor of median 1 with this sigma (0: all equally fast; FedScale's phones: about 0.6)",
    )

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        """Independent draws, before a peer's own factor."""

    def factors(self, num_peers: int) -> Float[np.ndarray, " peers"]:
        """What the draws of each peer are multiplied by, beside its speed. Raises: ValueError."""
        return np.ones(num_peers)


class ConstantCompute(_Compute):
    """Every computation takes equally long."""

    kind: Literal["constant"] = "constant"
    seconds: StepSeconds = Field(1.0, description="seconds of a computation")
    constant: ClassVar[bool] = True

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        return np.full(count, self.seconds)


class LognormalCompute(_Compute):
    """Seconds whose logarithm is normal: most computations are near the median, a few take much longer."""

    kind: Literal["lognormal"] = "lognormal"
    seconds: StepSeconds = Field(1.0, description="median of the seconds of a computation")
    sigma: Sigma = Field(0.1, description="sigma of the logarithm, drawn for each computation: 0.1 cluster, 0.6 phones")

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        return self.seconds * rng.lognormal(0.0, self.sigma, count)


class ExponentialCompute(_Compute):
    """Exponential seconds, without memory: the law of most closed forms."""

    kind: Literal["exponential"] = "exponential"
    seconds: StepSeconds = Field(1.0, description="mean of the seconds of a computation")

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        return rng.exponential(self.seconds, count)


class ParetoCompute(_Compute):
    """Pareto seconds: a power law, whose rare computations take longest of all."""

    kind: Literal["pareto"] = "pareto"
    seconds: StepSeconds = Field(1.0, description="mean of the seconds of a computation")
    shape: float = Field(3.0, gt=1, le=1000, description="exponent of the tail; the smaller, the longer the rare ones")

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        smallest = self.seconds * (self.shape - 1) / self.shape
        return smallest * (1 + rng.pareto(self.shape, count))


class TraceCompute(_Compute):
    """The peers' own times, from a file of devices."""

    kind: Literal["trace"] = "trace"
    path: pathlib.Path = Field(
        description="CSV or Parquet file with a row for each device and a column `seconds` (of a computation), or "
        "FedScale's `computation` (milliseconds a sample); peers take rows in turn"
    )
    samples: int | None = Field(
        None, ge=1, description="samples of a computation, such as data.batch_size; required by a column computation"
    )
    sigma: Sigma = Field(0.0, description="sigma of a lognormal factor of median 1, drawn for each computation")

    def draw(self, rng: np.random.Generator, count: int) -> Seconds:
        return rng.lognormal(0.0, self.sigma, count) if self.sigma else np.ones(count)

    def factors(self, num_peers: int) -> Float[np.ndarray, " peers"]:
        seconds = device_seconds(self.path, self.samples)
        return seconds[np.arange(num_peers) % len(seconds)]

    @classmethod
    def example(cls) -> "TraceCompute":
        return cls(path=pathlib.Path("devices.csv"))


ComputeConfig = Annotated[
    ConstantCompute | LognormalCompute | ExponentialCompute | ParetoCompute | TraceCompute, Field(discriminator="kind")
]


class Stragglers(Section):
    """Some peers, drawn by the seed, that are slow for the whole run."""

    share: float = Field(0.0, ge=0, lt=1, description="share of the peers that are slow, rounded to whole peers")
    slowdown: float = Field(10.0, ge=1, le=1e6, description="by how much their computations take longer")

    def count(self, num_peers: int) -> int:
        """How many of the peers are slow: at least one if the share is not 0."""
        return max(1, round(self.share * num_peers)) if self.share else 0

    def factors(self, num_peers: int, rng: np.random.Generator) -> Float[np.ndarray, " peers"]:
        """1 for most peers, `slowdown` for those drawn."""
        factors = np.ones(num_peers)
        factors[rng.permutation(num_peers)[: self.count(num_peers)]] = self.slowdown
        return factors
