"""Runs the probes on the features of a peer and of its controls, on fixed subsets of the images."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from peers.base.brought_errors import of_peer
from peers.base.precision import autocast
from peers.base.seeds import stream, torch_seed
from peers.data.datasets import Dataset
from peers.networks.network import Network, OwnHead
from peers.probing import probes
from peers.probing.config import TOP1, FittedProbe, ProbeConfig, ProbeName
from peers.probing.forwards import CHUNK, chunk_of, in_chunks


class ProbeSubject(StrEnum):
    """The version of a peer that is probed: the peer itself, or one of its controls."""

    RAW_PIXELS = "raw_pixels"  # the images themselves
    AS_IS = "as_is"  # the network as it stands, trained or not
    CALIBRATED = "calibrated"  # a copy that has been shown batches, forward only
    RESET = "reset"  # a copy with BatchNorm's buffers as they were at the start
    RECALIBRATED = "recalibrated"  # a reset copy that has then been shown batches, forward only


SHOWN_BATCHES = (ProbeSubject.CALIBRATED, ProbeSubject.RECALIBRATED)


@dataclass(frozen=True)
class ClassProbabilities:
    """The outputs on the test images as distributions (softmax at temperature 1), and the images' classes.

    values: of one peer, or of several along a first axis.
    """

    values: Float32[np.ndarray, "*peers test outputs"]
    labels: Int64[np.ndarray, " test"]

    @property
    def correct(self) -> Bool[np.ndarray, "*peers test"]:
        """Whether each image's most probable output is its class."""
        right: Bool[np.ndarray, "*peers test"] = self.values.argmax(axis=-1) == self.labels
        return right

    @classmethod
    def stack(cls, peers: Sequence["ClassProbabilities"]) -> "ClassProbabilities":
        """Those of several peers, of the same test images."""
        return cls(np.stack([peer.values for peer in peers]), peers[0].labels)

    def ensemble(self, peers: Sequence[int]) -> "ClassProbabilities":
        """The mean of some peers' distributions."""
        return ClassProbabilities(self.values[list(peers)].mean(axis=0), self.labels)


@dataclass(frozen=True)
class ProbeOutcome:
    """For each probe, whether each test image is classified correctly.

    probabilities: of the probe `top1`, for the accuracy of several peers together; None without that probe.
    """

    correct: dict[ProbeName, Bool[np.ndarray, " test"]]
    seconds: float = 0.0
    probabilities: ClassProbabilities | None = None


@dataclass(frozen=True)
class ProbeImages:
    """The seeded subsets on which all peers and controls are compared."""

    train: Int64[np.ndarray, " train"]
    test: Int64[np.ndarray, " test"]
    batch: Int64[np.ndarray, " examples"]


def probe_images(dataset: Dataset, config: ProbeConfig, seed: int) -> ProbeImages:
    """The images that the probes and the consensus measures use: a function of the seed only."""
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


Look = Callable[[np.ndarray, int], Tensor]
"""What a network gets of raw values; the number is the index of the first of them among all images of a probe."""


@dataclass(frozen=True)
class ProbeTask:
    """One peer's network, the images it is probed on, and how it looks at them."""

    network: Network
    dataset: Dataset
    images: ProbeImages
    config: ProbeConfig
    seed: int
    index: int
    look: Look
    device: torch.device
    labels: bool = False  # whether the network learns from labels, so that its own outputs are probed too

    def of_pixels(self) -> ProbeOutcome:
        """For each probe and test image, whether the predicted class is correct, on the images themselves."""
        return ProbeOutcome(dict(self._answers(self._pixels(train=True), self._pixels(train=False))))

    def of_network(self, network: Network) -> ProbeOutcome:
        """The same on a network's features; `network`: as given, or calibrated."""
        with of_peer(self.index):
            test = self._features(network, train=False)
            fits = bool(self.config.probes)  # the network's own outputs need no training images
            train = self._features(network, train=True) if fits else test[:0]
            probabilities = self._probabilities(network, test) if self.labels else None
        correct: dict[ProbeName, Bool[np.ndarray, " test"]] = dict(self._answers(train, test))
        if probabilities is not None:
            correct[TOP1] = probabilities.correct
        return ProbeOutcome(correct, probabilities=probabilities)

    def calibrated(self, batches: Iterable[Tensor]) -> Network:
        """A copy of the network that was shown batches; the network itself, if it has nothing to calibrate."""
        if not probes.has_batchnorm(self.network):
            return self.network
        with of_peer(self.index):
            network = copy.deepcopy(self.network)
            probes.calibrate_batchnorm(network, batches, self.config.precision)
        return network

    def _answers(
        self, train: Float[Tensor, "train dim"], test: Float[Tensor, "test dim"]
    ) -> Iterator[tuple[FittedProbe, Bool[np.ndarray, " test"]]]:
        """Each probe and which test images it classifies correctly; features are standardised once for all probes."""
        scaled: tuple[Tensor, Tensor] | None = None
        for name in self.config.probes:
            if self.config.standardises(name):
                scaled = scaled or probes.standardise_by(train, test)
                correct = self._run(name, *scaled)
            else:
                correct = self._run(name, train, test)
            yield name, correct.cpu().numpy()

    def _run(
        self, name: FittedProbe, train: Float[Tensor, "train dim"], test: Float[Tensor, "test dim"]
    ) -> Bool[Tensor, " test"]:
        """train, test: standardised already, if the probe wants that."""
        sets = (train, self._labels(train=True), test, self._labels(train=False), self.dataset.num_classes)
        if name == "knn":
            return probes.knn(*sets, **{**self.config.knn.model_dump(), "standardise": False})
        if name == "linear":
            return probes.ridge(*sets, standardise=False)
        generator = torch.Generator(device=self.device).manual_seed(torch_seed(self.seed, "sgd-probe", self.index))
        return probes.sgd_probe(*sets, generator=generator, **self.config.sgd.model_dump())

    def _raw(self, train: bool) -> UInt8[np.ndarray, "examples *shape"] | Float32[np.ndarray, "examples *shape"]:
        source = self.dataset.train_images if train else self.dataset.test_images
        chosen: np.ndarray = source[self.images.train if train else self.images.test]
        return chosen

    def _before(self, train: bool) -> int:
        """The index of the first image for `look`: no test image has a training image's noise."""
        return 0 if train else len(self.images.train)

    def _labels(self, train: bool) -> Int64[Tensor, " examples"]:
        source = self.dataset.train_labels[self.images.train] if train else self.dataset.test_labels[self.images.test]
        return torch.from_numpy(source.copy()).to(self.device)

    def _pixels(self, train: bool) -> Float[Tensor, "examples pixels"]:
        return self.look(self._raw(train), self._before(train)).flatten(1).to(self.device)

    @torch.no_grad()
    def _features(self, network: Network, train: bool) -> Float[Tensor, "examples features"]:
        network.eval()
        network.draw_from(0)
        features = self._of_all(network, network.features, train)
        network.train()
        return features

    def _of_all(self, network: Network, function: Callable[[Tensor], Tensor], train: bool) -> Tensor:
        raw, before = self._raw(train), self._before(train)

        def of_chunk(start: int, stop: int) -> Tensor:
            images = self.look(raw[start:stop], before + start).to(self.device)
            with autocast(self.device, self.config.precision):
                return function(images).float()

        # what others have written may count on how many images it gets
        chunk = CHUNK if network.origin else chunk_of(network.encoder, math.prod(raw.shape[2:]), self.device)
        return in_chunks(of_chunk, len(raw), chunk)

    @torch.no_grad()
    def _probabilities(self, network: Network, features: Float[Tensor, "test features"]) -> ClassProbabilities:
        network.eval()
        if isinstance(network.head, OwnHead):
            outputs = self._of_all(network, lambda images: network(images)[1], train=False)
        else:
            with autocast(self.device, self.config.precision):
                outputs = torch.cat([network.head(part).float() for part in torch.split(features, CHUNK)])
        network.train()
        return ClassProbabilities(
            torch.softmax(outputs, dim=1).cpu().numpy(), self.dataset.test_labels[self.images.test].astype(np.int64)
        )
