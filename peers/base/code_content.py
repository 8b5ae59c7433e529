"""What compiled code does, without its layout: its instructions, the names that it uses, and what it imports."""

import dis
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from peers.base.own_code import is_own, is_own_file

_HAS_DOCSTRING = 0x4000000  # a flag of Python 3.13 and later
_NOT_IN_BODY = {"__doc__", "__qualname__", "__firstlineno__", "__static_attributes__"}  # of a class within a function
_OF_PLACE = {"__name__", "__file__", "__package__", "__spec__", "__loader__", "__cached__", "__doc__", "__builtins__"}
Step = tuple[str, Any]
"""An instruction's name, and its argument: the constant itself, where it loads one."""


def steps(code: types.CodeType) -> list[Step]:
    """The instructions of code, without docstrings and line numbers; constants that nothing loads are left out."""
    found: list[Step] = []
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME" and step.argval in _NOT_IN_BODY and found and found[-1][0] == "LOAD_CONST":
            found.pop()
        elif step.opcode in dis.hasconst:
            found.append((step.opname, step.argval))
        else:
            found.append((step.opname, step.argrepr if step.opcode in dis.hasname else step.arg))
    return found


def shape(code: types.CodeType) -> list[Any]:
    """What instructions refer to by number: arguments, variables, and where exceptions are handled."""
    variables = [code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount]
    return [*variables, *counts, code.co_flags & ~_HAS_DOCSTRING, code.co_exceptiontable]


def names(code: types.CodeType) -> set[str]:
    """The global names and attributes that code and the functions in it use, without those that say where it stands."""
    return set(code.co_names).union(*map(names, _inner(code))) - _OF_PLACE


def imports(code: types.CodeType, namespace: Mapping[str, Any]) -> list[types.ModuleType]:
    """The user's modules that code and the functions in it import when they run, in order of their names."""
    wanted = sorted(set(_imported(code, str(namespace.get("__package__") or ""))))
    return [module for name in wanted if (module := _own_module(name)) is not None]


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def _imported(code: types.CodeType, package: str) -> Iterator[str]:
    before: list[Any] = [0, None]  # an import's level and the names that it takes are loaded before it
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            level, taken = before[-2:]
            name = f"{'.' * level}{step.argval}" if isinstance(level, int) else step.argval
            try:
                full = importlib.util.resolve_name(name, package or None)
            except ImportError:  # as running it will say
                continue
            yield full
            yield from (f"{full}.{each}" for each in taken or () if f"{full}.{each}" in sys.modules)
        elif step.opcode in dis.hasconst:
            before.append(step.argval)
    for inner in _inner(code):
        yield from _imported(inner, package)


def _own_module(name: str) -> types.ModuleType | None:
    """A module of the user's, imported; None: it is not his, or cannot be imported, which running the code will say."""
    top = name.partition(".")[0]
    try:
        if top in sys.modules:
            return importlib.import_module(name) if is_own(top) else None
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin in (None, "built-in", "frozen") or not is_own_file(str(spec.origin)):
            return None
        return importlib.import_module(name)
    except Exception:  # a module may raise anything
        return None
