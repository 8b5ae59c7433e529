"""The `[data]` section: every variant of a tagged union loads the data set that it names."""

from typing import Annotated, Literal

from pydantic import Field

from peers.base.seeds import stream
from peers.data import array_files, huggingface, image_folder, loading, resizing
from peers.data.brought import GivenData, ImportedData
from peers.data.datasets import Dataset
from peers.data.formats.named_sets import TorchvisionKind
from peers.data.formats.table_arrays import Columns
from peers.data.section import DataSection

Size = Annotated[int, Field(ge=1, le=65536)]
ImageSize = Annotated[
    int, Field(ge=0, le=65536, description="side in pixels to which images are resized; 0: images keep their size")
]
DataPath = Annotated[str, Field(description="file or folder of the data set, as its kind says")]
TestFraction = Annotated[
    float,
    Field(gt=0, lt=1, description="share of the examples held out as test examples where the files have no test split"),
]


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
        return resizing.resize_dataset(dataset, self.image_size)


class _Tables(DataSection):
    """What a table is read by."""

    image_column: str = Field(
        "image",
        description="name of the column of encoded images; or of lists of numbers of one length, which are vectors "
        "(nested lists: series, and so on)",
    )
    label_column: str = Field(
        "label", description="name of the column of class labels, which are whole numbers or text"
    )
    feature_columns: tuple[str, ...] = Field(
        (), description="names of columns of numbers, which together are vectors, instead of image_column"
    )
    image_size: ImageSize = 0
    test_fraction: TestFraction = 0.2

    @property
    def columns(self) -> Columns:
        return Columns(self.image_column, self.label_column, self.feature_columns, self.image_size)


class ParquetData(_Tables):
    """Images or vectors with labels, from Parquet or Arrow files: train*.parquet and test*.parquet, or one file.

    Arrow files (.arrow, .feather) have the same names.
    """

    kind: Literal["parquet"] = "parquet"
    path: DataPath

    @classmethod
    def example(cls) -> "ParquetData":
        return cls(path="images.parquet")

    def load(self, seed: int) -> Dataset:
        return loading.load_parquet(
            self.path,
            image_column=self.image_column,
            label_column=self.label_column,
            feature_columns=self.feature_columns,
            image_size=self.image_size,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
            test_fraction=self.test_fraction,
            seed=stream(seed, "data"),
        )


class HuggingFaceData(_Tables):
    """A folder that Hugging Face's `datasets` wrote by save_to_disk, of one split or of several."""

    kind: Literal["huggingface"] = "huggingface"
    path: DataPath

    @classmethod
    def example(cls) -> "HuggingFaceData":
        return cls(path="saved")

    def load(self, seed: int) -> Dataset:
        return huggingface.load_saved(
            self.path,
            self.columns,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
            test_fraction=self.test_fraction,
            seed=stream(seed, "data"),
        )


class ImageFolderData(DataSection):
    """Images in a folder for each class: path/train/CLASS/* and path/test/CLASS/* (or val), or path/CLASS/*."""

    kind: Literal["image-folder"] = "image-folder"
    path: DataPath
    image_size: ImageSize = 0
    test_fraction: TestFraction = 0.2

    @classmethod
    def example(cls) -> "ImageFolderData":
        return cls(path="images")

    def load(self, seed: int) -> Dataset:
        return image_folder.load_image_folder(
            self.path,
            image_size=self.image_size,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
            test_fraction=self.test_fraction,
            seed=stream(seed, "data"),
        )


class ArraysData(DataSection):
    """NumPy arrays of examples of any shape and of labels: one .npz file, or a folder of .npy files.

    They are train_images, train_labels, test_images and test_labels, or x_train, y_train, x_test and y_test; without
    those of test, a share is held out.
    """

    kind: Literal["npz"] = "npz"
    path: DataPath
    num_classes: int = Field(
        0, ge=0, strict=True, description="number of classes where some do not occur among the labels; 0: all occur"
    )
    test_fraction: TestFraction = 0.2

    @classmethod
    def example(cls) -> "ArraysData":
        return cls(path="arrays.npz")

    def load(self, seed: int) -> Dataset:
        dataset = array_files.load_arrays(
            self.path, num_classes=self.num_classes, test_fraction=self.test_fraction, seed=seed
        )
        return self.limited(dataset, seed)


class Synthetic(DataSection):
    """Random images or other arrays of pixels, a mean per class plus noise: for tests and timings."""

    kind: Literal["synthetic"] = "synthetic"
    num_train: int = Field(512, ge=2, description="number of training examples")
    num_test: int = Field(256, ge=2, description="number of test examples")
    num_classes: int = Field(4, ge=2, description="number of classes, all of about the same size")
    shape: tuple[Size, ...] = Field(
        (1, 8, 8),
        min_length=1,
        max_length=6,
        description="sizes of an example's axes: of images channels, height and width; of vectors only one size",
    )

    def load(self, seed: int) -> Dataset:
        dataset = loading.load_synthetic(
            self.num_train, self.num_test, self.num_classes, self.shape, stream(seed, "data")
        )
        return self.limited(dataset, seed)


DataConfig = Annotated[
    Digits
    | TorchvisionData
    | ParquetData
    | HuggingFaceData
    | ImageFolderData
    | ArraysData
    | Synthetic
    | ImportedData
    | GivenData,
    Field(discriminator="kind"),
]
