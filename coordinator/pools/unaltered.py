"""Detects monkeypatched code: Ray's workers import the package from the disk, without such patches."""

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import CodeType
from typing import Any

from coordinator.experiment.config import ConfigError

_COMPILED: dict[tuple[str, str, int, int], CodeType | None] = {}


def check_unaltered(*packages: str) -> None:
    """Raises: ConfigError, if a function or class of the packages was replaced in this process only."""
    found = [name for package in packages for name in altered(package)]
    if found:
        raise ConfigError(
            f"hosting.pool: '{found[0]}' was replaced in this process, but Ray's workers import the package from the "
            "disk and would run something else: change the package's file, or run it with pool 'in-process', not in an "
            "ablation"
        )


def altered(package: str) -> list[str]:
    """Functions, classes and methods in a package's loaded modules that differ from the definitions in its files."""
    names = [name for name in list(sys.modules) if name == package or name.startswith(f"{package}.")]
    return [found for name in sorted(names) for found in _replaced_in_module(name)]


def _replaced_in_module(name: str) -> Iterator[str]:
    module = sys.modules[name]
    loader = getattr(module.__spec__, "loader", None)
    if loader is not None and hasattr(loader, "get_code"):
        yield from _replaced(vars(module), _code(name, loader), name, name)


def _code(name: str, loader: Any) -> CodeType | None:
    """The code of a module's file, compiled once for as long as the file does not change.

    A process asks for every pool that it opens, and each answer takes a second where nothing compiled is kept.
    """
    file = str(getattr(loader, "path", ""))
    try:
        stamp = os.stat(file)
    except OSError:  # not from a file, or from one that is gone
        found: CodeType | None = loader.get_code(name)
        return found
    key = (name, file, stamp.st_mtime_ns, stamp.st_size)
    if key not in _COMPILED:
        _COMPILED[key] = loader.get_code(name)
    return _COMPILED[key]


def _replaced(namespace: Mapping[str, Any], code: CodeType | None, module: str, place: str) -> Iterator[str]:
    """Names that `code` defines but `namespace` has from elsewhere; nested code objects are among its constants."""
    for defined in code.co_consts if code is not None else ():
        if not isinstance(defined, CodeType) or defined.co_name not in namespace:
            continue
        value = _function_of(namespace[defined.co_name])
        origin = getattr(value, "__module__", module), getattr(value, "__qualname__", defined.co_qualname)
        if origin != (module, defined.co_qualname):
            yield f"{place}.{defined.co_name}"
        elif isinstance(value, type):
            yield from _replaced(vars(value), defined, module, f"{place}.{defined.co_name}")


def _function_of(value: Any) -> Any:
    if isinstance(value, classmethod | staticmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, cached_property) else value
