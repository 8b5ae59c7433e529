"""The reference of config keys: meaning, allowed values and default of each, generated from the models."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from coordinator.experiment.errors import Model
from coordinator.experiment.reading import ConfigError
from coordinator.experiment.renamed import new_name

LEFT_OUT = "left out"  # shown as the default of a key that has no value by default
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Key:
    """One key. default: in TOML; empty if the key is required. kinds: those of its table that have it; empty: all.

    is_open: whether its value is a table of any keys.
    """

    name: str
    description: str
    allowed: str
    default: str
    kinds: tuple[str, ...] = ()
    is_open: bool = False


@dataclass(frozen=True)
class Variant:
    """One kind of a table, or several kinds that have exactly the same keys."""

    kinds: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Table:
    """A section, or a table inside one. default: in TOML, for a table with kinds; empty if it is required."""

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
    found = [reader.entry(name, field, name in schema["required"]) for name, field in schema["properties"].items()]
    return tuple(entry for entry in found if isinstance(entry, Table))


def walk(entries: "tuple[Table | Key, ...]") -> "Iterator[Table | Key]":
    """All tables and keys, each table before its contents."""
    for entry in entries:
        yield entry
        if isinstance(entry, Table):
            yield from walk(entry.entries)


def find(sections: tuple[Table, ...], name: str) -> list[Table | Key]:
    """Look up a dotted name: a table, a key, or a kind, which is returned as its table restricted to that kind.

    A key may be named with its table's kind, too: exchange.loss.kl.temperature. A name may be both a key and a kind,
    such as topology.path. Raises: ConfigError, with the nearest names.
    """
    name = name.partition("=")[0].strip().strip("[]").removesuffix(".kind")
    name = re.sub(r"\[\d*\]", "", name)  # an entry of a list, such as peers.groups[0]
    found: list[Table | Key] = []
    for entry in walk(sections):
        if _plain(entry.name) == _plain(name):
            found.append(entry)
        elif isinstance(entry, Table) and name.startswith(f"{_plain(entry.name)}."):
            kind, _, key = name.removeprefix(f"{_plain(entry.name)}.").partition(".")
            found += _key_of_kind(entry, kind, key) if key else _of_kind(entry, kind)
        elif isinstance(entry, Key) and entry.is_open and name.startswith(f"{entry.name}."):
            found.append(entry)
    if not found and (outer := _as_above(sections, name)):
        return find(sections, outer)
    if not found:
        raise ConfigError(new_name(name) or f"config: {name!r} is no key{_nearest(sections, name)}")
    return found


def _as_above(sections: tuple[Table, ...], name: str) -> str:
    """The key of the same name in the table around a list, such as peers.view for peers.groups.view; "" if none."""
    entry, _, key = name.rpartition(".")
    outer = f"{entry.rpartition('.')[0]}.{key}"
    known = {each.name: each for each in walk(sections)}
    is_list = isinstance(known.get(entry), Table) and any(each.startswith(f"{entry}[]") for each in known)
    return outer if is_list and outer in known else ""


def names(sections: tuple[Table, ...]) -> list[str]:
    """Every name that `find` accepts."""
    found = []
    for entry in walk(sections):
        found.append(_plain(entry.name))
        if isinstance(entry, Table):
            found += [f"{entry.name}.{kind}" for variant in entry.variants for kind in variant.kinds]
    return list(dict.fromkeys(found))


def _of_kind(table: Table, kind: str) -> list[Table | Key]:
    """The table restricted to one of its kinds; empty if it has no such kind."""
    variants = [variant for variant in table.variants if kind in variant.kinds]
    entries = tuple(entry for entry in table.entries if not entry.kinds or kind in entry.kinds)
    return [Table(f"{table.name}.{kind}", variant.description, "", (), entries) for variant in variants]


def _key_of_kind(table: Table, kind: str, key: str) -> list[Table | Key]:
    """What one of a table's kinds has under a key; empty if there is no such kind or key."""
    below = [
        each for restricted in _of_kind(table, kind) if isinstance(restricted, Table) for each in restricted.entries
    ]
    return [each for each in walk(tuple(below)) if _plain(each.name) == f"{_plain(table.name)}.{key}"]


def _nearest(sections: tuple[Table, ...], name: str) -> str:
    """The end of an error line: names with the same last part, or else the most similarly spelt name."""
    known, last = names(sections), name.rpartition(".")[2]
    same = [full for full in known if full.rpartition(".")[2] == last]
    if "." in name:
        same.sort(key=lambda full: difflib.SequenceMatcher(None, name, full).ratio(), reverse=True)
    matches = same[:3] or difflib.get_close_matches(name, known, n=1)
    if not matches:
        by_last = {full.rpartition(".")[2]: full for full in reversed(known)}
        matches = [by_last[match] for match in difflib.get_close_matches(last, by_last, n=1)]
    if matches:
        return f"; did you mean {' or '.join(repr(match) for match in matches)}?"
    return f"; the sections are {', '.join(section.name for section in sections)}"


def _plain(name: str) -> str:
    return name.replace("[]", "")


class _Reader:
    """Converts a JSON schema into tables and keys. definitions: the schema's models by name."""

    def __init__(self, definitions: Schema) -> None:
        self.definitions = definitions
        self._described: dict[tuple[str, ...], str] = {}  # unions of models, and the name at which each came first

    def entry(self, name: str, schema: Schema, required: bool, above: Schema | None = None) -> Table | Key:
        """The key or table at a dotted name. above: the keys of the enclosing table."""
        if "enum" in self._target(schema.get("items", {})):
            schema = {**schema, "items": self._target(schema["items"])}
        description, default = schema.get("description", ""), schema.get("default")
        like = self._first_of(name, schema)
        if like and above is None:
            return Table(name, f"{description}; a table like [{like}]", LEFT_OUT, (), ())
        if like:
            return Key(name, description, f"table like {like}", LEFT_OUT)
        may_lack = _is_optional_union(schema)
        schema = _without_null(schema)
        models = [self._model(member) for member in schema.get("oneOf", [schema]) if "$ref" in member]
        if models:
            kinds = any("kind" in model["properties"] for model in models)
            text = self._default_kind(default, models) if kinds and default else LEFT_OUT if may_lack else ""
            return Table(name, description, text, _variants(models), self._entries(name, models))
        if "oneOf" in schema.get("items", {}):
            models = [self._model(member) for member in schema["items"]["oneOf"]]
            return Table(name, description, toml(default), _variants(models), self._entries(f"{name}[]", models))
        if "$ref" in schema.get("items", {}):
            own = self._model(schema["items"])
            around, above = name.rpartition(".")[0], above or {}
            unlike = {key: field for key, field in own["properties"].items() if field != above.get(key)}
            again = {
                key: _like(f"{around}.{key}", field) if _is_optional_union(field) and key in above else field
                for key, field in unlike.items()
            }
            entries = self._entries(f"{name}[]", [{**own, "properties": again}])
            return Table(name, description, toml(default), (), entries)
        is_open = schema.get("type") == "object"
        text = "" if required else toml(default) or LEFT_OUT
        return Key(name, description, allowed(schema), text, is_open=is_open)

    def _first_of(self, name: str, schema: Schema) -> str:
        """Where a union that may be left out was described already, at another name; else ""."""
        options = [schema, *schema.get("anyOf", ())]
        members = next((option["oneOf"] for option in options if "oneOf" in option), ())
        first = self._described.setdefault(tuple(member["$ref"] for member in members), name) if members else name
        return first if first != name and _is_optional_union(schema) else ""

    def _target(self, schema: Schema) -> Schema:
        """The schema that a reference points to; any other schema is returned as it is."""
        return self._model(schema) if "$ref" in schema else schema

    def _model(self, schema: Schema) -> Schema:
        found: Schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        return found

    def _entries(self, name: str, models: list[Schema]) -> tuple[Table | Key, ...]:
        """The tables and keys of the models under a name; equal keys of several kinds are merged."""
        found: dict[Table | Key, list[str]] = {}
        for model in models:
            for key, schema in model["properties"].items():
                if key != "kind":
                    required = key in model.get("required", ())
                    entry = self.entry(f"{name}.{key}", schema, required, model["properties"])
                    found.setdefault(entry, []).extend(_kinds(model))
        everything = [kind for model in models for kind in _kinds(model)]
        return tuple(_with_kinds(entry, kinds if kinds != everything else []) for entry, kinds in found.items())

    def _default_kind(self, default: Schema, models: list[Schema]) -> str:
        """The default of a table with kinds, in TOML: its kind, and values that differ from that kind's defaults."""
        model = next(candidate for candidate in models if default["kind"] in _kinds(candidate))
        own = {key: field.get("default") for key, field in model["properties"].items()}
        return toml({"kind": default["kind"]} | {key: value for key, value in default.items() if value != own[key]})


def _with_kinds(entry: Table | Key, kinds: list[str]) -> Table | Key:
    return replace(entry, kinds=tuple(kinds))


def _without_null(schema: Schema) -> Schema:
    """The schema of a table that may be left out as that of the table; any other schema is returned as it is."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return options[0] if len(options) == 1 and {"$ref", "oneOf"} & options[0].keys() else schema


def _is_optional_union(schema: Schema) -> bool:
    """Whether it is a table with kinds that may be left out."""
    return any("oneOf" in option for option in schema.get("anyOf", ()))


def _like(table: str, schema: Schema) -> Schema:
    """The schema of a table of a list's entry whose kinds are those of a table beside the list."""
    return {"description": schema.get("description", ""), "type": "string", "format": f"table like {table}"}


def _variants(models: list[Schema]) -> tuple[Variant, ...]:
    return tuple(Variant(_kinds(model), _sentence(model)) for model in models if _kinds(model))


def _kinds(model: Schema) -> tuple[str, ...]:
    kind = model["properties"].get("kind", {})
    return tuple(kind.get("enum", [kind["const"]] if "const" in kind else []))


def _sentence(model: Schema) -> str:
    """A model's docstring as a single line."""
    return " ".join(model.get("description", "").replace("`", "").split())


# ---- values ----


def allowed(schema: Schema) -> str:
    """A description of the values that a key takes."""
    if "anyOf" in schema:
        return " or ".join(allowed(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return " | ".join(toml(value) for value in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        fixed = schema.get("prefixItems", [])
        inside = f"{len(fixed)}, each {allowed(fixed[0])}" if fixed else f"any length, each {allowed(schema['items'])}"
        return f"list of {inside}" + ("; not empty" if schema.get("minItems") and not fixed else "")
    if kind == "object":
        values = schema.get("additionalProperties", True)
        return "table of any keys and values" if values is True else f"table of any keys, each {allowed(values)}"
    words = {"integer": "whole number", "number": "number", "boolean": "true | false", "string": "text"}
    return f"{schema.get('format', words[kind])}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    words = {"minLength": "not empty", "maxLength": "of at most {} characters", "pattern": "matching {}"}
    found += [text.format(schema[key]) for key, text in words.items() if schema.get(key)]
    return f" {', '.join(found)}" if found else ""


def _number(value: int | float) -> str:
    """A bound as text; large powers of two as `2^n`."""
    if value == int(value) and value > 10**4:
        exponent = int(value).bit_length() - 1
        if int(value) == 2**exponent:
            return f"2^{exponent}"
    return f"{value:g}".replace("e+0", "e").replace("e+", "e")


def toml(value: Any) -> str:
    """A value as TOML in one line; empty for None."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return "" if value is None else json.dumps(value)
