"""Data sets that users bring: from Python, or made by a function that the config names."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from peers.base.brought import Given, Imported, taken
from peers.base.brought_errors import BroughtError, explained
from peers.base.seeds import stream
from peers.data import dataset_check
from peers.data.datasets import Dataset
from peers.data.section import DataSection

SEEDS = ("seed", "random_state")  # names of a parameter for a seed; the second is scikit-learn's


class ImportedData(Imported, DataSection):
    """Data of your own: a function that returns a `Dataset`, or training images and labels (and those to test on).

    It is called with `args`, and with an integer below 2^32 that follows from the run's seed if it asks for one: by a
    first parameter without default, or one that is named `seed` or `random_state`.
    """

    field: ClassVar[str] = "data"

    @classmethod
    def example(cls) -> "ImportedData":
        return cls(target="sklearn.datasets:load_wine", args={"return_X_y": True})

    def load(self, seed: int) -> Dataset:
        function = self.bring()
        drawn = int(stream(seed, "data").generate_state(1)[0])
        arguments = taken(function, {"seed": drawn}, untold=0)
        named = {} if arguments else _asked_by_name(function, drawn, self.args)
        with explained(self.origin):
            made = function(*arguments, **named)
        dataset = made if isinstance(made, Dataset) else self._from_arrays(made, seed)
        dataset_check.check(dataset)
        return self.limited(dataset, seed)

    def _from_arrays(self, made: object, seed: int) -> Dataset:
        if not isinstance(made, tuple | list) or len(made) not in (2, 4):
            raise BroughtError(
                f"{self.origin}: must return a Dataset, or images and labels to train on (and images and labels to "
                f"test on), got a {type(made).__name__}"
            )
        return Dataset.from_arrays(*made, name=self.target.rpartition(":")[2], seed=seed)


def _asked_by_name(function: Any, seed: int, args: Mapping[str, Any]) -> dict[str, int]:
    """The seed as a keyword argument, if the function has one for it that the config does not give."""
    try:
        names = inspect.signature(function).parameters.keys()
    except (TypeError, ValueError):  # built-in functions may have no signature
        return {}
    return {name: seed for name in SEEDS if name in names and name not in args}


class GivenData(Given, DataSection):
    """Images and labels that were given from Python, as a run's own config says; no file can ask for them."""

    field: ClassVar[str] = "data"
    argument: ClassVar[str] = "data"
    name: str = Field(description="name of the data set")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its examples and labels")

    @classmethod
    def example(cls) -> "GivenData":
        return cls(name="mine", digest="0" * 64)

    @classmethod
    def name_of(cls, value: Any) -> str:
        dataset_check.check(value)
        return str(value.name)

    @classmethod
    def digest_of(cls, value: Any) -> str:
        return dataset_check.digest_of(value).hex()

    def load(self, seed: int) -> Dataset:
        return self.limited(self.bring(), seed)
