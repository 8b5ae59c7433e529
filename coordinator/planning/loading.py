"""Loads the data of a run: its own images and labels, and the other data sets that its sections name."""

import re
from collections.abc import Mapping
from dataclasses import replace

from coordinator.experiment.config import RunConfig
from peers.base.seeds import stream
from peers.data.config import DataConfig
from peers.data.datasets import Dataset, hold_out
from peers.data.other_sets import fitted


def load_data(config: RunConfig) -> Dataset:
    """Load the images and labels of a run, with its other data sets. Raises: ValueError."""
    return load_sections(config.data, config.run.seed, config.other_data)


def load_sections(data: DataConfig, seed: int, others: Mapping[str, DataConfig]) -> Dataset:
    """`load_data`, given only the sections of data and the run's seed. Raises: ValueError."""
    return with_others(held_out(data.load(seed), data, seed), seed, others)


def with_others(dataset: Dataset, seed: int, others: Mapping[str, DataConfig]) -> Dataset:
    """The data set with others, by the section that names them, in the form of its examples. Raises: ValueError."""
    if not others and not dataset.others:
        return dataset
    return replace(dataset, others={name: _other(name, section, seed, dataset) for name, section in others.items()})


def _other(name: str, section: DataConfig, seed: int, dataset: Dataset) -> Dataset:
    try:
        return fitted(section.load(seed), dataset, name)
    except ValueError as error:  # whose line may name the setting as if it were one of `data`
        raise ValueError(re.sub(r"\bdata\.(?=[a-z_]+:)", f"{name}.", str(error))) from None


def held_out(dataset: Dataset, data: DataConfig, seed: int) -> Dataset:
    """If `data.validation` is set, replace the test images by held-out training images. Raises: ValueError."""
    return hold_out(dataset, data.validation, stream(seed, "data", 2)) if data.validation else dataset
