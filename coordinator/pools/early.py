"""Starts what a local Ray forks its workers from when a command begins, so that both import side by side.

It imports little itself: no torch, no Ray.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from coordinator.experiment.reading import ConfigError
from coordinator.pools.forking.fork_server import ForkServer
from coordinator.pools.guard import Guard
from coordinator.pools.session_files import session_folder
from coordinator.pools.watcher import MARK

_WAITING: list[Guard] = []


@contextmanager
def fork_server_ahead(modules: Sequence[str]) -> Iterator[None]:
    """Start a fork server, unless there are no modules for it to import; it ends with the block if nobody took it."""
    try:
        if modules:
            _WAITING.append(guard_with_forks(modules))
    except (ConfigError, OSError):  # the run will say so, if it does not do without
        pass
    try:
        yield
    finally:
        for guard in [_WAITING.pop() for _ in list(_WAITING)]:
            assert guard.forks is not None, "it was started with them"
            guard.forks.close()
            guard.done()


def guard_with_forks(modules: Sequence[str]) -> Guard:
    """A guard of a new folder for Ray's files, with what workers are forked from; the one started ahead, if any.

    Raises: ConfigError, if there is no place for the folder; OSError, if no process can be started.
    """
    if _WAITING:
        return _WAITING.pop()
    guard = Guard(session_folder())
    try:
        guard.forks = ForkServer(guard.folder, {MARK: guard.folder}, modules)
    except BaseException:
        guard.done()
        raise
    return guard
