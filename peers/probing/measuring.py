"""How a peer is measured: its view of the fixed probe batch, and the probes on its features and controls."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
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
ProbeSubject = Literal["pixels", "as-is", "calibrated", "reset"]
KERNEL_UNIT = 2.0**-48  # entries are at most 1: 2^14 peers leave room in 64 bits
MAX_PAIRED = 64  # peers whose features are compared pair by pair: the time grows with their square
_CHUNK = 256


class KNN(Section):
    """Defaults: DINO's. The paper's: k = 5; Random Teachers': k = 20, uniform votes, euclidean."""

    k: int = Field(20, ge=1)
    vote: Literal["similarity", "uniform"] = "similarity"
    temperature: float = Field(0.07, gt=0)
    metric: Literal["cosine", "euclidean"] = "cosine"


class SGDProbe(Section):
    """The paper's probe: 20 epochs at 0.01 on features that are not standardised."""

    epochs: int = Field(20, ge=1)
    lr: float = Field(0.01, gt=0)
    batch_size: int = Field(128, ge=1, le=2**24)


class ProbeConfig(Section):
    """The part of the `[evaluation]` section that a peer acts on."""

    probes: tuple[ProbeName, ...] = ("knn", "linear", "sgd")
    probe_train: int = Field(4000, ge=10, description="at most so many training images, a seeded subset")
    probe_test: int = Field(2000, ge=2, description="at most so many test images")
    probe_batch: int = Field(256, ge=2, description="test images for consensus, collapse and similarity")
    calibration_passes: int = Field(100, ge=1, description="of the calibrated control: at most so many forward passes")
    knn: KNN = KNN()
    sgd: SGDProbe = SGDProbe()


@dataclass(frozen=True)
class KernelSum:
    """The sum of the unit kernels of some peers' features, and how many they are; not `defined` where one is not.

    In whole numbers of `KERNEL_UNIT`, so that no split of the peers over hosts changes a bit of it.
    """

    values: Int64[np.ndarray, "examples examples"]
    count: int
    defined: bool


@dataclass(frozen=True)
class Observation:
    """A peer's outputs on the probe batch, what its features' Gram matrix tells, and three scalars.

    With many peers Gram matrices stay at their hosts, and one peer of a host carries the sum of its kernels.
    """

    outputs: Float32[np.ndarray, "examples outputs"]
    gram: Float[np.ndarray, "examples examples"] | None
    rankme: float
    participation_ratio: float
    feature_std: float
    weight_change: float
    failed: bool
    seconds: float = 0.0
    kernels: KernelSum | None = None


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


def observe_all(peers: Iterable[Callable[[], Observation]], grams: bool) -> list[Observation]:
    """The observations of a host's peers; without `grams` the first one carries the sum of all their kernels.

    The matrices are summed as they come: a thousand of them would be half a GiB. Peers that failed are left out.
    """
    seen: list[Observation] = []
    values, count, defined = None, 0, True
    for observe_one in peers:
        each = observe_one()
        if not grams and each.gram is not None:
            if not each.failed:
                kernel = spectra.unit_kernels(each.gram[None])[0]
                whole = np.rint(np.nan_to_num(kernel) / KERNEL_UNIT).astype(np.int64)
                values = whole if values is None else values + whole
                count, defined = count + 1, defined and bool(np.isfinite(kernel).all())
            each = replace(each, gram=None)
        seen.append(each)
    if values is not None:
        seen[0] = replace(seen[0], kernels=KernelSum(values, count, defined))
    return seen


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

        `pixels` probes the images themselves, `calibrated` a copy of the network that has been shown `batches`, forward
        only; the others the network as it stands with its own BatchNorm buffers.
        """
        if subject == "pixels":
            train, test = self._pixels(train=True), self._pixels(train=False)
        else:
            network = self._calibrated(batches) if subject == "calibrated" else self.network
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
