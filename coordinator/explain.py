"""From pydantic's errors to one line each: field, rule, value, what to do."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

Model = type[BaseModel]


def explain(error: ValidationError, table: dict[str, Any], root: Model) -> list[str]:
    """One line per mistake in `table`, which `root` refused."""
    return [_line(details, table, root) for details in error.errors()]


def variant_keys(root: Model, path: Sequence[str], kind: object) -> set[str]:
    """The keys that the variant `kind` of the union at `path` knows; empty if there is no such variant."""
    models = [root]
    for name in path:
        models = [each for model in models if name in model.model_fields for each in _members(model, name)]
    return {key for model in models if kind in _kinds(model) for key in model.model_fields}


def _line(details: Any, table: dict[str, Any], root: Model) -> str:
    place, models = _locate(details["loc"], table, root)
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted({name for model in models for name in model.model_fields})
        return f"{place}: no such key{nearest(str(details['loc'][-1]), known)}"
    if kind == "union_tag_invalid":
        valid = [tag.strip().strip("'") for tag in context["expected_tags"].split(", ")]
        return f"{place}.kind: '{context['tag']}' is not a kind{nearest(context['tag'], valid)}"
    if kind == "union_tag_not_found":
        valid = sorted(tag for model in models for tag in _kinds(model))
        return f"{place}.kind: missing; one of {', '.join(valid)}"
    if kind == "missing":
        return f"{place}: missing, and it has no default"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind == "value_error":
        return str(message)
    message = message[0].lower() + message[1:]
    if kind == "literal_error":
        valid = [each.strip("'") for each in context["expected"].replace(" or ", ", ").split(", ")]
        message += nearest(str(details["input"]), valid, listed=False)
    return f"{place}: {message}, got {details['input']!r}"


def nearest(word: str, valid: list[str], listed: bool = True) -> str:
    """The end of an error's line: the valid word that is meant, or all of them."""
    near = difflib.get_close_matches(word, valid, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; one of {', '.join(valid)}" if listed else ""


def _locate(loc: tuple[int | str, ...], table: Any, root: Model) -> tuple[str, list[Model]]:
    """The dotted name of a place, without pydantic's union tags, and the models that its last table may be."""
    names: list[str] = []
    models, parents = [root], [root]
    for step in loc:
        if isinstance(step, int):
            names[-1] += f"[{step}]"
            table = table[step] if isinstance(table, list) and step < len(table) else None
        elif isinstance(table, dict) and step == table.get("kind") and any(step in _kinds(model) for model in models):
            models = [model for model in models if step in _kinds(model)]
        else:
            names.append(step)
            parents = models
            models = [each for model in models if step in model.model_fields for each in _members(model, step)]
            table = table.get(step) if isinstance(table, dict) else None
    return ".".join(names) or "config", models or parents


def _members(model: Model, field: str) -> list[Model]:
    """The models that a field may hold, through unions, tuples and annotations."""
    found: list[Model] = []
    waiting: list[Any] = [model.model_fields[field].annotation]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, type) and issubclass(each, BaseModel):
            found.append(each)
        elif get_origin(each) is Annotated:
            waiting.append(get_args(each)[0])
        else:
            waiting.extend(get_args(each))
    return found


def _kinds(model: Model) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()
