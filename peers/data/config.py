"""The `[data]` section: every variant of a tagged union loads the data set that it names."""

from typing import Annotated, Literal

from pydantic import Field

from peers.base.section import Variant
from peers.base.seeds import stream
from peers.data import datasets, loading
from peers.data.datasets import Dataset
from peers.data.named_sets import TorchvisionKind

Size = Annotated[int, Field(ge=1, le=65536)]


class DataSection(Variant):
    batch_size: int = Field(128, ge=2, le=2**24, strict=True)
    flip: bool = Field(False, description="horizontal flips, p = 0.5, the same view for every peer")
    train_limit: int = Field(0, ge=0, strict=True, description="a seeded subset of so many images; 0: all")
    test_limit: int = Field(0, ge=0, strict=True)
    on_each_node: bool = Field(
        False,
        description="every node of a Ray cluster reads its own copy; false: the object store carries the coordinator's",
    )
    validation: int = Field(
        0,
        ge=0,
        strict=True,
        description="so many training images stand in for the test images: a search never sees those",
    )

    def limited(self, dataset: Dataset, seed: int) -> Dataset:
        """The images that the limits leave. Raises: ValueError, if a limit is larger than the data."""
        return datasets.limit(dataset, self.train_limit, self.test_limit, stream(seed, "data", 1))


class Digits(DataSection):
    """scikit-learn's 1,797 digits of 8x8 pixels, which need no download."""

    kind: Literal["digits"] = "digits"

    def load(self, seed: int) -> Dataset:
        dataset = loading.load_digits(stream(seed, "data"))
        return self.limited(dataset, seed)


class TorchvisionData(DataSection):
    kind: TorchvisionKind
    root: str = "data"
    download: bool = False

    @classmethod
    def example(cls) -> "TorchvisionData":
        return cls(kind="mnist")

    def load(self, seed: int) -> Dataset:
        dataset = loading.load_torchvision(self.kind, self.root, self.download)
        return self.limited(dataset, seed)


class ParquetData(DataSection):
    kind: Literal["parquet"] = "parquet"
    path: str
    image_column: str = "image"
    label_column: str = "label"
    image_size: int = Field(0, ge=0, le=65536, description="resize to so many pixels a side; 0: as they are")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="held out where the files name no test split")

    @classmethod
    def example(cls) -> "ParquetData":
        return cls(path="images.parquet")

    def load(self, seed: int) -> Dataset:
        return loading.load_parquet(
            self.path,
            image_column=self.image_column,
            label_column=self.label_column,
            image_size=self.image_size,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
            test_fraction=self.test_fraction,
            seed=stream(seed, "data"),
        )


class Synthetic(DataSection):
    """Noisy class means: for tests and timings."""

    kind: Literal["synthetic"] = "synthetic"
    num_train: int = Field(512, ge=2)
    num_test: int = Field(256, ge=2)
    num_classes: int = Field(4, ge=2)
    shape: tuple[Size, Size, Size] = (1, 8, 8)

    def load(self, seed: int) -> Dataset:
        dataset = loading.load_synthetic(
            self.num_train, self.num_test, self.num_classes, self.shape, stream(seed, "data")
        )
        return self.limited(dataset, seed)


class Given(DataSection):
    """Images and labels that `simulate` was given from Python, as a run's own config says; no file can ask for them."""

    kind: Literal["given"] = "given"
    name: str = Field(description="what the data set calls itself")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its images and labels")

    @classmethod
    def example(cls) -> "Given":
        return cls(name="mine", digest="0" * 64)

    def load(self, seed: int) -> Dataset:
        raise ValueError(
            f"data.kind: 'given' means images that were given from Python ('{self.name}', SHA-256 {self.digest[:12]}), "
            "which no file holds: go on with resume(RUN, dataset=...), or start anew with simulate(..., dataset=...)"
        )


DataConfig = Annotated[Digits | TorchvisionData | ParquetData | Synthetic | Given, Field(discriminator="kind")]
