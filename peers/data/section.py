"""The settings of `[data]` that all kinds of data sets share."""

from pydantic import Field

from peers.base.section import Variant
from peers.base.seeds import stream
from peers.data import datasets
from peers.data.datasets import Dataset
from peers.partitions.config import PartitionConfig, PublicConfig


class DataSection(Variant):
    """The settings that all data sets share."""

    batch_size: int = Field(
        128, ge=2, le=2**24, strict=True, description="examples in a round's mini-batch, which all peers share"
    )
    flip: bool = Field(
        False,
        description="mirror each image left to right with probability 0.5, the same view for every peer (arXiv "
        "2604.18390)",
    )
    train_limit: int = Field(
        0, ge=0, strict=True, description="number of training examples used, drawn by the run's seed; 0: all"
    )
    test_limit: int = Field(
        0, ge=0, strict=True, description="number of test examples used, drawn by the run's seed; 0: all"
    )
    partition: PartitionConfig | None = Field(
        None,
        description="how training examples are dealt out to the peers, whose private batches feed their own terms "
        "(exchange.supervised, exchange.self_loss); left out: all peers hold all",
    )
    public: PublicConfig | None = Field(
        None,
        description="which training examples are public, which messages are about; left out with a partition: a tenth "
        "of them, unless the section [public] names another data set",
    )
    private_batch_size: int = Field(
        0, ge=0, strict=True, description="examples in a peer's private mini-batch; 0: batch_size"
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
        description="number of training examples that are held out and replace the test ones, so that a search for "
        "settings never sees those; 0: the test examples themselves",
    )

    def limited(self, dataset: Dataset, seed: int) -> Dataset:
        """The examples that the limits leave. Raises: ValueError, if a limit is larger than the data."""
        return datasets.limit(dataset, self.train_limit, self.test_limit, stream(seed, "data", 1))
