"""Every kind of every union of peers: its example is valid, and survives a pickle and an experiment file unchanged."""

import pickle
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from peers.base.section import Section, Variant, examples, kinds, variants
from peers.data.config import DataConfig
from peers.data.formats.named_sets import TorchvisionKind
from peers.exchange.losses import LossConfig
from peers.exchange.targets import TargetConfig
from peers.networks.optimizers import OptimizerConfig
from peers.networks.variants import HeadConfig, ModelConfig
from peers.partitions.config import PartitionConfig, PublicConfig

UNIONS = {
    "models": ModelConfig,
    "heads": HeadConfig,
    "optimizers": OptimizerConfig,
    "data": DataConfig,
    "targets": TargetConfig,
    "losses": LossConfig,
    "partitions": PartitionConfig,
    "public": PublicConfig,
}
EXAMPLES = [(union, each) for union in UNIONS.values() for each in examples(union)]


class Plain(Variant):
    kind: Literal["plain"] = "plain"


class Either(Variant):
    kind: Literal["this", "that"]
    size: int

    @classmethod
    def example(cls) -> "Either":
        return cls(kind="this", size=3)


def test_examples__one_of_every_kind_with_what_has_no_default() -> None:
    union = Annotated[Plain | Either, Field(discriminator="kind")]
    assert variants(union) == (Plain, Either)
    assert [kinds(variant) for variant in variants(union)] == [("plain",), ("this", "that")]
    assert examples(union) == [Plain(), Either(kind="this", size=3), Either(kind="that", size=3)]


@pytest.mark.parametrize("name", UNIONS)
def test_unions__every_member_is_a_variant_and_no_kind_stands_twice(name: str) -> None:
    found = [each.kind for each in examples(UNIONS[name])]
    assert len(found) == len(set(found)) >= 3
    assert all(issubclass(variant, Variant) for variant in variants(UNIONS[name]))


def test_unions__known_kinds() -> None:
    """The names of an experiment file, which scripts rely on; a new one need not be added here."""
    found = {name: {each.kind for each in examples(union)} for name, union in UNIONS.items()}
    assert found["losses"] >= {"mse", "salient", "cosine", "kl", "cross-entropy", "js"}
    assert found["targets"] >= {"none", "centre", "standardise", "sinkhorn"}
    assert found["partitions"] >= {"iid", "dirichlet", "classes", "quantity", "file"}
    assert found["optimizers"] >= {"sgd", "adam", "adamw"}
    assert found["heads"] >= {"none", "linear", "prototypes", "bottleneck"}
    assert found["models"] >= {"paper-cnn", "small-cnn", "mlp", "resnet18", "vgg11", "densenet121"}
    assert found["data"] >= {"digits", "parquet", "synthetic", "given", *TorchvisionKind.__args__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("union", "example"), EXAMPLES, ids=lambda each: getattr(each, "kind", ""))
def test_example__goes_through_a_pickle_and_a_table_unchanged(union: Any, example: Section) -> None:
    """A peer's process gets its settings pickled; a run that is resumed reads them from its own file."""
    assert pickle.loads(pickle.dumps(example)) == example
    assert TypeAdapter(union).validate_python(example.model_dump(mode="json")) == example
