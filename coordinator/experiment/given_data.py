"""Data sets passed to `simulate` or `resume` from Python, instead of being loaded from the config's data section."""

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
    """Use a data set passed from Python: the config with this data in its data section, and the data cut to its limits.

    Raises: ConfigError.
    """
    with _as_config_error():
        dataset_check.check(dataset)
    if config.data.on_each_node:
        raise ConfigError("data.on_each_node: nodes cannot read data that is given from Python: set it to false")
    shared = {name: getattr(config.data, name) for name in DataSection.model_fields}
    section = Given(name=dataset.name, digest=digest_of(dataset).hex(), **shared)
    return config.model_copy(update={"data": section}), _cut_to_limits(section, dataset, config.run.seed)


def take_again(config: RunConfig, dataset: Dataset) -> Dataset:
    """The data for a resumed run, cut to its limits. Raises: ConfigError, unless it is the data of the first start."""
    section = config.data
    if not isinstance(section, Given):
        raise ConfigError(
            f"dataset: the run has loaded its own data ({section.kind}) and goes on with that: leave it out"
        )
    with _as_config_error():
        dataset_check.check(dataset)
    digest = digest_of(dataset).hex()
    if digest != section.digest:
        raise ConfigError(
            f"dataset: must be what the run was given ('{section.name}', SHA-256 {section.digest[:12]}), got "
            f"'{dataset.name}' with SHA-256 {digest[:12]}: give the same images and labels, or start a new run"
        )
    return _cut_to_limits(section, dataset, config.run.seed)


@contextmanager
def _as_config_error() -> Iterator[None]:
    """Turn a ValueError of the data checks into a ConfigError."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _cut_to_limits(section: Given, dataset: Dataset, seed: int) -> Dataset:
    with _as_config_error():
        return held_out(section.limited(dataset, seed), section, seed)
