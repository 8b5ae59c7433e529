"""How a peer is measured: its view of the fixed probe batch, and the probes on its features and controls."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache, reduce
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from peers.base.section import Section
from peers.base.seeds import stream, torch_seed
from peers.data import datasets
from peers.data.datasets import Dataset
from peers.exchange.config import ExchangeConfig
from peers.networks.models import Network
from peers.probing import probes, spectra

ProbeName = Literal["knn", "linear", "sgd"]
KERNEL_UNIT = 2.0**-48  # entries are at most 1: 2^14 peers leave room in 64 bits
MAX_PAIRED = 64  # peers whose features are compared pair by pair: the time grows with their square
_CHUNK = 256


class ProbeSubject(StrEnum):
    """What of a peer is probed."""

    RAW_PIXELS = "raw_pixels"  # the images themselves
    AS_IS = "as_is"  # the network as it stands, trained or not
    CALIBRATED = "calibrated"  # a copy of it that has been shown batches, forward only
    RESET = "reset"  # a copy of it with BatchNorm's buffers as they were at the start


class KNN(Section):
    """Defaults: DINO's. arXiv 2604.18390: k = 5; Random Teachers: k = 20, uniform votes, Euclidean distance."""

    k: int = Field(20, ge=1, description="number of nearest training images that vote (DINO: 20; arXiv 2604.18390: 5)")
    vote: Literal["similarity", "uniform"] = Field(
        "similarity", description="weight of a neighbour's vote: exp(similarity / temperature), or 1"
    )
    temperature: float = Field(
        0.07, gt=0, description="temperature of votes by similarity (DINO: 0.07); uniform votes use none"
    )
    metric: Literal["cosine", "euclidean"] = Field(
        "cosine", description="similarity of two images' features: the cosine, or minus the Euclidean distance"
    )


class SGDProbe(Section):
    """The linear probe of arXiv 2604.18390: plain SGD on features that are not standardised."""

    epochs: int = Field(20, ge=1, description="passes over the training images (arXiv 2604.18390: 20)")
    lr: float = Field(0.01, gt=0, description="learning rate (arXiv 2604.18390: 0.01)")
    batch_size: int = Field(128, ge=1, le=2**24, description="images in a mini-batch of the probe")


class ProbeConfig(Section):
    """The part of the `[evaluation]` section that a peer acts on."""

    probes: tuple[ProbeName, ...] = Field(
        ("knn", "linear", "sgd"),
        description="classifiers fitted to frozen features: weighted nearest neighbours, ridge regression, and the "
        "linear probe of arXiv 2604.18390",
    )
    probe_train: int = Field(
        4000, ge=10, description="number of training images that probes are fitted to, at most; drawn by the run's seed"
    )
    probe_test: int = Field(
        2000, ge=2, description="number of test images that probes are tested on, at most; drawn by the run's seed"
    )
    probe_batch: int = Field(
        256, ge=2, description="number of test images on which consensus, collapse and similarity are measured, at most"
    )
    calibration_passes: int = Field(
        100, ge=1, description="number of the run's batches shown, forward only, to the calibrated control, at most"
    )
    knn: KNN = Field(KNN(), description="settings of the knn probe")
    sgd: SGDProbe = Field(SGDProbe(), description="settings of the sgd probe")


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


@dataclass(frozen=True)
class ProbeOutcome:
    """Per probe, whether each test image is classified rightly."""

    correct: dict[ProbeName, Bool[np.ndarray, " test"]]
    seconds: float


@dataclass(frozen=True)
class ProbeImages:
    """The seeded subsets on which all peers and controls are compared."""

    train: Int64[np.ndarray, " train"]
    test: Int64[np.ndarray, " test"]
    batch: Int64[np.ndarray, " examples"]


def probe_images(dataset: Dataset, config: ProbeConfig, seed: int) -> ProbeImages:
    """Which images the probes and the consensus measures use: a function of the seed alone."""
    return _probe_images(len(dataset.train_labels), len(dataset.test_labels), config, seed)


@lru_cache(maxsize=4)  # one for all peers of a host
def _probe_images(num_train: int, num_test: int, config: ProbeConfig, seed: int) -> ProbeImages:
    def subset(available: int, limit: int, index: int) -> Int64[np.ndarray, " chosen"]:
        rng = np.random.default_rng(stream(seed, "probe-images", index))
        return np.sort(rng.permutation(available)[:limit]).astype(np.int64)

    return ProbeImages(
        subset(num_train, config.probe_train, 0),
        subset(num_test, config.probe_test, 1),
        subset(num_test, config.probe_batch, 2),
    )


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


@dataclass(frozen=True)
class ProbeTask:
    """One peer's network and the images it is probed on."""

    network: Network
    dataset: Dataset
    images: ProbeImages
    config: ProbeConfig
    seed: int
    index: int
    normalisation: datasets.Normalisation
    device: torch.device

    def correct(
        self, subject: ProbeSubject, batches: Iterable[Tensor] = ()
    ) -> dict[ProbeName, Bool[np.ndarray, " test"]]:
        """Per probe and test image, whether the class is right.

        `batches` are shown to the copy that is calibrated; of one that is reset, `network` has the buffers already.
        """
        if subject is ProbeSubject.RAW_PIXELS:
            train, test = self._pixels(train=True), self._pixels(train=False)
        else:
            network = self._calibrated(batches) if subject is ProbeSubject.CALIBRATED else self.network
            train, test = self._features(network, train=True), self._features(network, train=False)
        labels = (self._labels(train=True), self._labels(train=False))
        return {name: self._run(name, train, labels[0], test, labels[1]).cpu().numpy() for name in self.config.probes}

    def _run(
        self, name: ProbeName, train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
    ) -> Bool[Tensor, " test"]:
        classes = self.dataset.num_classes
        if name == "knn":
            options = self.config.knn.model_dump()
            train, test = probes.standardise_by(train, test)
            return probes.knn(train, train_labels, test, test_labels, classes, **options)
        if name == "linear":
            return probes.ridge(train, train_labels, test, test_labels, classes)
        generator = torch.Generator(device=self.device).manual_seed(torch_seed(self.seed, "sgd-probe", self.index))
        return probes.sgd_probe(
            train, train_labels, test, test_labels, classes, generator=generator, **self.config.sgd.model_dump()
        )

    def _calibrated(self, batches: Iterable[Tensor]) -> Network:
        network = copy.deepcopy(self.network)
        probes.calibrate_batchnorm(network, batches)
        return network

    def _raw(self, train: bool) -> UInt8[np.ndarray, "examples channel height width"]:
        source = self.dataset.train_images if train else self.dataset.test_images
        chosen: UInt8[np.ndarray, "examples channel height width"] = source[
            self.images.train if train else self.images.test
        ]
        return chosen

    def _labels(self, train: bool) -> Int64[Tensor, " examples"]:
        source = self.dataset.train_labels[self.images.train] if train else self.dataset.test_labels[self.images.test]
        return torch.from_numpy(source.copy()).to(self.device)

    def _pixels(self, train: bool) -> Float[Tensor, "examples pixels"]:
        return datasets.images_to_tensor(self._raw(train), *self.normalisation).flatten(1).to(self.device)

    @torch.no_grad()
    def _features(self, network: Network, train: bool) -> Float[Tensor, "examples features"]:
        raw = self._raw(train)
        network.eval()
        chunks = []
        for start in range(0, len(raw), _CHUNK):
            images = datasets.images_to_tensor(raw[start : start + _CHUNK], *self.normalisation).to(self.device)
            chunks.append(network.encoder(images))
        network.train()
        return torch.cat(chunks)
