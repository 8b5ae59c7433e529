"""The part of the `[evaluation]` section that peers use: which probes, on how many images."""

from typing import Literal

from pydantic import Field

from peers.base.section import Section, Temperature

FittedProbe = Literal["knn", "linear", "sgd"]
"""The probes that can be chosen: classifiers fitted to frozen features."""

ProbeName = Literal["knn", "linear", "sgd", "top1"]
"""All probes; `top1` is the accuracy of a peer's own outputs, which peers that learn from labels have as well."""

TOP1: ProbeName = "top1"


class KNN(Section):
    """k, votes and metric: DINO's. DINO's own probe: `standardise = false`, the other defaults.

    With raw features: arXiv 2604.18390, k = 5 and uniform votes; Random Teachers, k = 20, uniform votes and Euclidean
    distance.
    """

    k: int = Field(20, ge=1, description="number of nearest training images that vote (DINO: 20; arXiv 2604.18390: 5)")
    vote: Literal["similarity", "uniform"] = Field(
        "similarity", description="weight of a neighbour's vote: exp(similarity / temperature), or 1"
    )
    temperature: Temperature = Field(
        0.07, description="temperature of votes by similarity (DINO: 0.07); uniform votes use none"
    )
    metric: Literal["cosine", "euclidean"] = Field(
        "cosine", description="similarity of two images' features: the cosine, or minus the Euclidean distance"
    )
    standardise: bool = Field(
        True,
        description="scale each feature by its mean and deviation over the training images first; DINO, Random "
        "Teachers and arXiv 2604.18390 take raw features: false. Calibrated networks scored higher if standardised: by "
        "1.9 points on digits, 0.7 on Fashion-MNIST, no difference found on CIFAR-10 (configs/findings/knn.toml)",
    )


class SGDProbe(Section):
    """The linear probe of arXiv 2604.18390: plain SGD on features that are not standardised."""

    epochs: int = Field(20, ge=1, description="passes over the training images (arXiv 2604.18390: 20)")
    lr: float = Field(0.01, gt=0, le=1e3, description="learning rate (arXiv 2604.18390: 0.01)")
    batch_size: int = Field(128, ge=1, le=2**24, description="images in a mini-batch of the probe")


class ProbeConfig(Section):
    """The part of the `[evaluation]` section that a peer acts on."""

    probes: tuple[FittedProbe, ...] = Field(
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
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of networks' forward passes in probes and their controls; bfloat16 is two to three "
        "times as fast for paper-cnn on CPUs that have it; the probes themselves and raw pixels are float32 in both",
    )
    knn: KNN = Field(KNN(), description="settings of the knn probe")
    sgd: SGDProbe = Field(SGDProbe(), description="settings of the sgd probe")

    def standardises(self, name: FittedProbe) -> bool:
        """Whether a probe gets features that are scaled by the training images."""
        return name == "linear" or (name == "knn" and self.knn.standardise)

    def names(self, labels: bool) -> tuple[ProbeName, ...]:
        """The probes of a peer; `labels`: whether it learns from labels, so that its outputs are classes."""
        return (*self.probes, TOP1) if labels else self.probes
