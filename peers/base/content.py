"""SHA-256 of what users bring: code with all that it refers to, and the content of arrays, modules and plain values.

Equal code has an equal digest in every process of one Python version, whatever its comments, layout and file. What is
installed (torch, NumPy, the standard library) counts by name and version.
"""

import copyreg
import functools
import hashlib
import sys
import types
from collections.abc import Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from peers.base import code_content
from peers.base.own_code import is_ours, is_own

SKIPPED = {"__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__orig_bases__", "__parameters__"}
SKIPPED |= {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__annotate_func__"}
SKIPPED |= {"__annotations_cache__", "__qualname__"}
ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, PurePath, range, slice)
_HEAP_TYPE = 1 << 9  # flag of classes that are made at run time, as those of Python code
_BOUND = types.BuiltinFunctionType | types.MethodWrapperType


class Unidentifiable(ValueError):
    """An object without any content that could be compared, such as an open file."""


def digest_of(value: object) -> str:
    """SHA-256, in hexadecimal digits, of an object's content. Raises: Unidentifiable."""
    try:
        return _Walk().digest(value).hex()
    except RecursionError:
        raise Unidentifiable(f"a {type(value).__qualname__} refers too deeply to be compared") from None


class _Walk:
    """Digests of objects that may refer to each other; each is computed once, and a cycle is cut where it closes.

    Everything is visited in an order of its content, since what a cycle's parts get depends on where it is entered.
    """

    def __init__(self, around: "_Walk | None" = None) -> None:
        self._done: dict[int, bytes] = {}
        self._open: dict[int, int] = dict(around._open) if around else {}  # objects being digested: their depth
        self._alive: list[object] = around._alive if around else []  # so that no id is used again
        self._lenient: int = around._lenient if around else 0

    def digest(self, value: object) -> bytes:
        if isinstance(value, ATOMS) and not isinstance(value, Enum):
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
        kind = type(value)
        if kind in (dict, types.MappingProxyType):
            return self._pairs("mapping", value)
        if kind in (list, tuple):
            return self._all(kind.__name__, value)
        if kind in (set, frozenset):  # in whatever order: each by itself
            return _hash("set", *sorted(_Walk(self).digest(element) for element in value))
        if (kind is np.ndarray or isinstance(value, np.generic)) and not value.dtype.hasobject:
            return _array(value)
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, types.CodeType):
            return self._all("code", [*code_content.shape(value), code_content.steps(value)])
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, Enum):
            return self._all("enum", [kind, value.name, value.value])
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.ModuleType):
            return self._module(value, {name for name in vars(value) if not name.startswith("__")})
        return self._wrapped(value)

    def _wrapped(self, value: Any) -> bytes:
        """Of an object that holds functions, or of any other object as pickle sees it."""
        if isinstance(value, types.MethodType | _BOUND) and _is_of_module(value):
            return _hash("installed", f"{_with_version(type(value.__self__).__module__)}.{value.__name__}")
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
        owner = getattr(value, "__self__", None) if isinstance(value, _BOUND) else None
        if owner is not None and not isinstance(owner, types.ModuleType | type) and type(owner).__name__ != "PyCapsule":
            return self._all("method", [value.__name__, owner])
        named = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if callable(value) and isinstance(named, str) and not hasattr(value, "__dict__"):
            return _hash("installed", f"{getattr(value, '__module__', '')}.{named}")
        return self._object(value)

    def _all(self, kind: str, values: Iterable[object]) -> bytes:
        return _hash(kind, *map(self.digest, values))

    def _pairs(self, kind: str, pairs: Any) -> bytes:
        """Of a mapping, whatever the order of its keys."""
        keys = sorted(((self.digest(key), key) for key in pairs), key=lambda pair: pair[0])
        return _hash(kind, *(part for digest, key in keys for part in (digest, self.digest(pairs[key]))))

    def _object(self, value: Any) -> bytes:
        try:
            reducer = copyreg.dispatch_table.get(type(value))
            reduced = reducer(value) if reducer else value.__reduce_ex__(4)
        except RecursionError:
            raise
        except Exception:  # an object's own method may raise anything
            if self._lenient:
                return _hash("opaque", type(value).__qualname__)
            raise Unidentifiable(f"a {type(value).__qualname__} has no content that can be compared") from None
        if isinstance(reduced, str):
            home = str(getattr(value, "__module__", ""))
            parts = ["" if is_own(home) else home, reduced, type(value), getattr(value, "__wrapped__", None)]
            return self._all("global", parts)
        make, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        parts = [type(value), make, arguments, state, list(items or ()), list(pairs or ())]
        return self._all("object", [*parts, _arrangement(value)] if isinstance(value, torch.nn.Module) else parts)

    def _function(self, function: types.FunctionType) -> bytes:
        namespace = function.__globals__
        cells = [self._referred(_inside(cell)) for cell in function.__closure__ or ()]
        if not is_own(namespace.get("__name__", "__main__")):  # it may hold a user's function
            name = f"{_with_version(str(namespace['__name__']))}.{function.__code__.co_qualname}"
            return self._all("installed", [name, *(cells if not is_ours(str(namespace["__name__"])) else ())])
        names = code_content.names(function.__code__)
        used = {name: self._used(namespace[name], names) for name in sorted(names) if name in namespace}
        loaded = [self._module(module, names) for module in code_content.imports(function.__code__, namespace)]
        defaults = [function.__defaults__, function.__kwdefaults__]
        own = self._referred(vars(function))
        return self._all("function", [function.__code__, *defaults, cells, used, loaded, own])

    def _used(self, value: object, names: set[str]) -> bytes:
        """Of what code refers to, if it uses these names; of a module of the user's, only what they stand for there."""
        if isinstance(value, types.ModuleType):
            return self._module(value, names)
        return self._referred(value)

    def _referred(self, value: object) -> bytes:
        """Of what code refers to: that which has no content, such as a lock or a logger, counts by its type."""
        self._lenient += 1
        try:
            return self.digest(value)
        finally:
            self._lenient -= 1

    def _module(self, module: types.ModuleType, names: set[str]) -> bytes:
        if not is_own(module.__name__):
            return _hash("module", _with_version(module.__name__))
        if id(module) in self._open:
            return _hash("module again", module.__name__)
        self._open[id(module)] = len(self._open)
        try:
            found = {name: self._used(vars(module)[name], names) for name in sorted(names & vars(module).keys())}
        finally:
            del self._open[id(module)]
        return self._all("module", [found])

    def _class(self, kind: type) -> bytes:
        if not is_own(kind.__module__) and (not kind.__flags__ & _HEAP_TYPE or _is_there(kind)):
            return _hash("installed", f"{_with_version(kind.__module__)}.{kind.__qualname__}")
        own = {name: self._referred(vars(kind)[name]) for name in sorted(vars(kind).keys() - SKIPPED)}
        return self._all("class", [kind.__qualname__.rpartition(".")[2], type(kind), list(kind.__bases__), own])


def _arrangement(module: torch.nn.Module) -> list[tuple[str, str]]:
    """The order of a module's parts, which may be that of its layers, and which of them are shared: (name, first)."""
    first: dict[int, str] = {}
    parts: list[Iterable[tuple[str, object]]] = [
        module.named_modules(remove_duplicate=False),
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    ]
    return [(name, first.setdefault(id(part), name)) for kind in parts for name, part in kind]


def _is_of_module(method: Any) -> bool:
    """Whether an installed module has the method as a function, such as random.random, which has a state."""
    home = type(method.__self__).__module__
    return not is_own(home) and getattr(sys.modules.get(home), method.__name__, None) == method


def _is_there(kind: type) -> bool:
    """Whether a class is what its module has under its name."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def _inside(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _array(value: Any) -> bytes:
    array = np.ascontiguousarray(value)
    content = array.reshape(-1).view(np.uint8).data if array.nbytes else b""
    return _hash("array", f"{array.dtype} {np.shape(value)}", content)


def _tensor(value: torch.Tensor) -> bytes:
    if torch.nn.parameter.is_lazy(value):
        return _hash("tensor", f"{value.dtype} without shape")
    if value.is_meta:
        return _hash("tensor", f"{value.dtype} {tuple(value.shape)} without data")
    dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    plain = dense.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    content = plain.view(torch.uint8).numpy().data if plain.numel() else b""
    return _hash("tensor", f"{value.dtype} {tuple(value.shape)} {value.requires_grad}", content)


def _with_version(module_name: str) -> str:
    top = sys.modules.get(module_name.partition(".")[0])
    return f"{module_name} {getattr(top, '__version__', '')}"


def _hash(kind: str, *parts: str | bytes | memoryview) -> bytes:
    sha = hashlib.sha256(kind.encode())
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "little"))
        sha.update(raw)
    return sha.digest()
