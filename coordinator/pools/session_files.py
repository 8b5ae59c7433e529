"""Keeps Ray's files on this machine private to its user: the session folder and the authentication token."""

import os
import secrets
import shutil
import tempfile
import warnings
from pathlib import Path

from coordinator.experiment.reading import ConfigError

INSIDE = "/pc-12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
LONGEST = 107 - len(INSIDE)  # bytes left for our folder: a socket's path has at most 107
ROOM = 64 * 2**20  # bytes that must be free
ELSEWHERE = ("/tmp", "/var/tmp")  # nosec B108


def session_folder() -> str:
    """Make a folder for Ray's files that only this user can enter.

    It lies in the first usable one of RAY_TMPDIR, TMPDIR, /tmp and further defaults; a warning says why a requested
    one is not used. Raises: ConfigError.
    """
    requested = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or ""
    refused = []
    for base in dict.fromkeys(filter(None, (requested, *ELSEWHERE, os.environ.get("XDG_RUNTIME_DIR")))):
        try:
            folder = _make_folder_in(os.path.abspath(base))
        except OSError as error:
            refused.append(f"'{base}' cannot be used ({error.strerror or error})")
            continue
        if refused:
            warnings.warn(f"TMPDIR: {refused[0]}: Ray's files are in '{base}'", stacklevel=2)
        return folder
    raise ConfigError(
        f"TMPDIR: no folder for Ray's files: {', '.join(refused)}: set it to one of at most {LONGEST} characters that "
        f"you can write to, with {ROOM >> 20} MiB free"
    )


def _make_folder_in(base: str) -> str:
    """Make a private folder in `base`. Raises: OSError, if `base` is unsuitable."""
    if len(os.fsencode(base)) > LONGEST:
        raise OSError(f"longer than {LONGEST} characters, too long for Ray's sockets")
    if shutil.disk_usage(base).free < ROOM:
        raise OSError(f"less than {ROOM >> 20} MiB free")
    return tempfile.mkdtemp(prefix="pc-", dir=base)  # 0700


def keep_token(local: bool) -> None:
    """Make Ray's authentication token readable by this user only.

    Ray reads the token from ~/.ray/auth_token. If a cluster on this machine (`local`) has none, Ray creates it there,
    readable by everybody; so access to the folder is restricted first. Without a writable home, the token is passed
    through the environment of this process and its children.
    """
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    try:
        folder = Path.home() / ".ray"
        if local:
            folder.mkdir(mode=0o700, exist_ok=True)
        for path, mode in ((folder, 0o700), (folder / "auth_token", 0o600)):
            if path.exists() and path.stat().st_uid == os.getuid():
                path.chmod(mode)
        usable = os.access(folder / "auth_token", os.R_OK) or os.access(folder, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # the folder cannot be created, or there is no home
        usable = False
    if local and not usable:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
