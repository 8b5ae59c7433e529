"""SHA-256 of what users bring: code with all that it refers to, and the content of arrays, modules and plain values.

Equal code has an equal digest in every process of one Python version, whatever its comments, layout and file. What is
installed (torch, NumPy, the standard library) counts by name and version.
"""

import copyreg
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping, Set
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

SKIPPED = {"__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__orig_bases__", "__parameters__"}
SKIPPED |= {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__annotate_func__"}
ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, PurePath, range, slice)
_INSTALLED = tuple({str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")})
_OURS = {"peers", "topologies", "coordinator"}


class Unidentifiable(ValueError):
    """An object without any content that could be compared, such as an open file."""


def digest_of(value: object) -> str:
    """SHA-256, in hexadecimal digits, of an object's content. Raises: Unidentifiable."""
    return _Walk().digest(value).hex()


def is_own(module_name: str) -> bool:
    """Whether a module is the user's: neither installed, nor of the standard library, nor of this package."""
    if module_name.partition(".")[0] in _OURS:
        return False
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        return module_name in ("__main__", "__mp_main__") or module_name not in sys.modules
    return is_own_file(file)


def is_own_file(name: str) -> bool:
    """`is_own` of the file of a module, by its path; notebooks' cells are the user's."""
    if name.startswith("<frozen"):
        return False
    path = Path(name).resolve()
    ours = Path(__file__).resolve().parents[2]
    folders = [Path(folder) for folder in _INSTALLED] + [ours / package for package in _OURS]
    return not any(path.is_relative_to(folder) for folder in folders)


class _Walk:
    """Digests of objects that may refer to each other; each is computed once, and a cycle is cut where it closes."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._open: dict[int, int] = {}  # objects whose digest is being computed: their depth
        self._alive: list[object] = []  # so that no id is used again

    def digest(self, value: object) -> bytes:
        if isinstance(value, ATOMS):
            return _hash(type(value).__name__, repr(value))
        key = id(value)
        if key in self._open:
            return _hash("cycle", str(len(self._open) - self._open[key]))
        if key not in self._done:
            self._alive.append(value)
            self._open[key] = len(self._open)
            try:
                self._done[key] = self._content(value)
            finally:
                del self._open[key]
        return self._done[key]

    def _content(self, value: Any) -> bytes:
        if isinstance(value, Mapping):
            pairs = sorted((self.digest(key), self.digest(inner)) for key, inner in value.items())
            return _hash("mapping", *(part for pair in pairs for part in pair))
        if isinstance(value, list | tuple):
            return self._all(type(value).__name__, value)
        if isinstance(value, Set):
            return _hash("set", *sorted(map(self.digest, value)))
        if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            array = np.ascontiguousarray(value)
            return _hash("array", f"{array.dtype} {array.shape}", array.tobytes())
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, Enum):
            return self._all("enum", [type(value).__name__, value.name])
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.ModuleType):
            return _module(value)
        return self._wrapped(value)

    def _wrapped(self, value: Any) -> bytes:
        """Of an object that holds functions, or of any other object as pickle sees it."""
        if isinstance(value, types.MethodType):
            return self._all("method", [value.__func__, value.__self__])
        if isinstance(value, functools.partial):
            return self._all("partial", [value.func, value.args, value.keywords])
        if isinstance(value, staticmethod | classmethod):
            return self._all(type(value).__name__, [value.__func__])
        if isinstance(value, property):
            return self._all("property", [value.fget, value.fset, value.fdel])
        if isinstance(value, functools.cached_property):
            return self._all("property", [value.func])
        if isinstance(value, torch.Generator):
            return self._all("generator", [value.get_state()])
        named = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if callable(value) and isinstance(named, str) and not hasattr(value, "__dict__"):
            return _hash("installed", f"{getattr(value, '__module__', '')}.{named}")
        return self._object(value)

    def _all(self, kind: str, values: Iterable[object]) -> bytes:
        return _hash(kind, *map(self.digest, values))

    def _object(self, value: Any) -> bytes:
        try:
            reducer = copyreg.dispatch_table.get(type(value))
            reduced = reducer(value) if reducer else value.__reduce_ex__(4)
        except Exception:  # an object's own method may raise anything
            raise Unidentifiable(f"a {type(value).__qualname__} has no content that can be compared") from None
        if isinstance(reduced, str):
            return _hash("global", f"{getattr(value, '__module__', '')}.{reduced}")
        make, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        parts = [type(value), make, arguments, state, list(items or ()), list(pairs or ())]
        return self._all("object", parts)

    def _function(self, function: types.FunctionType) -> bytes:
        cells = [_inside(cell) for cell in function.__closure__ or ()]
        if not is_own(function.__module__ or "__main__"):  # it may hold a user's function, as functools.wraps does
            return self._all("installed", [_name_of(function), *map(self._referred, cells)])
        used = sorted(name for name in _names(function.__code__) if name in function.__globals__)
        defaults = [function.__defaults__, function.__kwdefaults__]
        referred = {name: self._referred(function.__globals__[name]) for name in used}
        return self._all("function", [function.__code__, *defaults, cells, referred])

    def _referred(self, value: object) -> bytes:
        """Of what code refers to: that which has no content, such as a lock or a logger, counts by its type."""
        try:
            return self.digest(value)
        except Unidentifiable:
            return _hash("opaque", type(value).__qualname__)

    def _class(self, kind: type) -> bytes:
        if not is_own(kind.__module__):
            return _hash("installed", _name_of(kind))
        own = {name: self._referred(value) for name, value in vars(kind).items() if name not in SKIPPED}
        return self._all("class", [kind.__qualname__.rpartition(".")[2], list(kind.__bases__), own])

    def _code(self, code: types.CodeType) -> bytes:
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        counts = [code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags]
        constants = list(code.co_consts)
        if constants and isinstance(constants[0], str) and code.co_flags & 0x1:  # may be the docstring
            constants[0] = None if _is_docstring(code) else constants[0]
        return self._all("code", [code.co_code, names, counts, constants])


def _is_docstring(code: types.CodeType) -> bool:
    """Whether a function's first constant is its docstring, which no instruction loads."""
    import dis

    loads = (step for step in dis.get_instructions(code) if step.opname in ("LOAD_CONST", "RETURN_CONST"))
    return all(step.arg != 0 for step in loads)


def _names(code: types.CodeType) -> set[str]:
    """The global names and attributes that code and the functions in it use."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _inside(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _tensor(value: torch.Tensor) -> bytes:
    if value.is_meta:
        return _hash("tensor", f"{value.dtype} {tuple(value.shape)} without data")
    dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    content = dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if dense.numel() else b""
    return _hash("tensor", f"{value.dtype} {tuple(value.shape)} {value.requires_grad}", content)


def _module(module: types.ModuleType) -> bytes:
    file = getattr(module, "__file__", None)
    if file is None or not is_own_file(file):
        return _hash("module", _with_version(module.__name__))
    return _hash("module", module.__name__, Path(file).read_bytes())


def _name_of(value: Callable[..., Any]) -> str:
    return f"{_with_version(value.__module__ or '')}.{value.__qualname__}"


def _with_version(module_name: str) -> str:
    top = sys.modules.get(module_name.partition(".")[0])
    return f"{module_name} {getattr(top, '__version__', '')}"


def _hash(kind: str, *parts: str | bytes) -> bytes:
    sha = hashlib.sha256(kind.encode())
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "little"))
        sha.update(raw)
    return sha.digest()
