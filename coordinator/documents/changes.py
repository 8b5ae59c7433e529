"""What has changed between two documents of the same run or list: replaced keys, and what was added to the end."""

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_NAMED = {  # keys that are lists of named entries: the lists in an entry that grow, as long as all else stays
    "nodes": ("frames", "values"),
    "curves": ("x", "y", "low", "high"),
    "peer_curves": ("x", "y"),
}
_ENTRIES = {"links": ("values", "messages"), "virtual": ("rounds", "seconds")}  # the lists that grow in one entry


def changes(old: Document, new: Document) -> dict[str, Any]:
    """The change from one document to the next, as sent to pages; {} if they are equal. `applied` is its meaning.

    Rows that are the same objects in both are not compared, so that a change costs little where much has stayed.
    """
    replaced: dict[str, Any] = {}
    added: dict[str, Any] = {}
    for key in new:
        if key in old and _same(old[key], new[key]):
            continue
        tail = _added(key, old.get(key), new[key])
        if tail is None:
            replaced[key] = new[key]
        else:
            added[key] = tail
    return ({"set": replaced} if replaced else {}) | ({"append": added} if added else {})


def applied(document: Document, change: Document) -> dict[str, Any]:
    """A document after a change: what a page has to make of it."""
    found = {**document, **change.get("set", {})}
    for key, tail in change.get("append", {}).items():
        if key == "frames":
            found[key] = [*found[key], *tail]
        elif key in _ENTRIES:
            found[key] = _longer(found[key], tail)
        else:
            found[key] = [_longer(entry, tail.get(entry["name"], {})) for entry in found[key]]
    return found


def _longer(entry: Document, tail: Document) -> dict[str, Any]:
    return {**entry, **{name: [*entry[name], *values] for name, values in tail.items()}}


def _added(key: str, old: Any, new: Any) -> Any:
    """What was added to the end of a key's value; None if it has changed in another way."""
    if old is None or new is None:
        return None
    if key == "frames":
        return _tail(old, new)
    if key in _ENTRIES:
        return _entry(old, new, _ENTRIES[key])
    if key not in _NAMED or [entry["name"] for entry in old] != [entry["name"] for entry in new]:
        return None
    tails = {}
    for before, after in zip(old, new, strict=True):
        tail = _entry(before, after, _NAMED[key])
        if tail is None:
            return None
        if tail:
            tails[after["name"]] = tail
    return tails


def _entry(old: Document, new: Document, growing: Sequence[str]) -> dict[str, Any] | None:
    """What was added to the lists of an entry; None if anything else of it has changed."""
    if old.keys() != new.keys():
        return None
    tails: dict[str, Any] = {}
    for name, value in new.items():
        before = old[name]
        if _same(before, value):
            continue
        tail = _tail(before, value) if name in growing and before is not None and value is not None else None
        if tail is None:
            return None
        tails[name] = tail
    return tails


def _tail(old: Sequence[Any], new: Sequence[Any]) -> list[Any] | None:
    """The end of `new`, if it begins with all of `old`."""
    if len(new) < len(old) or not all(map(_same, old, new)):
        return None
    return list(new[len(old) :])


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 and 1.0 are written differently."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
