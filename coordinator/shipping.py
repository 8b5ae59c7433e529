"""What a Ray job's package of the current folder holds, found out before anything is sent."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from coordinator.config import PATHS, ConfigError, RunConfig
from coordinator.reading import is_utf8, shown

NOT_SHIPPED = (  # as .gitignore has it; what .gitignore and .rayignore name is left out by Ray
    ".git/",
    "/runs/",
    "/data/",
    "mlruns/",
    "mlartifacts/",
    "mlflow.db",
    ".venv/",
    "venv/",
    "__pycache__/",
    ".*_cache/",
    "*.egg-info/",
)
MAX_FOLDERS = 64  # in each other: more are a link that leads back
Excluded = Callable[[Path], bool]


def check_shipped(folder: Path, needed: dict[str, Path]) -> None:
    """Find what Ray's packing would wait for, stumble over or leave out.

    needed: files and folders of `folder` that the job needs, by what names them; one that is not there is not looked
    for. Raises: ConfigError.
    """
    shipped = set(_walk(folder, [_matcher(folder, _excludes())]))
    for name, path in needed.items():
        if path.exists() and path not in shipped:
            raise ConfigError(
                f"{name}: '{path.relative_to(folder)}' is not sent to the cluster, which gets the current folder without "
                f"{', '.join(each.strip('/') for each in NOT_SHIPPED[:3])} and what .gitignore and .rayignore name: "
                "copy it elsewhere, or name a path that the cluster has"
            )


def needed_by(config: RunConfig, folder: Path) -> dict[str, Path]:
    """The files and folders that a config names below `folder`, by their settings."""
    found: dict[str, Path] = {}
    for section, field in PATHS:
        name = getattr(getattr(config, section), field, None)
        if (section, field) != ("checkpoint", "path") and name and Path(name).is_relative_to(folder):
            found[f"{section}.{field}"] = Path(name)
    return found


def _excludes() -> list[str]:
    """What Ray leaves out by itself, where it does, and what we leave out."""
    from ray._private import ray_constants

    by_default = getattr(ray_constants, "get_runtime_env_default_excludes", list)
    return [*by_default(), *NOT_SHIPPED]


def _matcher(folder: Path, patterns: Sequence[str]) -> Excluded:
    """Ray's own reading of patterns as .gitignore has them, relative to a folder."""
    from ray._private.runtime_env.packaging import _get_excludes

    matches: Excluded = _get_excludes(folder, list(patterns))
    return matches


def _walk(path: Path, excluded: list[Excluded], depth: int = 0) -> Iterator[Path]:
    """The folder and all that is sent of it, in the way that Ray goes. Raises: ConfigError."""
    if any(matches(path) for matches in excluded):
        return
    _check_entry(path)
    yield path
    if not path.is_dir():
        return
    if depth == MAX_FOLDERS:
        raise ConfigError(f"submit: '{path}' lies {depth} folders deep, or a link leads back: name it in .rayignore")
    try:
        inside = excluded + _ignore_files(path)
        below = sorted(Path(each.path) for each in os.scandir(path))
    except OSError as error:
        raise ConfigError(_told(path, f"cannot be read ({error.strerror})")) from None
    except UnicodeDecodeError:
        raise ConfigError(f"submit: an ignore file in '{path}' is not text in UTF-8: correct it") from None
    for each in below:
        yield from _walk(each, inside, depth + 1)


def _ignore_files(folder: Path) -> list[Excluded]:
    """The patterns of the folder's own ignore files."""
    names = [".rayignore"] if os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1" else [".gitignore", ".rayignore"]
    files = [folder / name for name in names if (folder / name).is_file()]
    return [_matcher(folder, each.read_text(encoding="utf-8").splitlines()) for each in files]


def _check_entry(path: Path) -> None:
    """Raises: ConfigError, for what cannot be packed."""
    if not is_utf8(str(path)):
        raise ConfigError(f"submit: the name {shown(str(path))} is not text in UTF-8: rename it, or remove it")
    try:
        mode = path.stat().st_mode
    except OSError:  # a link to nothing, which is left out
        return
    if path.is_symlink() and path.resolve() in path.parents:
        raise ConfigError(_told(path, "is a link that leads back to a folder above it"))
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(_told(path, "is no file, but a pipe, a socket or a device"))
    if not os.access(path, os.R_OK):
        raise ConfigError(_told(path, "cannot be read (Permission denied)"))


def _told(path: Path, what: str) -> str:
    return f"submit: '{path}' {what}, and cannot be sent: remove it, or name it in .rayignore"
