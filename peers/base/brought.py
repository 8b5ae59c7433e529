"""What users bring: objects from Python, and objects that a config names to be imported where the peers are."""

import difflib
import functools
import importlib
import inspect
import json
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, PrivateAttr, model_validator

from peers.base.brought_errors import BroughtError, check_arguments, explained
from peers.base.content import Unidentifiable, digest_of
from peers.base.section import Variant

G = TypeVar("G", bound="Given")
Import = TypeVar("Import", bound="Imported")
_KNOWN: dict[tuple[int, str], tuple[Any, str]] = {}  # what was imported, by id and args, and its digest when it was


class Brought(Variant, ABC):
    """A component of the user's own. digest: SHA-256 of its code, closure and data, by which it is known again."""

    field: ClassVar[str] = ""  # the config key that the component stands at

    @property
    @abstractmethod
    def origin(self) -> str:
        """How messages name it, such as `peers.model 'mynets:ViT'`."""

    @abstractmethod
    def bring(self) -> Any:
        """The object itself. Raises: BroughtError."""


def forget_digests() -> None:
    """Before a run: compute the digests of imports anew, since their modules may have been changed or reloaded."""
    _KNOWN.clear()


def called(section: Any) -> str:
    """What people are told that a section stands for: the name of what a user has brought, else its kind."""
    name = section.name if isinstance(section, Given) else section.target if isinstance(section, Imported) else ""
    return name or str(getattr(section, "kind", ""))


class Imported(Brought):
    """An object of the user's own package or script, imported wherever it is needed."""

    kind: Literal["import"] = "import"
    target: str = Field(
        description="what is imported, as package.module:name; it is looked for in the current folder, too",
    )
    args: dict[str, Any] = Field({}, description="keyword arguments of what is imported")
    digest: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="SHA-256 of its code and args, noted in the run's own config; a run whose config has it refuses "
        "any other code",
    )

    @model_validator(mode="after")
    def _check_target(self: Import) -> Import:
        if not re.match(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", self.target):
            raise ValueError(
                f"{self.field}.target must be package.module:name, such as mynets:TinyViT, got '{self.target}'"
            )
        return self

    @property
    def origin(self) -> str:
        return f"{self.field} '{self.target}'"

    def __hash__(self) -> int:
        return hash((self.target, self.digest))

    def bring(self) -> Any:
        found = self.found()
        value = with_args(self.origin, found, self.args)
        if self.digest and self.digest != self._digest_of(found, value):
            raise BroughtError(
                f"{self.origin}: is not the code that the run was started with (SHA-256 {self.digest[:12]}, now "
                f"{self._digest_of(found, value)[:12]}): put it back, or leave {self.field}.digest out to take it as "
                "it is"
            )
        return value

    def _digest_of(self, found: Any, value: Any) -> str:
        """The digest, computed once for a run: calls may change what code refers to, as counters."""
        key = (id(found), json.dumps(self.args, sort_keys=True, default=str))
        if key not in _KNOWN:
            _KNOWN[key] = found, _digest(self.origin, value)
        return _KNOWN[key][1]

    def found(self) -> Any:
        """What the name stands for, without its arguments. Raises: BroughtError."""
        return _imported(self.origin, self.target)

    def identified(self: Import) -> Import:
        """The same with its digest. Raises: BroughtError, also if the config has another digest."""
        return self.model_copy(update={"digest": self._digest_of(self.found(), self.bring())})


class Given(Brought):
    """An object that was given from Python, as a run's own config says; no file can ask for it.

    Two sections are equal if the digests of their objects are.
    """

    kind: Literal["given"] = "given"
    name: str = Field(description="name of the class or function")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its code, closure and data")
    argument: ClassVar[str] = ""  # of `simulate` and `resume`
    _object: Any = PrivateAttr(None)
    _sent: str = PrivateAttr("")  # SHA-256 as it left another process, until it is compared here

    def __getstate__(self) -> dict[Any, Any]:
        """For another process, which imports code that has a file itself: the content as it is in this one.

        It may differ from `digest`, since functions may have counted calls.
        """
        state = super().__getstate__()
        with suppress(Unidentifiable):
            sent = "" if self._object is None else digest_of(self._object)
            state["__pydantic_private__"] = {"_object": self._object, "_sent": sent}
        return state

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def of(cls: type[G], value: Any) -> G:
        """The section for an object. Raises: BroughtError, if it has no content that could be known again."""
        name = cls.name_of(value)
        try:
            section = cls(name=name, digest=cls.digest_of(value))
        except Unidentifiable as error:
            raise BroughtError(f"{cls.argument} '{name}': {error}: give a function that makes it") from None
        section._object = value
        return section

    @classmethod
    def name_of(cls, value: Any) -> str:
        """The name of a function or class, or of an object's class. Raises: ValueError, if it is of no use here."""
        inner = value.func if isinstance(value, functools.partial) else value
        return str(getattr(inner, "__qualname__", type(inner).__qualname__)).rpartition("<locals>.")[2][:200]

    @classmethod
    def digest_of(cls, value: Any) -> str:
        """SHA-256 of its content. Raises: Unidentifiable."""
        return digest_of(value)

    def without_object(self: G) -> G:
        """The same without the object, for processes that get it otherwise."""
        bare = self.model_copy()
        bare._object = None
        return bare

    @property
    def origin(self) -> str:
        return f"{self.field} '{self.name}'"

    def bring(self) -> Any:
        if self._object is None:
            raise BroughtError(
                f"{self.field}.kind: 'given' means an object from Python ('{self.name}', SHA-256 {self.digest[:12]}), "
                f"which no file holds: give it again as {self.argument}=... to resume(RUN), load_result(RUN) or "
                "simulate(CONFIG)"
            )
        if self._sent:
            self._check_sent()
        return self._object

    def _check_sent(self) -> None:
        sent, self._sent = self._sent, ""
        if digest_of(self._object) != sent:
            raise BroughtError(
                f"{self.origin}: the processes of peers import other code than this one, such as a file that has "
                "changed since: start Python anew, or set hosting.pool to in-process"
            )


def with_args(origin: str, value: Any, args: Mapping[str, Any]) -> Any:
    """A callable with its keyword arguments bound; without any, the object as it is. Raises: BroughtError."""
    if not args:
        return value
    if not callable(value):
        raise BroughtError(f"{origin}: is a {type(value).__name__}, which takes no args: leave them out")
    try:
        names = inspect.signature(value).parameters
    except (TypeError, ValueError):  # built-in functions may have no signature
        return functools.partial(value, **args)
    if not any(name.kind is name.VAR_KEYWORD for name in names.values()):
        for unknown in args.keys() - names.keys():
            close = difflib.get_close_matches(unknown, names, 1)
            hint = f": did you mean '{close[0]}'?" if close else f": it has {', '.join(names) or 'none'}"
            raise BroughtError(f"{origin}: has no argument '{unknown}'{hint}")
    return functools.partial(value, **args)


def taken(value: Callable[..., Any], offered: Mapping[str, Any], untold: int) -> tuple[Any, ...]:
    """Those of the offered arguments, in order, that a callable takes by position.

    A parameter with a default keeps it, unless it has the offered argument's name: the second one of a network's class
    may be its width. untold: how many a callable gets that does not tell, such as a built-in one, or one of `*args`.
    """
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return tuple(offered.values())[:untold]
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(offered.values())[:untold]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = []
    for (name, argument), parameter in zip(offered.items(), parameters, strict=False):
        if parameter.kind not in positional or (parameter.default is not parameter.empty and parameter.name != name):
            break
        found.append(argument)
    return tuple(found)


def call(origin: str, takes: str, value: Any, *batches: Any) -> Any:
    """Call a function, or an object of a class, with batches; objects with tensors go where the batches are.

    origin, takes: what is named, and what it must take in words, if it cannot be called with as many batches.
    """
    made = value() if isinstance(getattr(value, "func", value), type) else value
    if hasattr(made, "to") and hasattr(made, "parameters"):  # a torch.nn.Module
        made = made.to(batches[0].device)
    try:
        return made(*batches)
    except TypeError:
        check_arguments(origin, made, batches, takes)
        raise


def _digest(origin: str, value: Any) -> str:
    try:
        return digest_of(value)
    except Unidentifiable as error:
        raise BroughtError(f"{origin}: {error}: name a function that makes it") from None


def _imported(origin: str, target: str) -> Any:
    module_name, _, path = target.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not look there
    try:
        with explained(origin):
            found: Any = importlib.import_module(module_name)
    except BroughtError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing and re.match(rf"{re.escape(missing)}(\.|$)", module_name):
            raise BroughtError(
                f"{origin}: there is no module '{missing}': it is looked for in the current folder ({os.getcwd()}) and "
                "on PYTHONPATH; go to its folder, or install it"
            ) from None
        raise
    for name in path.split("."):
        if not hasattr(found, name):
            close = difflib.get_close_matches(name, dir(found), 1)
            hint = f": did you mean '{close[0]}'?" if close else ""
            raise BroughtError(f"{origin}: {module_name} has no '{name}'{hint}")
        found = getattr(found, name)
    return found
