"""What a Ray job's package of the current folder holds, found out before anything is sent."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coordinator.experiment.config import PATHS, ConfigError, RunConfig
from coordinator.experiment.reading import is_utf8, shown

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
MAX_FOLDERS = 64  # in each other
INSTEAD = ": copy it there, or name a path that the cluster has"
Excluded = Callable[[Path], bool]


def check_shipped(folder: Path, needed: dict[str, Path]) -> None:
    """Find what Ray's packing would wait for, stumble over, or leave out although the job needs it.

    needed: files and folders, by the setting that names them. Raises: ConfigError.
    """
    shipped = set(_walk(folder, [_matcher(folder, _excludes())]))
    for name, path in needed.items():
        if not path.is_relative_to(folder):
            raise ConfigError(
                f"{name}: '{path}' must lie in the current folder, which is what the cluster gets{INSTEAD}"
            )
        if not path.exists():
            raise ConfigError(f"{name}: '{path.relative_to(folder)}' is not in the current folder{INSTEAD}")
        whole = [path, *(each for each in path.rglob("*") if each.is_file())]
        left_out = next((each for each in whole if each not in shipped), None)
        if left_out is not None:
            raise ConfigError(
                f"{name}: '{left_out.relative_to(folder)}' is not sent to the cluster, which gets the current folder "
                "without .git, runs/, data/ and what .gitignore and .rayignore name: copy it to elsewhere in the folder"
                + ("" if name == "config" else ", or name a path that the cluster has")
            )


def needed_by(config: RunConfig, table: dict[str, Any], folder: Path) -> dict[str, Path]:
    """What a config needs from the folder that it is started in: the files that it names by relative paths.

    table: the same config as it is written. Raises: ConfigError, for what would be lost with that folder.
    """
    needed: dict[str, Path] = {}
    for section, field in PATHS:
        part = getattr(config, section)
        default = type(part).model_fields[field].default if field in type(part).model_fields else ""
        name = str(table.get(section, {}).get(field, default or ""))
        if not name or name.startswith(("/", "~")) or "://" in name or getattr(part, "download", False):
            continue
        if section == "checkpoint":
            raise ConfigError(
                f"checkpoint.path: '{name}' would lie in the job's own folder, which is thrown away: name a folder "
                "that all nodes reach, or a URL"
            )
        needed[f"{section}.{field}"] = Path(os.path.normpath(folder / name))
    return needed


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
    try:
        excluded = excluded + _ignore_files(path)  # which may name their own folder
        if any(matches(path) for matches in excluded):
            return
        _check_entry(path, depth)
        below = sorted(path.iterdir()) if path.is_dir() else []
    except OSError as error:
        raise ConfigError(_told(path, f"cannot be read ({error.strerror})")) from None
    except UnicodeDecodeError:
        raise ConfigError(f"submit: an ignore file in '{path}' is not text in UTF-8: correct it") from None
    yield path
    for each in below:
        yield from _walk(each, excluded, depth + 1)


def _ignore_files(folder: Path) -> list[Excluded]:
    """The patterns of the folder's own ignore files."""
    names = (
        [".rayignore"] if os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1" else [".gitignore", ".rayignore"]
    )
    files = [folder / name for name in names if (folder / name).is_file()]
    return [_matcher(folder, each.read_text(encoding="utf-8").splitlines()) for each in files]


def _check_entry(path: Path, depth: int) -> None:
    """Raises: ConfigError, for what cannot be packed."""
    if not is_utf8(str(path)):
        raise ConfigError(f"submit: the name {shown(str(path))} is not text in UTF-8: rename it, or remove it")
    try:
        mode = path.stat().st_mode
    except OSError:  # a link to nothing, which is left out
        return
    if depth > MAX_FOLDERS or (path.is_symlink() and path.resolve() in path.parents):
        raise ConfigError(_told(path, "lies in too many folders, or is a link that leads back to one above it"))
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(_told(path, "is no file, but a pipe, a socket or a device"))
    if not os.access(path, os.R_OK):
        raise ConfigError(_told(path, "cannot be read (Permission denied)"))


def _told(path: Path, what: str) -> str:
    return f"submit: '{path}' {what}, and cannot be sent: remove it, or name it in .rayignore"
