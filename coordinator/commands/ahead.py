"""Starts what Ray's workers are forked from before a command has imported anything, if it is going to need that."""

import sys
import tomllib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from coordinator.planning.ray_release import untested
from coordinator.pools.early import fork_server_ahead
from coordinator.pools.forking.fork_server import HOSTS, RUNS

OF_RUNS = ("run", "resume", "ablate")
WITHOUT_RUN = {"--dry-run", "--help"}
GPU = Path("/dev/nvidia0")


def forking_ahead(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """A `with` block for a command of these arguments, beside the process that its workers are forked from."""
    return fork_server_ahead(modules_to_fork(arguments))


def modules_to_fork(arguments: Sequence[str]) -> tuple[str, ...]:
    """What the workers of a command will import, if they are to be forked; none if not, or if that cannot be told yet.

    A guess that turns out wrong costs a second of another core, or gains nothing.
    """
    if sys.platform != "linux" or arguments[:1] not in [[each] for each in OF_RUNS] or WITHOUT_RUN & set(arguments):
        return ()
    try:
        hosting = _hosting(arguments)
    except (OSError, ValueError, AttributeError, TypeError):
        return ()  # the command will say what is wrong
    many = arguments[0] == "ablate" or any(each.split("=")[0] == "--seeds" for each in arguments)
    if hosting.get("workers") == "spawned" or hosting.get("address") or hosting.get("device") == "cuda":
        return ()
    if (hosting.get("device", "auto") == "auto" and GPU.exists()) or untested():
        return ()
    if hosting.get("pool", "ray") != "ray" and not many:
        return ()
    return RUNS if many else HOSTS


def _hosting(arguments: Sequence[str]) -> dict[str, Any]:
    """The section hosting, as far as the arguments and the file that they name say so."""
    named, *_ = (Path(each) for each in arguments[1:] if not each.startswith("-"))
    path = named / "config.toml" if named.is_dir() else named
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    base = table.get("base", {})
    if isinstance(base, str):
        base = tomllib.loads((path.parent / base).read_text(encoding="utf-8"))
    found = {**base.get("hosting", {}), **table.get("hosting", {})}
    for each in arguments:
        key, equals, value = each.removeprefix("base.").partition("=")
        if equals and key.startswith("hosting."):
            found[key.removeprefix("hosting.")] = value.strip("'\"")
        elif key == "--address":
            found["address"] = value or "elsewhere"
    return found
