"""Whether this process still runs the package as it is on the disk, which is what Ray's workers import."""

import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import CodeType
from typing import Any

from coordinator.experiment.config import ConfigError


def check_unaltered(*packages: str) -> None:
    """Raises: ConfigError, where a function or class of the packages was replaced in this process alone."""
    found = [each for package in packages for each in altered(package)]
    if found:
        raise ConfigError(
            f"hosting.pool: '{found[0]}' was replaced in this process, but Ray's workers import the package from the "
            "disk and would run something else: change the package's file, or run it with pool 'in-process', not in an "
            "ablation"
        )


def altered(package: str) -> list[str]:
    """The functions, classes and methods of a package's loaded modules that are not those that its files define."""
    names = [name for name in list(sys.modules) if name == package or name.startswith(f"{package}.")]
    return [found for name in sorted(names) for found in _of_module(name)]


def _of_module(name: str) -> Iterator[str]:
    module = sys.modules[name]
    loader = getattr(module.__spec__, "loader", None)
    code = loader.get_code(name) if loader is not None and hasattr(loader, "get_code") else None
    if code is not None:
        yield from _replaced(vars(module), code, name, name)


def _replaced(namespace: Mapping[str, Any], code: CodeType, module: str, place: str) -> Iterator[str]:
    """What the code defines and the namespace has from elsewhere; a definition's code lies among its constants."""
    for defined in code.co_consts:
        if not isinstance(defined, CodeType) or defined.co_name not in namespace:
            continue
        value = _function_of(namespace[defined.co_name])
        known = getattr(value, "__module__", module), getattr(value, "__qualname__", defined.co_qualname)
        if known != (module, defined.co_qualname):
            yield f"{place}.{defined.co_name}"
        elif isinstance(value, type):
            yield from _replaced(vars(value), defined, module, f"{place}.{defined.co_name}")


def _function_of(value: Any) -> Any:
    if isinstance(value, classmethod | staticmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, cached_property) else value
