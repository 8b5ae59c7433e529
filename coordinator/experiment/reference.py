"""Every key of the experiment file with meaning, allowed values and default, read off the models themselves."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coordinator.experiment.errors import Model
from coordinator.experiment.reading import ConfigError
from coordinator.experiment.renamed import new_name

LEFT_OUT = "left out"  # the default of a key that has no value then
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Key:
    """One key. default: as TOML; empty where it is required. kinds: the kinds of its table with it; empty: all."""

    name: str
    description: str
    allowed: str
    default: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """The kinds, most often a single one, that have all their keys in common."""

    kinds: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Table:
    """A section, or a table below one. default: as TOML, of a table with kinds; empty where it is required."""

    name: str
    description: str
    default: str
    variants: tuple[Variant, ...]
    entries: "tuple[Table | Key, ...]"
    kinds: tuple[str, ...] = ()


def tables(root: Model) -> tuple[Table, ...]:
    """The sections of an experiment file, in their order."""
    schema = root.model_json_schema()
    reader = _Reader(schema["$defs"])
    found = [reader.entry(name, each, name in schema["required"]) for name, each in schema["properties"].items()]
    return tuple(each for each in found if isinstance(each, Table))


def walk(entries: "tuple[Table | Key, ...]") -> "Iterator[Table | Key]":
    """All tables and keys, each table before what it holds."""
    for each in entries:
        yield each
        if isinstance(each, Table):
            yield from walk(each.entries)


def find(sections: tuple[Table, ...], name: str) -> list[Table | Key]:
    """What a dotted name stands for: a table, a key, or a kind, which is given as the table with that kind alone.

    A name may be a key and a kind at once, such as topology.path. Raises: ConfigError, with the nearest name.
    """
    name = name.partition("=")[0].strip().strip("[]").removesuffix(".kind")
    found: list[Table | Key] = []
    for each in walk(sections):
        if _plain(each.name) == _plain(name):
            found.append(each)
        elif isinstance(each, Table) and name.startswith(f"{each.name}."):
            found += _of_kind(each, name.removeprefix(f"{each.name}."))
    if not found:
        raise ConfigError(new_name(name) or f"config: {name!r} is no key{_nearest(sections, name)}")
    return found


def names(sections: tuple[Table, ...]) -> list[str]:
    """Every name that `find` knows."""
    found = []
    for each in walk(sections):
        found.append(_plain(each.name))
        if isinstance(each, Table):
            found += [f"{each.name}.{kind}" for variant in each.variants for kind in variant.kinds]
    return list(dict.fromkeys(found))


def _of_kind(table: Table, kind: str) -> list[Table | Key]:
    """The table as one of its kinds has it; empty if it has no such kind."""
    variants = [variant for variant in table.variants if kind in variant.kinds]
    entries = tuple(each for each in table.entries if not each.kinds or kind in each.kinds)
    return [Table(f"{table.name}.{kind}", each.description, "", (), entries) for each in variants]


def _nearest(sections: tuple[Table, ...], name: str) -> str:
    """The end of an error's line: names that end in the same word, else the one that is spelt most like it."""
    known, last = names(sections), name.rpartition(".")[2]
    same = [each for each in known if each.rpartition(".")[2] == last]
    near = same[:3] or difflib.get_close_matches(name, known, n=1)
    if not near:
        lasts = {each.rpartition(".")[2]: each for each in reversed(known)}
        near = [lasts[each] for each in difflib.get_close_matches(last, lasts, n=1)]
    if near:
        return f"; did you mean {' or '.join(repr(each) for each in near)}?"
    return f"; the sections are {', '.join(each.name for each in sections)}"


def _plain(name: str) -> str:
    return name.replace("[]", "")


class _Reader:
    """Reads tables and keys out of a JSON schema, whose models are `definitions`."""

    def __init__(self, definitions: Schema) -> None:
        self.definitions = definitions

    def entry(self, name: str, schema: Schema, required: bool, above: Schema | None = None) -> Table | Key:
        """The key or table at a dotted name. above: the keys of the table that it is in."""
        description, default = schema.get("description", ""), schema.get("default")
        models = [self._model(each) for each in schema.get("oneOf", [schema]) if "$ref" in each]
        if models:
            kinds = any("kind" in each["properties"] for each in models)
            text = self._default_kind(default, models) if kinds and default else ""
            return Table(name, description, text, _variants(models), self._entries(name, models))
        if "$ref" in schema.get("items", {}):
            own = self._model(schema["items"])
            unlike = {key: each for key, each in own["properties"].items() if each != (above or {}).get(key)}
            entries = self._entries(f"{name}[]", [{**own, "properties": unlike}])
            return Table(name, description, toml(default), (), entries)
        return Key(name, description, allowed(schema), "" if required else toml(default) or LEFT_OUT)

    def _model(self, schema: Schema) -> Schema:
        found: Schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        return found

    def _entries(self, name: str, models: list[Schema]) -> tuple[Table | Key, ...]:
        """What the models have below a name; equal keys of several kinds are one."""
        found: dict[Table | Key, list[str]] = {}
        for model in models:
            for key, schema in model["properties"].items():
                if key != "kind":
                    required = key in model.get("required", ())
                    each = self.entry(f"{name}.{key}", schema, required, model["properties"])
                    found.setdefault(each, []).extend(_kinds(model))
        everything = [kind for model in models for kind in _kinds(model)]
        return tuple(_with_kinds(each, kinds if kinds != everything else []) for each, kinds in found.items())

    def _default_kind(self, default: Schema, models: list[Schema]) -> str:
        """The default of a table with kinds: its kind, and what is not that kind's own default."""
        model = next(each for each in models if default["kind"] in _kinds(each))
        own = {key: each.get("default") for key, each in model["properties"].items()}
        return toml({"kind": default["kind"]} | {key: each for key, each in default.items() if each != own[key]})


def _with_kinds(entry: Table | Key, kinds: list[str]) -> Table | Key:
    if isinstance(entry, Key):
        return Key(entry.name, entry.description, entry.allowed, entry.default, tuple(kinds))
    return Table(entry.name, entry.description, entry.default, entry.variants, entry.entries, tuple(kinds))


def _variants(models: list[Schema]) -> tuple[Variant, ...]:
    return tuple(Variant(_kinds(each), _sentence(each)) for each in models if _kinds(each))


def _kinds(model: Schema) -> tuple[str, ...]:
    kind = model["properties"].get("kind", {})
    return tuple(kind.get("enum", [kind["const"]] if "const" in kind else []))


def _sentence(model: Schema) -> str:
    """A model's docstring in one line."""
    return " ".join(model.get("description", "").replace("`", "").split())


# ---- values ----


def allowed(schema: Schema) -> str:
    """Which values a key takes, in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return " | ".join(toml(each) for each in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        fixed = schema.get("prefixItems", [])
        inside = f"{len(fixed)}, each {allowed(fixed[0])}" if fixed else f"any length, each {allowed(schema['items'])}"
        return f"list of {inside}" + ("; not empty" if schema.get("minItems") and not fixed else "")
    if kind == "object":
        return f"table of any keys, each {allowed(schema['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "true | false", "string": "text"}
    return f"{schema.get('format', words[kind])}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    words = {"minLength": "not empty", "maxLength": "of at most {} characters", "pattern": "matching {}"}
    found += [text.format(schema[key]) for key, text in words.items() if schema.get(key)]
    return f" {', '.join(found)}" if found else ""


def _number(value: int | float) -> str:
    """A bound: large powers as such."""
    if value == int(value) and value > 10**4:
        exponent = int(value).bit_length() - 1
        if int(value) == 2**exponent:
            return f"2^{exponent}"
    return f"{value:g}".replace("e+0", "e").replace("e+", "e")


def toml(value: Any) -> str:
    """A value as TOML writes it, in one line; nothing for None."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return "" if value is None else json.dumps(value)
