"""What is observed of peers on the fixed probe batch: their outputs, and what follows from features and weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.func import functional_call

from peers.exchange.config import ExchangeConfig
from peers.networks.models import Network
from peers.probing import spectra

KERNEL_UNIT = 2.0**-48  # entries are at most 1: 2^14 peers leave room in 64 bits
MAX_PAIRED = 64  # peers whose features are compared pair by pair: the time grows with their square


@dataclass(frozen=True)
class KernelSum:
    """The sum of the unit kernels of some peers' features, and how many they are; not `defined` where one is not.

    In whole numbers of `KERNEL_UNIT`, so that no split of the peers over hosts changes a bit of it.
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
        """The sum of sums, of which there is at least one."""
        values: Int64[np.ndarray, "examples examples"] = reduce(np.add, (part.values for part in parts))
        return cls(values, sum(part.count for part in parts), all(part.defined for part in parts))


@dataclass(frozen=True)
class Observation:
    """A peer's outputs on the probe batch, its features' Gram matrix, if that leaves its host, and scalars."""

    outputs: Float32[np.ndarray, "examples outputs"]
    gram: Float[np.ndarray, "examples examples"] | None
    rankme: float
    participation_ratio: float
    feature_std: float
    weight_change: float
    failed: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class Observations:
    """What several peers see of the probe batch: those of one host, or all of a run, in peer order.

    kernels: the sum of the peers' kernels where there are too many peers to compare them pair by pair; their own Gram
    matrices are None then. None also where every peer has failed.
    """

    peers: dict[int, Observation]
    kernels: KernelSum | None = None

    @classmethod
    def of_hosts(cls, hosts: Iterable["Observations"]) -> "Observations":
        """The observations of all hosts together."""
        hosts = list(hosts)
        peers = {index: seen for host in hosts for index, seen in host.peers.items()}
        kernels = [host.kernels for host in hosts if host.kernels is not None]
        return cls(dict(sorted(peers.items())), KernelSum.total(kernels) if kernels else None)


def feature_std(features: Float[Tensor, "examples dim"]) -> float:
    """Standard deviation over examples of the l2-normalised features, mean over dim, times sqrt(dim).

    1 for directions spread evenly, 0 if all examples have one direction.

    Source: Chen and He, 2021 (SimSiam), section 4.1.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5)


@torch.no_grad()
def observe(
    network: Network,
    initial: list[Tensor],
    images: Float[Tensor, "examples channel height width"],
    exchange: ExchangeConfig,
    failed: bool,
) -> Observation:
    """Outputs with the probe batch's own BatchNorm statistics, on copies of the buffers.

    So a network that was never calibrated, whose running statistics say nothing, is comparable with one that was.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    features, outputs = functional_call(network.train(), buffers, (images,))
    exchanged = exchange.exchanged(features, outputs)
    moved = sum(((new - old).double().square().sum() for new, old in zip(network.parameters(), initial, strict=True)))
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
    )


def observe_all(peers: Mapping[int, Callable[[], Observation]], grams: bool) -> Observations:
    """The observations of a host's peers, with their Gram matrices or with the sum of their kernels.

    The kernels are added up one by one: a thousand of them would be half a GiB. Peers that failed are left out.
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
