"""Turns the errors of a command into one line each and an exit code."""

import atexit
import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from coordinator.experiment.reading import ConfigError, is_utf8, shown
from coordinator.records.plain_text import visible

INTERRUPTED = 130
OF_THE_MACHINE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
}
UsageError: Any = typer.BadParameter.__mro__[1]  # click's, which newer releases of typer bring along and do not export


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; returns its exit code: 2 for errors of the user or this machine, printed as one line each."""
    try:
        _check_arguments(sys.argv[1:])
        code = command()
        return code if isinstance(code, int) else 0
    except ConfigError as error:
        return _refused(str(error))
    except UsageError as error:
        message = error.format_message().rstrip(".")
        named = error.ctx.command_path if error.ctx else "peer-consensus"
        return _refused(f"{message} (see {named} --help)" if message else "")  # empty: help was printed
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:  # a bug: show the traceback
            raise
        where = f"'{error.filename}': " if error.filename else ""
        return _refused(f"{where}{error.strerror}: choose another place, make room, or give this user access")
    except MemoryError:
        return _refused("this machine's memory is used up: end what else runs, or lower peers.count or data.batch_size")


def leave(code: int) -> NoReturn:
    """End this process after its exit handlers: Python would then take seconds to free what torch and others hold."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if others or "torch" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    os._exit(code)


def _refused(lines: str) -> int:
    for line in lines.splitlines():
        tell(line, "error: ")
    return 2


def tell(line: str, before: str = "note: ") -> None:
    """Print a line to standard error, without control characters that names in it may have."""
    print(f"{before}{visible(line)}", file=sys.stderr, flush=True)


def _check_arguments(arguments: list[str]) -> None:
    """Raises: ConfigError, for an argument that is not UTF-8: no file of a run could hold it."""
    for argument in arguments:
        if not is_utf8(argument):
            raise ConfigError(f"{shown(argument)} is not text in UTF-8: rename what it names")


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print warnings that are meant for users, and drop all others."""
    if category is UserWarning:
        tell(str(message))
