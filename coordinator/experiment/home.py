"""A home for what wants one: Ray, MLflow and Matplotlib read and write files there, and ask for the user's name."""

import atexit
import getpass
import os
import secrets
import shutil
import tempfile
from pathlib import Path

_made: set[str] = set()
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def provide_home() -> str:
    """See to it that this process, and what it starts, has a home and a user's name.

    Containers may run as a user whom nobody has named, with no home, or one that cannot be written to. Returns what to
    tell; empty where all is well. The folder that stands in is removed when the process ends.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid-{os.getuid()}"
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        named = f"'{home}' is no folder" if os.path.isabs(home) else "it is not set, and no user has this process's id"
        os.environ["HOME"] = _temporary()
        return f"HOME: {named}; a temporary folder stands in for it: set HOME to a folder that can be written to"
    if not os.access(home, os.W_OK | os.X_OK):  # there may be credentials to read, so it stays the home
        os.environ.setdefault("MPLCONFIGDIR", _temporary())
        if not any(name in os.environ for name in TOKENS) and not Path(home, ".ray", "auth_token").is_file():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # or Ray would make one, there
    return ""


def is_temporary() -> bool:
    """Whether the home only stands in for one: what lies there is gone at the end."""
    return os.environ.get("HOME") in _made


def remove_temporary() -> None:
    """Remove what stood in for a home, where the process ends without the interpreter's own clearing up."""
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> str:
    """A folder for this user alone, for as long as the process lives."""
    folder = tempfile.mkdtemp(prefix="peer-consensus-home-")
    _made.add(folder)
    return folder


atexit.register(remove_temporary)
