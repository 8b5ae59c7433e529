"""Provides a home folder and user name, which Ray, MLflow and Matplotlib need, where the system has none."""

import atexit
import getpass
import os
import secrets
import shutil
import tempfile
from pathlib import Path

_temporary_homes: set[str] = set()
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def provide_home() -> str:
    """Make sure that this process and its children have a home folder and a user name.

    Containers may run as a user id without a name, and without a writable home. Returns a message for the user; empty
    if nothing needed fixing. A temporary home is removed when the process ends.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid-{os.getuid()}"
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        named = f"'{home}' is no folder" if os.path.isabs(home) else "it is not set, and no user has this process's id"
        os.environ["HOME"] = _make_temporary_home()
        return f"HOME: {named}; a temporary folder stands in for it: set HOME to a folder that can be written to"
    if not os.access(home, os.W_OK | os.X_OK):  # it may hold credentials to read, so HOME stays as it is
        os.environ.setdefault("MPLCONFIGDIR", _make_temporary_home())
        if not any(name in os.environ for name in TOKENS) and not Path(home, ".ray", "auth_token").is_file():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # otherwise Ray would create one in the home
    return ""


def is_temporary() -> bool:
    """Whether HOME is a temporary folder, whose contents are removed when the process ends."""
    return os.environ.get("HOME") in _temporary_homes


def remove_temporary() -> None:
    """Remove temporary homes; to be called before an exit that skips the interpreter's exit handlers."""
    for folder in _temporary_homes:
        shutil.rmtree(folder, ignore_errors=True)


def _make_temporary_home() -> str:
    """Make a private folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="peer-consensus-home-")
    _temporary_homes.add(folder)
    return folder


atexit.register(remove_temporary)
