"""The memory that probes need, and the refusal of probes that exceed this machine's."""

import math

from coordinator.experiment.config import RunConfig
from coordinator.planning.makes import FLOAT, GroupPlan, num_probed
from peers.base import memory
from peers.data.datasets import Dataset
from peers.data.formats.shapes import noun
from peers.probing.memory import probing_bytes
from peers.probing.remembered import MOST


def probing_needs(config: RunConfig, dataset: Dataset, groups: tuple[GroupPlan, ...]) -> tuple[int, int]:
    """The memory of a process that probes one peer's features, and of one that probes raw pixels, in bytes."""

    def needed(dim: int) -> int:
        num_train, num_test = len(dataset.train_labels), len(dataset.test_labels)
        return probing_bytes(config.evaluation, num_train, num_test, dim, dataset.num_classes)

    pixels = math.prod(dataset.shape)
    on_features = max(needed(group.feature_dim) for group in groups)
    return on_features, num_probed(config, dataset) * pixels * FLOAT + needed(pixels)


def answers_bytes(config: RunConfig, dataset: Dataset, width: int) -> int:
    """What is kept of one peer's probes: right or wrong, and its distributions.

    The coordinator has them in all conditions, the peer's host and an evaluator the last ones of `Remembered`.
    """
    evaluation = config.evaluation
    num_conditions = 4 + evaluation.reset + evaluation.recalibrated + len(evaluation.controls) + 2 * MOST
    num_test = min(evaluation.probe_test, len(dataset.test_labels))
    outputs = FLOAT * width if config.exchange.uses_labels else 0
    return num_conditions * num_test * (len(config.probe_names) + outputs)


def check_memory(config: RunConfig, dataset: Dataset, groups: tuple[GroupPlan, ...]) -> None:
    """Refuse probes that exceed this machine's memory, unless the run is on a cluster. Raises: ValueError."""
    if config.hosting.address:
        return
    images, pixels = num_probed(config, dataset), math.prod(dataset.shape)
    subject = (
        f"evaluation.probes: {images:,} {noun(dataset.shape)} of {pixels:,} values in {dataset.num_classes:,} classes"
    )
    advice = "lower evaluation.probe_train and evaluation.probe_test, or name labels with fewer classes"
    memory.require(max(probing_needs(config, dataset, groups)), subject, advice)
