"""Data that was given to `simulate` or `resume` from Python, instead of being loaded as the config says."""

from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.plan import held_out
from peers.data import dataset_check
from peers.data.config import DataSection, Given
from peers.data.dataset_check import digest_of
from peers.data.datasets import Dataset

NOT_FROM_FILE = (
    "# This file alone does not start the run again: its images and labels were given from Python.\n"
    "# simulate(load_config(FILE), dataset=...) starts it with others; resume(FOLDER, dataset=...) goes on.\n\n"
)


def take(config: RunConfig, dataset: Dataset) -> tuple[RunConfig, Dataset]:
    """The config that names this data instead of its own, and the data within the limits that the section sets.

    Raises: ConfigError.
    """
    with _in_one_line():
        dataset_check.check(dataset)
    if config.data.on_each_node:
        raise ConfigError("data.on_each_node: nodes cannot read data that is given from Python: set it to false")
    shared = {name: getattr(config.data, name) for name in DataSection.model_fields}
    section = Given(name=dataset.name, digest=digest_of(dataset).hex(), **shared)
    return config.model_copy(update={"data": section}), _within(section, dataset, config.run.seed)


def take_again(config: RunConfig, dataset: Dataset) -> Dataset:
    """The data that a run goes on with, within its limits. Raises: ConfigError, unless it is what the run was given."""
    section = config.data
    if not isinstance(section, Given):
        raise ConfigError(
            f"dataset: the run has loaded its own data ({section.kind}) and goes on with that: leave it out"
        )
    with _in_one_line():
        dataset_check.check(dataset)
    digest = digest_of(dataset).hex()
    if digest != section.digest:
        raise ConfigError(
            f"dataset: must be what the run was given ('{section.name}', SHA-256 {section.digest[:12]}), got "
            f"'{dataset.name}' with SHA-256 {digest[:12]}: give the same images and labels, or start a new run"
        )
    return _within(section, dataset, config.run.seed)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """What a data set's checks refuse is the user's mistake."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _within(section: Given, dataset: Dataset, seed: int) -> Dataset:
    with _in_one_line():
        return held_out(section.limited(dataset, seed), section, seed)
