"""Assigns the Parquet or Arrow files of a folder to the training and test splits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}
_TABLE = re.compile(r"\.(parquet|parq|pq|arrow|feather)$")
_UNFINISHED = re.compile(
    r"\.(parquet|parq|pq|arrow|feather)\.(incomplete|part|partial|crdownload|download|tmp|gz|zip|zst|bz2|xz)$"
)
_NUMBERING = re.compile(r"of|(part|shard|chunk)?\d*|[0-9a-f]{16}")  # shard numbers, sometimes with a digest
_SHARD = re.compile(r"(\d+)-of-(\d+)")
_DEPTH = 2


@dataclass(frozen=True)
class _Table:
    """A table file, the words that name its split, and the other words of its name without shard numbers."""

    file: Path
    words: frozenset[str]
    rest: tuple[str, ...]


def split_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Table files of the training and of the test split, each sorted by name; without test files, hold out rows.

    `path` is one file, or a folder with one data set: in the folder itself, or up to two levels below. A file's split
    is the word train, validation or test (or training, valid, val, dev, testing, eval, evaluation: the words of Hugging
    Face's `datasets`) in its name or in its folder's; words are separated by `-`, `_`, `.` and spaces, and case is
    ignored. Validation files serve as the test split if there is no other, and are not used otherwise. Apart from
    split and shard numbers, all files must have the same name, otherwise they belong to several data sets; files in a
    folder named after a split may have any name. Names that begin with `.` or `_` are ignored. No other file is
    skipped silently.

    Raises:
        ValueError: the path does not exist or has no training file; a file has no split or two, or is incomplete; the
            files belong to several data sets; or a shard of `n-of-m` is missing.
    """
    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise ValueError(
            f"data.path: no file or folder '{path}'; give a .parquet file, or a folder of train*.parquet, test*.parquet"
        )
    files = _files_below(path)
    tables = [_read(file, path) for file in files if _TABLE.search(file.name.lower())]
    found = {split: [table for table in tables if _split(table) == split] for split in SPLITS}
    if not found["train"]:
        raise ValueError(
            f"data.path: no train*.parquet in '{path}' or up to {_DEPTH} folders below; rename the files, or give one "
            ".parquet file"
        )
    _check_known(files, [table.file for table in tables if not _split(table)], path)
    chosen = found["train"], found["test"] or found["validation"]
    _check_one_set(tables, chosen, path)
    for split in chosen:
        _check_shards([table.file for table in split], path)
    return sorted(table.file for table in chosen[0]), sorted(table.file for table in chosen[1])


def _files_below(path: Path) -> list[Path]:
    try:
        return list(_walk(path, _DEPTH))
    except OSError as error:
        raise ValueError(
            f"data.path: cannot look into '{path}' ({error.strerror}: '{error.filename}'); change its permissions"
        ) from error


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            if depth:
                yield from _walk(entry, depth - 1)
        elif _TABLE.search(entry.name.lower()) or _UNFINISHED.search(entry.name.lower()):
            yield entry


def _read(file: Path, path: Path) -> _Table:
    """Parse the names of a file and of its folders below `path`."""
    *folders, name = file.relative_to(path).parts
    words, rest = set[str](), list[str]()
    for folder in folders:
        found, others = _words(folder)
        words |= found
        rest += others if found else [folder.lower()]
    found, others = _words(name)
    if found or not words:
        rest += others
    return _Table(file, frozenset(words | found), tuple(rest))


def _words(name: str) -> tuple[set[str], list[str]]:
    """The words of a name that name a split, and its other words without shard numbers."""
    tokens = re.split(r"[-._ ]+", _TABLE.sub("", name.lower()))
    named = {token: token.strip("0123456789") for token in tokens}
    found = {word for word in named.values() if word in SPLIT_OF}
    return found, [token for token, word in named.items() if word not in SPLIT_OF and not _NUMBERING.fullmatch(token)]


def _split(table: _Table) -> str:
    """The split: train, validation or test; empty if the names have none or two."""
    splits = {SPLIT_OF[word] for word in table.words}
    return splits.pop() if len(splits) == 1 else ""


def _check_known(files: Sequence[Path], unknown: Sequence[Path], path: Path) -> None:
    """Raises: ValueError, if files cannot be used: of an `unknown` split, incomplete, compressed, or dangling links."""
    if unknown:
        raise ValueError(
            f"data.path: '{path}' holds files of no split, or of two: {_named(unknown, path)}; name them after train, "
            "validation or test, or move them away"
        )
    if unfinished := [file for file in files if _UNFINISHED.search(file.name.lower()) or not file.is_file()]:
        raise ValueError(
            f"data.path: '{path}' holds files that are not whole, or packed: {_named(unfinished, path)}; fetch or "
            "unpack them, or move them away"
        )


def _check_one_set(tables: Sequence[_Table], chosen: tuple[list[_Table], ...], path: Path) -> None:
    """Raises: ValueError, if names differ in more than split and shard, or use two words for one split."""
    by_rest = {table.rest: table.file for table in reversed(tables)}
    by_word = [{tuple(sorted(table.words)): table.file for table in reversed(split)} for split in chosen]
    for sets in (by_rest, *by_word):
        if len(sets) > 1:
            raise ValueError(
                f"data.path: '{path}' holds more than one data set, such as {_named(sorted(sets.values()), path)}; set "
                "data.path to the folder or file of one of them, or move the others away"
            )


def _check_shards(files: Sequence[Path], path: Path) -> None:
    """Raises: ValueError, if files named `n-of-m` are not exactly the m shards of one split."""
    matches = [match for file in files if (match := _SHARD.search(file.name))]
    if not matches:
        return
    number = int(matches[0][2])
    shards = {int(match[1]) for match in matches if int(match[2]) == number}
    if len(shards) != number or len(files) != number:
        raise ValueError(
            f"data.path: '{files[0].name}' in '{path}' is one of {number} files, but there are {len(files)} of its "
            "split; fetch what is missing, or move others away"
        )


def _named(files: Sequence[Path], path: Path) -> str:
    names = [f"'{file.relative_to(path)}'" for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
