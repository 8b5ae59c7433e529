"""The `[data]` section: every variant of a tagged union loads the data set that it names."""

from typing import Annotated, Literal

from pydantic import Field

from peers.base.section import Variant
from peers.base.seeds import stream
from peers.data import datasets, images, loading
from peers.data.datasets import Dataset
from peers.data.named_sets import TorchvisionKind

Size = Annotated[int, Field(ge=1, le=65536)]
ImageSize = Annotated[
    int, Field(ge=0, le=65536, description="side in pixels to which images are resized; 0: images keep their size")
]


class DataSection(Variant):
    batch_size: int = Field(
        128, ge=2, le=2**24, strict=True, description="images in a round's mini-batch, which all peers share"
    )
    flip: bool = Field(
        False,
        description="mirror each image left to right with probability 0.5, the same view for every peer (arXiv "
        "2604.18390)",
    )
    train_limit: int = Field(
        0, ge=0, strict=True, description="number of training images used, drawn by the run's seed; 0: all"
    )
    test_limit: int = Field(
        0, ge=0, strict=True, description="number of test images used, drawn by the run's seed; 0: all"
    )
    on_each_node: bool = Field(
        False,
        description="each node of a Ray cluster reads the data set itself; false: the coordinator's copy is sent to "
        "them",
    )
    validation: int = Field(
        0,
        ge=0,
        strict=True,
        description="number of training images that are held out and replace the test images, so that a search for "
        "settings never sees those; 0: the test images themselves",
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
    """A data set that torchvision knows, read from a folder or downloaded."""

    kind: TorchvisionKind
    root: str = Field("data", description="folder that holds the data set's files")
    download: bool = Field(False, description="download the data set into root where it is missing")
    image_size: ImageSize = 0

    @classmethod
    def example(cls) -> "TorchvisionData":
        return cls(kind="mnist")

    def load(self, seed: int) -> Dataset:
        dataset = self.limited(loading.load_torchvision(self.kind, self.root, self.download), seed)
        return images.resize_dataset(dataset, self.image_size)


class ParquetData(DataSection):
    """Images and labels from Parquet files: train*.parquet and test*.parquet, or one file."""

    kind: Literal["parquet"] = "parquet"
    path: str = Field(description="folder of Parquet files, or one file")
    image_column: str = Field("image", description="name of the column of images")
    label_column: str = Field("label", description="name of the column of class labels, which are whole numbers")
    image_size: ImageSize = 0
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the images held out as test images where no file is named after a test split",
    )

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
    """Random images, a mean per class plus noise: for tests and timings."""

    kind: Literal["synthetic"] = "synthetic"
    num_train: int = Field(512, ge=2, description="number of training images")
    num_test: int = Field(256, ge=2, description="number of test images")
    num_classes: int = Field(4, ge=2, description="number of classes, all of about the same size")
    shape: tuple[Size, Size, Size] = Field((1, 8, 8), description="channels, height and width of an image, in pixels")

    def load(self, seed: int) -> Dataset:
        dataset = loading.load_synthetic(
            self.num_train, self.num_test, self.num_classes, self.shape, stream(seed, "data")
        )
        return self.limited(dataset, seed)


class Given(DataSection):
    """Images and labels that `simulate` was given from Python, as a run's own config says; no file can ask for them."""

    kind: Literal["given"] = "given"
    name: str = Field(description="name of the data set")
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
