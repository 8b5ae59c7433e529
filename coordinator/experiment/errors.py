"""Turns pydantic's errors into one line each: field, rule, value, what to do."""

import datetime
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError

from coordinator.experiment.reading import shown
from coordinator.experiment.renamed import new_name

Model = type[BaseModel]

RULES = {  # prefix of pydantic's error type -> a shorter wording of the rule
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be a string",
    "tuple": "must be a list",
    "model": "must be a table",
    "dict": "must be a table",
}


class Place(NamedTuple):
    """Where a mistake is.

    name: dotted key. models: the models that its table may have. parents: the models of the table that contains it.
    written: whether the user's file has it. within: whether the user's file has the table that contains it.
    """

    name: str
    models: list[Model]
    parents: list[Model]
    written: bool
    within: bool

    @property
    def key(self) -> str:
        """The last part of the dotted name."""
        return self.name.rpartition(".")[2]

    @property
    def kinds(self) -> list[str]:
        """The kinds that its table may have."""
        return [kind for model in self.models for kind in _kinds(model)]


def explain(error: ValidationError, table: dict[str, Any], root: Model) -> list[str]:
    """One line per mistake in `table`, which failed the validation by `root`.

    A validator may copy a value to other places, such as to each group of peers: then only the place where the user
    wrote it is reported.
    """
    places = [(details, _locate(details["loc"], table, root)) for details in error.errors()]
    kept = [
        (details, place)
        for details, place in places
        if place.written or ("missing" in details["type"] and place.within)
    ] or places
    by_key: dict[str, tuple[list[Place], list[Any]]] = {}
    for details, place in kept:
        key = _table_with_missing_keys(place) if details["type"] == "missing" and not place.kinds else place.name
        same_places, mistakes = by_key.setdefault(key, ([], []))
        same_places.append(place)
        mistakes.append(details)
    return [_line(same_places, mistakes, root) for same_places, mistakes in by_key.values()]


def variant(root: Model, path: Sequence[str], kind: object) -> Model | None:
    """The model of the variant `kind` in the union at `path`; None if there is no such variant."""
    return next(iter(_of_kind(_models_at(root, path), kind)), None)


def variant_keys(root: Model, path: Sequence[str], kind: object) -> set[str]:
    """The keys of the variant `kind` in the union at `path`; empty if there is no such variant."""
    model = variant(root, path, kind)
    return set(model.model_fields) if model else set()


def takes_text(root: Model, key: str) -> bool:
    """Whether the value at a dotted key can only be a string."""
    *parents, last = key.split(".")
    models = _models_at(root, parents)
    fields = [model.model_fields[last].annotation for model in models if last in model.model_fields]
    return bool(fields) and all(map(_is_text, fields))


def unknown_key(root: Model, key: str) -> str:
    """An error line for a dotted key that no variant below `root` has; empty if the key exists."""
    models, names = [root], list[str]()
    for name in key.split("."):
        if not models:
            return f"{key}: no such key; {'.'.join(names)} is a value"
        names.append(name)
        if not any(name in model.model_fields for model in models):
            return new_name(key) or f"{key}: no such key{_nearest_key(tuple(names), models, root)}"
        models = _below(models, name)
    return ""


def nearest(word: str, valid: list[str], listed: bool = True) -> str:
    """The end of an error line: the most similar valid word, or else (if `listed`) all of them."""
    matches = difflib.get_close_matches(word, valid, n=1)
    if matches:
        return f"; did you mean '{matches[0]}'?"
    return f"; one of {', '.join(valid)}" if listed else ""


def _line(places: list[Place], mistakes: list[Any], root: Model) -> str:
    """One line about a single place, or about all keys that are missing in one table.

    Several mistakes in one place come from the members of a union, none of which fits.
    """
    where = places[0]
    place, kinds, details = where.name, where.kinds, mistakes[0]
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return new_name(place) or f"{place}: no such key{_nearest_key(details['loc'], where.parents, root)}"
    if kind == "union_tag_invalid":
        valid = [tag.strip().strip("'") for tag in context["expected_tags"].split(", ")]
        return f"{place}.kind: {shown(context['tag'])} is not a kind{nearest(context['tag'], valid)}"
    if kind == "union_tag_not_found" or (kind == "missing" and kinds):
        return f"{place}.kind: missing; one of {', '.join(kinds)}"
    if kind == "missing":
        return _missing(places)
    if kind == "value_error":
        return str(details["msg"]).removeprefix("Value error, ")
    rule = " or ".join(map(_rule, mistakes)).replace("or must be", "or")
    hint = ""
    if kind == "string_type" and isinstance(details["input"], bool | int | float | datetime.date | datetime.time):
        hint = ": put it in quotes"
    elif kind == "literal_error":
        hint = nearest(str(details["input"]), re.findall("'([^']*)'", context["expected"]), listed=False)
    elif kind.startswith("model") and kinds:
        hint = f"; did you mean {place}.kind = {details['input']!r}?" if details["input"] in kinds else ""
    return f"{place}: {rule}, got {shown(details['input'])}{hint}"


def _missing(places: list[Place]) -> str:
    """The missing keys of one table, with their meanings."""
    fields = [model.model_fields.get(place.key) for place in places for model in place.parents]
    meanings = dict.fromkeys(field.description for field in fields if field and field.description)
    names = dict.fromkeys(place.name for place in places)
    subject = "it has" if len(names) == 1 else "they have"
    return f"{', '.join(names)}: missing, and {subject} no default ({'; '.join(meanings)})"


def _table_with_missing_keys(place: Place) -> str:
    """A key under which to collect what a table lacks; it ends in a dot, so it equals no setting's name."""
    return f"{place.name.rpartition('.')[0]}."


def _rule(details: Any) -> str:
    kind = details["type"]
    if kind.endswith(("_type", "_parsing", "_from_float")):
        rule = RULES.get(kind.split("_")[0])
        if rule:
            return rule
    return re.sub(r"^\w+ should", "must", details["msg"])


def _nearest_key(loc: tuple[int | str, ...], models: list[Model], root: Model) -> str:
    """The end of an error line: the most similar key or, for a key without a section, the section that has it."""
    key = str(loc[-1])
    if len(loc) == 1 and key != "kind":
        for section in root.model_fields:
            if any(key in model.model_fields for model in _members(root, section)):
                return f"; did you mean '{section}.{key}'?"
    return nearest(key, sorted({name for model in models for name in model.model_fields}))


def _locate(loc: tuple[int | str, ...], table: Any, root: Model) -> Place:
    """Follow pydantic's location through the user's tables, skipping its labels for members of unions."""
    names: list[str] = []
    models, parents = [root], [root]
    within = True
    for step in loc:
        if isinstance(step, int):
            names[-1] += f"[{step}]"
            table = table[step] if isinstance(table, list) and step < len(table) else None
        elif len(models) > 1 and isinstance(table, dict) and step == table.get("kind", step) and _of_kind(models, step):
            models = _of_kind(models, step)
        elif not models and isinstance(table, dict) and step not in table:
            break  # the label of a number or text, where the user has written a table
        elif isinstance(table, dict) or table is None:
            names.append(step)
            parents, within = models, isinstance(table, dict)
            models = _below(models, step)
            table = table.get(step) if isinstance(table, dict) else None
    return Place(".".join(names) or "config", models, parents, table is not None, within)


def _models_at(root: Model, path: Sequence[str]) -> list[Model]:
    """The models that the table at a path of keys may have."""
    models = [root]
    for name in path:
        models = _below(models, name)
    return models


def _below(models: list[Model], name: str) -> list[Model]:
    """The models that the key `name` of these models may hold."""
    return [member for model in models if name in model.model_fields for member in _members(model, name)]


def _members(model: Model, field: str) -> list[Model]:
    """The models that a field may hold, through unions, tuples and annotations."""
    found: list[Model] = []
    waiting: list[Any] = [model.model_fields[field].annotation]
    while waiting:
        annotation = waiting.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        elif get_origin(annotation) is Annotated:
            waiting.insert(0, get_args(annotation)[0])
        else:
            waiting[:0] = get_args(annotation)
    return found


def _is_text(annotation: Any) -> bool:
    """Whether a field of this type can hold strings only, such as a Literal of strings."""
    if get_origin(annotation) is Literal:
        return all(isinstance(value, str) for value in get_args(annotation))
    return annotation in (str, Path)


def _of_kind(models: list[Model], kind: object) -> list[Model]:
    """The models that have this kind."""
    return [model for model in models if kind in _kinds(model)]


def _kinds(model: Model) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()
