"""Observations of peers on the fixed probe batch: their outputs, and measures of their features and weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.func import functional_call

from peers.exchange.config import ExchangeConfig
from peers.networks.network import Network
from peers.probing import spectra

KERNEL_UNIT = 2.0**-48  # entries are at most 1, so that sums of 2^14 peers fit into 64 bits
MAX_PAIRED = 64  # most peers whose features are compared pairwise: the time is quadratic


@dataclass(frozen=True)
class KernelSum:
    """The sum of the unit kernels of some peers' features, and the number of peers; `defined` if all kernels are.

    Values are integer multiples of `KERNEL_UNIT`, so that the sum does not depend on how peers are split over hosts.
    """

    values: Int64[np.ndarray, "examples examples"]
    count: int
    defined: bool

    @classmethod
    def of(cls, gram: Float[np.ndarray, "examples examples"]) -> "KernelSum":
        """The kernel of one peer's features."""
        kernel = spectra.unit_kernels(gram[None])[0]
        whole = np.rint(np.nan_to_num(kernel) / KERNEL_UNIT).astype(np.int64)
        return cls(whole, 1, bool(np.isfinite(kernel).all()))

    @classmethod
    def total(cls, parts: Sequence["KernelSum"]) -> "KernelSum":
        """The sum of one or more partial sums."""
        values: Int64[np.ndarray, "examples examples"] = reduce(np.add, (part.values for part in parts))
        return cls(values, sum(part.count for part in parts), all(part.defined for part in parts))


@dataclass(frozen=True)
class Responses:
    """A peer's features and outputs (logits) on the probe batch."""

    features: Float32[np.ndarray, "examples features"]
    outputs: Float32[np.ndarray, "examples outputs"]


@dataclass(frozen=True)
class Observation:
    """What a peer exchanges for the probe batch, scalars, and its features' Gram matrix (None if it stays in its host).

    responses: only if they are asked for.
    """

    outputs: Float32[np.ndarray, "examples outputs"]
    gram: Float[np.ndarray, "examples examples"] | None
    rankme: float
    participation_ratio: float
    feature_std: float
    weight_change: float
    failed: bool
    seconds: float = 0.0
    responses: Responses | None = None


@dataclass(frozen=True)
class Observations:
    """The observations of several peers, of one host or of the whole run, in peer order.

    kernels: the sum of the peers' kernels if there are too many peers for pairwise comparison; their Gram matrices are
    then None. kernels is also None if every peer has failed.
    """

    peers: dict[int, Observation]
    kernels: KernelSum | None = None

    @classmethod
    def of_hosts(cls, hosts: Iterable["Observations"]) -> "Observations":
        """Merge the observations of all hosts."""
        hosts = list(hosts)
        peers = {index: seen for host in hosts for index, seen in host.peers.items()}
        kernels = [host.kernels for host in hosts if host.kernels is not None]
        return cls(dict(sorted(peers.items())), KernelSum.total(kernels) if kernels else None)


def feature_std(features: Float[Tensor, "examples dim"]) -> float:
    """Standard deviation over examples of the l2-normalised features, mean over dim, times sqrt(dim).

    It is 1 for uniformly spread directions, and 0 if all examples have the same direction.

    Source: Chen and He, 2021 (SimSiam), section 4.1.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5)


@torch.no_grad()
def observe(
    network: Network,
    initial: list[Tensor],
    images: Float[Tensor, "examples *shape"],
    exchange: ExchangeConfig,
    failed: bool,
    keep: bool = False,
) -> Observation:
    """Observe a network with the probe batch's own BatchNorm statistics, on copies of its buffers.

    This makes uncalibrated networks, whose running statistics are meaningless, comparable with calibrated ones.
    keep: whether the observation contains features and outputs, of the same forward pass.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.draw_from(0)
    features, outputs = functional_call(network.train(), buffers, (images,))
    exchanged = exchange.exchanged(features, outputs)
    moved = sum(
        ((new - old).double().square().sum() for new, old in zip(network.own_parameters(), initial, strict=True))
    )
    start = sum(old.double().square().sum() for old in initial)
    grams = (features.double() @ features.double().T).cpu().numpy()[None]
    return Observation(
        outputs=exchanged.float().cpu().numpy(),
        gram=grams[0],
        rankme=float(spectra.rankme(grams)[0]),
        participation_ratio=float(spectra.participation_ratio(spectra.centre_gram(grams))[0]),
        feature_std=feature_std(features),
        weight_change=(torch.as_tensor(moved) / torch.as_tensor(start)).sqrt().item(),
        failed=failed or not bool(torch.isfinite(exchanged).all()),
        responses=Responses(_array(features), _array(outputs)) if keep else None,
    )


def _array(values: Float[Tensor, "examples dim"]) -> Float32[np.ndarray, "examples dim"]:
    """A copy of the values, which shares no memory with what they are measured by."""
    return np.array(values.float().cpu().numpy())


def observe_all(peers: Mapping[int, Callable[[], Observation]], grams: bool) -> Observations:
    """The observations of a host's peers, with their Gram matrices (`grams`) or with the sum of their kernels.

    Kernels are added one by one, because a thousand of them would take half a GiB; failed peers are not added.
    """
    seen: dict[int, Observation] = {}
    kernels: KernelSum | None = None
    for index, observe_peer in peers.items():
        observation = observe_peer()
        if not grams and observation.gram is not None:
            if not observation.failed:
                own = KernelSum.of(observation.gram)
                kernels = own if kernels is None else KernelSum.total([kernels, own])
            observation = replace(observation, gram=None)
        seen[index] = observation
    return Observations(seen, kernels)
