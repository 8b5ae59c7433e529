"""Errors of what users bring, told with the user's own lines of code."""

import inspect
import linecache
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from peers.base.own_code import is_own_file

_FRAMES = 4  # lines of a user's traceback that are shown, the innermost


class BroughtError(ValueError):
    """What a user has brought is missing, has changed, or has raised an error, which is told with his own lines."""


@contextmanager
def explained(origin: str) -> Iterator[None]:
    """Turn what a user's code raises into a `BroughtError`: one line, and his own lines of the traceback."""
    try:
        yield
    except BroughtError:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which runs report by themselves
            raise
        raise BroughtError(_told(origin, error)) from error


@contextmanager
def of_peer(peer: int) -> Iterator[None]:
    """Name the peer in what a user's code has raised."""
    try:
        yield
    except BroughtError as error:
        first, *rest = str(error).split("\n")
        raise type(error)("\n".join([f"{first} (peer {peer})", *rest])) from error.__cause__


def check_arguments(origin: str, value: Any, arguments: Sequence[Any], takes: str) -> None:
    """Refuse a callable that cannot be called with these arguments. takes: what it must take, in words.

    One that does not tell what it takes, as some built-in functions, is not refused. Raises: BroughtError, of one line.
    """
    try:
        signature = inspect.signature(getattr(value, "forward", value))  # a module's __call__ takes anything
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        names = ", ".join(signature.parameters)
        raise BroughtError(f"{origin}: must take {takes}, but takes ({names}): change its arguments") from None


def _told(origin: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:300]
    frames = list(_frames(error.__traceback__))[-_FRAMES:]
    return "\n".join([f"{origin}: raised {type(error).__name__}: {first}", *frames])


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if is_own_file(code.co_filename):
            line = linecache.getline(code.co_filename, traceback.tb_lineno).strip()
            yield f"  {os.path.basename(code.co_filename)}:{traceback.tb_lineno} in {code.co_name}: {line}"
        traceback = traceback.tb_next
