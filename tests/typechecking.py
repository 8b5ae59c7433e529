"""Checks the annotations of the packages while tests run, by beartype; shapes of arrays by jaxtyping.

Like jaxtyping's own import hook, but a function without arrays is beartype's alone, and arguments are bound by Python
alone, not a second time by `inspect`: that took a third of the tests' time.
"""

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import wraps
from inspect import isgeneratorfunction
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, get_args, get_type_hints

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, jaxtyped

CHECKED = "__checked__"  # what modules call the decorator
FUNCTION = "__beartype_func"  # the argument of what beartype makes that is the function itself
CONF = BeartypeConf(violation_type=TypeCheckError)  # a TypeError
_WITHIN: dict[tuple[CodeType, str, str], Any] = {}  # what beartype makes, by code, its file, and annotations in words


def check_types(*packages: str) -> None:
    """From now on, functions and dataclasses of these packages check what they get and return.

    Raises: RuntimeError, if one of them is imported already.
    """
    if early := [package for package in packages if package in sys.modules]:
        raise RuntimeError(f"imported before its types could be checked: {', '.join(early)}")
    sys.meta_path.insert(0, _Finder(packages))


def checked(defined: Any) -> Any:
    """A function that checks its arguments and result, in which a name of an axis is of one length; or a dataclass."""
    if isinstance(defined, type):
        if is_dataclass(defined) and "__init__" in vars(defined):
            defined.__init__ = checked(defined.__init__)  # type: ignore[misc]
        return defined
    key = (defined.__code__, defined.__code__.co_filename, repr(defined.__annotations__))
    if key in _WITHIN:
        return _again(_WITHIN[key], defined)
    defined.__annotations__ = {name: _resolved(each, defined) for name, each in defined.__annotations__.items()}
    if isgeneratorfunction(defined):  # is checked when it is called, not when it is first asked for a value
        return jaxtyped(defined, typechecker=beartype)
    typed = beartype(conf=CONF)(defined)
    is_within = "<locals>" in defined.__qualname__ and key[1] != "<string>"  # as dataclasses' functions are
    if is_within and FUNCTION in (getattr(typed, "__kwdefaults__", None) or {}):
        _WITHIN[key] = typed
    return _with_axes(typed, defined)


def _again(typed: Any, defined: Any) -> Any:
    """For a function within another, which is made anew in each call of that: beartype takes a millisecond for one."""
    again = FunctionType(typed.__code__, typed.__globals__, typed.__name__, typed.__defaults__, typed.__closure__)
    again.__kwdefaults__ = {**typed.__kwdefaults__, FUNCTION: defined}
    defined.__annotations__ = typed.__annotations__
    return _with_axes(wraps(defined)(again), defined)


def _with_axes(typed: Any, defined: Any) -> Any:
    if not any(map(_has_array, defined.__annotations__.values())):
        return typed

    @wraps(defined)
    def with_axes(*args: Any, **kwargs: Any) -> Any:
        with jaxtyped("context"):
            return typed(*args, **kwargs)

    return with_axes


def _resolved(annotation: Any, function: Any) -> Any:
    """With what texts in it stand for; `Any`, if one is not defined yet, or for type checkers alone."""
    try:
        of = SimpleNamespace(__annotations__={"it": annotation})
        return get_type_hints(of, function.__globals__, include_extras=True)["it"]
    except Exception:
        return Any


def _has_array(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_has_array, get_args(annotation)))


class _Decorate(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Next to the function, since other decorators may hide its annotations."""
        node.decorator_list.append(ast.copy_location(ast.Name(CHECKED, ast.Load()), node))
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """After all others, of which one makes it a dataclass."""
        node.decorator_list.insert(0, ast.copy_location(ast.Name(CHECKED, ast.Load()), node))
        self.generic_visit(node)
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """From the source: what Python keeps compiled is without checks."""
        path = self.get_filename(fullname)
        tree = _Decorate().visit(ast.parse(self.get_data(path), path))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, CHECKED, checked)
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """As the other finders do, of which one may know a package that is installed as editable."""
        if fullname.split(".")[0] not in self.packages:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
