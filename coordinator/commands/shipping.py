"""Predicts which files Ray packs from the current folder for a job, before anything is sent."""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coordinator.experiment.config import PARTITION_PATH, PATHS, ConfigError, RunConfig
from coordinator.experiment.reading import is_utf8, shown
from coordinator.planning.brought import brought
from peers.base.brought import Imported
from peers.base.brought_errors import BroughtError
from peers.base.own_code import is_own_file

NOT_SHIPPED = (  # in .gitignore syntax; Ray itself excludes what .gitignore and .rayignore name
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
MAX_FOLDERS = 64  # nested
INSTEAD = ": copy it there, or name a path that the cluster has"
Excluded = Callable[[Path], bool]


def check_shipped(folder: Path, needed: dict[str, Path]) -> None:
    """Refuse files that would block or break Ray's packing, and needed files that it would exclude.

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
        whole = [path, *(file for file in path.rglob("*") if file.is_file())]
        left_out = next((file for file in whole if file not in shipped), None)
        if left_out is not None:
            raise ConfigError(
                f"{name}: '{left_out.relative_to(folder)}' is not sent to the cluster, which gets the current folder "
                "without .git, runs/, data/ and what .gitignore and .rayignore name: copy it to elsewhere in the folder"
                + ("" if name == "config" else ", or name a path that the cluster has")
            )


def needed_by(config: RunConfig, table: dict[str, Any], folder: Path) -> dict[str, Path]:
    """The files that a config names by relative paths, by setting; `folder` is the folder it is started in.

    table: the config as written in the file. Raises: ConfigError, if checkpoints would be lost with the job's folder.
    """
    needed: dict[str, Path] = {}
    for section, field in PATHS:
        part = getattr(config, section)
        if part is None:
            continue
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
    partition = str((table.get("data", {}).get("partition") or {}).get("path", ""))
    if partition and not partition.startswith(("/", "~")):
        needed[PARTITION_PATH] = Path(os.path.normpath(folder / partition))
    return needed | _imported_by(config)


def _imported_by(config: RunConfig) -> dict[str, Path]:
    """The user's own modules that a config names, by setting. Raises: ConfigError, if one cannot be imported."""
    needed: dict[str, Path] = {}
    for part in brought(config):
        if isinstance(part, Imported):
            try:
                part.bring()
            except BroughtError as error:
                raise ConfigError(str(error)) from None
            file = getattr(sys.modules[part.target.partition(":")[0]], "__file__", None)
            if file is not None and is_own_file(file):
                needed[f"{part.field}.target"] = Path(file).resolve()
    return needed


def _excludes() -> list[str]:
    """The patterns that Ray excludes by default (in versions that do), and our own."""
    from ray._private import ray_constants

    by_default = getattr(ray_constants, "get_runtime_env_default_excludes", list)
    return [*by_default(), *NOT_SHIPPED]


def _matcher(folder: Path, patterns: Sequence[str]) -> Excluded:
    """Ray's own matcher for .gitignore patterns relative to a folder."""
    from ray._private.runtime_env.packaging import _get_excludes

    matches: Excluded = _get_excludes(folder, list(patterns))
    return matches


def _walk(path: Path, excluded: list[Excluded], depth: int = 0) -> Iterator[Path]:
    """Every path below `path` that is sent, traversed as Ray does. Raises: ConfigError."""
    try:
        excluded = excluded + _ignore_files(path)  # these may exclude the folder that they are in
        if any(matches(path) for matches in excluded):
            return
        _check_entry(path, depth)
        children = sorted(path.iterdir()) if path.is_dir() else []
    except OSError as error:
        raise ConfigError(_cannot_send(path, f"cannot be read ({error.strerror})")) from None
    except UnicodeDecodeError:
        raise ConfigError(f"submit: an ignore file in '{path}' is not text in UTF-8: correct it") from None
    yield path
    for child in children:
        yield from _walk(child, excluded, depth + 1)


def _ignore_files(folder: Path) -> list[Excluded]:
    """Matchers for the ignore files of the folder itself."""
    names = (
        [".rayignore"] if os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1" else [".gitignore", ".rayignore"]
    )
    files = [folder / name for name in names if (folder / name).is_file()]
    return [_matcher(folder, file.read_text(encoding="utf-8").splitlines()) for file in files]


def _check_entry(path: Path, depth: int) -> None:
    """Raises: ConfigError, if the path cannot be packed."""
    if not is_utf8(str(path)):
        raise ConfigError(f"submit: the name {shown(str(path))} is not text in UTF-8: rename it, or remove it")
    try:
        mode = path.stat().st_mode
    except OSError:  # a dangling link, which is not sent
        return
    if depth > MAX_FOLDERS or (path.is_symlink() and path.resolve() in path.parents):
        raise ConfigError(_cannot_send(path, "lies in too many folders, or is a link that leads back to one above it"))
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(_cannot_send(path, "is no file, but a pipe, a socket or a device"))
    if not os.access(path, os.R_OK):
        raise ConfigError(_cannot_send(path, "cannot be read (Permission denied)"))


def _cannot_send(path: Path, problem: str) -> str:
    return f"submit: '{path}' {problem}, and cannot be sent: remove it, or name it in .rayignore"
