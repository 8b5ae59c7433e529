"""Every number of every section has bounds: NaN, infinite, endless and senselessly small values are refused."""

import math
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from coordinator.experiment.config import RunConfig
from peers.networks.config import PeersConfig
from topologies.worlds.churn import ExponentialChurn
from topologies.worlds.loss import BernoulliLoss

# Numbers without a bound of their own, and why.
WITHOUT_LEAST = {
    "StopRule.below": "a level of any measure, some of which are negative",
    "StopRule.above": "the same",
    "PeersConfig.frozen": "indices, which are checked against peers.count",
    "Adversaries.peers": "the same",
    "Group.peers": "the same, of the network's peers",
    "PublicClasses.classes": "labels, which are checked against the data",
}
WITHOUT_LARGEST = {
    "StopRule.below": "a level of any measure",
    "StopRule.above": "the same",
    "StopRule.min_delta": "a difference of any measure: one that nothing reaches is patience without improvement",
}
BY_TABLE: dict[str, Callable[[Any], object]] = {  # numbers whose table says in its own words what to do instead
    "PeersConfig.count": lambda value: PeersConfig(count=value),
    "ExponentialChurn.up": lambda value: ExponentialChurn(up=value, down=1.0),
    "ExponentialChurn.down": lambda value: ExponentialChurn(up=1.0, down=value),
    "BernoulliLoss.probability": lambda value: BernoulliLoss(probability=value),
}


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """All sections and variants that a field of the root may hold."""
    found: dict[type[BaseModel], None] = {}

    def walk(annotation: Any) -> None:
        for part in get_args(annotation):
            walk(part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found[annotation] = None
            for field in annotation.model_fields.values():
                walk(field.annotation)

    walk(root)
    return list(found)


def numbers_in(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[type, Any]]:
    """Each number that a field may hold, alone or inside a container: float or int, and what alone checks it."""
    if annotation in (float, int):
        yield annotation, Annotated[(annotation, *metadata)] if metadata else annotation
    elif get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from numbers_in(inner, (*more, *metadata))
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from numbers_in(part, metadata)
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from numbers_in(part)


def of_field(field: FieldInfo) -> Iterator[tuple[type, Any]]:
    yield from numbers_in(field.annotation, tuple(field.metadata))


NUMBERS = [
    pytest.param(kind, checked, id=f"{model.__name__}.{name}.{place}")
    for model in models(RunConfig)
    for name, field in model.model_fields.items()
    for place, (kind, checked) in enumerate(of_field(field))
]


def refuses(checked: Callable[[Any], object], value: float) -> bool:
    try:
        checked(value)
    except ValidationError:
        return True
    return False


def test_sections__are_all_found() -> None:
    names = {model.__name__ for model in models(RunConfig)}
    assert {"RunConfig", "ResizedCrop", "IPM", "Cronus", "SinkhornTarget", "GilbertElliottLoss", "KNN"} <= names
    assert len(NUMBERS) > 150 and all(model.model_config.get("allow_inf_nan") is False for model in models(RunConfig))


@pytest.mark.parametrize(("kind", "checked"), NUMBERS)
def test_numbers__have_bounds(kind: type, checked: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id.rpartition(".")[0]
    adapter = TypeAdapter(checked, config={"allow_inf_nan": False})
    check = BY_TABLE.get(name, adapter.validate_python)
    assert all(refuses(check, value) for value in (math.nan, math.inf, -math.inf))
    assert refuses(check, kind(-1e300)) != (name in WITHOUT_LEAST), "give it a least value, or a reason for none"
    if kind is float:
        assert refuses(check, 1e300) != (name in WITHOUT_LARGEST), "give it a largest value, or a reason for none"
