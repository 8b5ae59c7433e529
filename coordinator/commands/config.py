"""`peer-consensus config`: the keys of an experiment file, on a terminal or as configs/REFERENCE.md."""

import textwrap
from collections.abc import Iterator

from rich.console import Console

from coordinator.experiment.config import RunConfig
from coordinator.experiment.reference import LEFT_OUT, Key, Table, find, tables, walk

HEAD = """# Every key of an experiment file

Written by `peer-consensus config --markdown > configs/REFERENCE.md`; `peer-consensus config KEY` shows a part of it.

- A key is set in the file, or on the command line as `section.key=value`, with the value in TOML.
- Some tables come in kinds, chosen by the key `kind`. With `kind`, a key that is left out has that kind's default.
  Without `kind`, the table is the default that is shown for it below, except for the keys that it sets.
- `section.table.kind=NAME` on the command line keeps the keys that the new kind knows, too, and drops the others with a
  note.
"""
HINT = "peer-consensus config KEY explains a section, a key or a kind: exchange, peers.optimizer.lr, topology.ring"


def show(name: str, console: Console) -> None:
    """Explain a section, key or kind; without a name, list all keys, one per line. Raises: ConfigError."""
    sections = tables(RunConfig)
    lines = _explained(find(sections, name)) if name else _overview(sections)
    width = console.width if console.is_terminal else 120
    for indent, text in lines:
        further = " " * (indent + 2)
        wrapped = textwrap.wrap(
            text, width, initial_indent=" " * indent, subsequent_indent=further, break_on_hyphens=False
        ) or [""]
        console.print("\n".join(wrapped), markup=False, highlight=False)


def markdown() -> str:
    """The text of configs/REFERENCE.md."""
    parts = [HEAD]
    for section in tables(RunConfig):
        parts.append(f"\n## {section.name}\n\n{_capital(section.description)}.\n")
        parts += [_markdown_table(table) for table in walk((section,)) if isinstance(table, Table)]
    return "".join(parts)


# ---- a terminal ----


def _overview(sections: tuple[Table, ...]) -> Iterator[tuple[int, str]]:
    """Lines for all keys with their defaults, and for all tables that have kinds."""
    for section in sections:
        yield 0, f"[{section.name}] {section.description}"
        yield from (
            (2, _kinds_line(entry)) if isinstance(entry, Table) else (2, _assignment(entry))
            for entry in _below(section)
        )
        yield 0, ""
    yield 0, HINT


def _below(section: Table) -> Iterator[Table | Key]:
    """All keys of a section, and its tables that have kinds, including the section itself."""
    return (entry for entry in walk((section,)) if isinstance(entry, Key) or entry.variants)


def _explained(entries: list[Table | Key]) -> Iterator[tuple[int, str]]:
    for entry in entries:
        yield from _with_meaning(entry)


def _with_meaning(entry: Table | Key) -> Iterator[tuple[int, str]]:
    """Lines for a key with its allowed values and meaning, or for a table with its kinds and entries."""
    if isinstance(entry, Key):
        yield 0, _assignment(entry)
        yield 4, entry.allowed
        yield 4, entry.description
        return
    yield 0, _kinds_line(entry) if entry.variants else f"[{entry.name}]"
    yield 4, entry.description
    for variant in entry.variants:
        yield 4, f"{', '.join(variant.kinds)}: {variant.description}"
    for child in entry.entries:
        yield from _with_meaning(child)


def _assignment(key: Key) -> str:
    kinds = f"  (kind {', '.join(key.kinds)})" if key.kinds else ""
    if key.default in ("", LEFT_OUT):
        return f"{key.name}: {key.default or 'required'}{kinds}"
    return f"{key.name} = {key.default}{kinds}"


def _kinds_line(table: Table) -> str:
    kinds = ", ".join(kind for variant in table.variants for kind in variant.kinds)
    return f"{table.name}{f' = {table.default}' if table.default else ': required'}  (kinds: {kinds})"


# ---- Markdown ----


def _markdown_table(table: Table) -> str:
    """The kinds of a table, then its own keys; nested tables get sections of their own."""
    keys = [entry for entry in table.entries if isinstance(entry, Key)]
    text = f"\n### {table.name}\n\n{_capital(table.description)}.\n" if "." in table.name else ""
    if table.variants:
        default = f"default: `{table.default}`" if table.default else "required"
        text += f"\nKinds ({default}):\n\n| kind | what it is |\n|---|---|\n"
        text += "".join(f"| {_code(variant.kinds)} | {_cell(variant.description)} |\n" for variant in table.variants)
    if keys:
        text += "\n| key | default | values | meaning |\n|---|---|---|---|\n"
        text += "".join(map(_row, keys))
    return text


def _row(key: Key) -> str:
    default = f"`{_cell(key.default)}`" if key.default not in ("", LEFT_OUT) else key.default or "required"
    kinds = f"kind {_code(key.kinds)}: " if key.kinds else ""
    return f"| `{key.name}` | {default} | {_cell(key.allowed)} | {kinds}{_cell(key.description)} |\n"


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
