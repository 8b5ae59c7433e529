"""Data sets that users bring: from Python, or made by a function that the config names."""

from typing import Any, ClassVar

from pydantic import Field

from peers.base.brought import Given, Imported, taken
from peers.base.brought_errors import BroughtError, explained
from peers.base.seeds import stream
from peers.data import dataset_check
from peers.data.datasets import Dataset
from peers.data.section import DataSection


class ImportedData(Imported, DataSection):
    """Data of your own: a function that returns a `Dataset`, or training images and labels (and those to test on)."""

    field: ClassVar[str] = "data"

    @classmethod
    def example(cls) -> "ImportedData":
        return cls(target="sklearn.datasets:load_wine", args={"return_X_y": True})

    def load(self, seed: int) -> Dataset:
        function = self.bring()
        arguments = taken(function, {"seed": int(stream(seed, "data").generate_state(1)[0])}, untold=0)
        with explained(self.origin):
            made = function(*arguments)
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
