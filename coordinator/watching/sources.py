"""What a server shows: a run, or a folder of runs; each under an opaque token, so that no address names a path."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from coordinator.watching.feed import Feed

CONFIG, ABLATION = "config.toml", "ablation.toml"
MAIN = "main"  # the token of what the server was started for


class Sources:
    """The feeds by token: that of the folder itself, and those of the runs that its list names."""

    def __init__(self, folder: Path) -> None:
        self._paths: dict[str, Path] = {MAIN: folder}
        self._tokens: dict[Path, str] = {folder: MAIN}
        self._feeds: dict[str, Feed] = {}

    def path(self, token: str) -> Path | None:
        return self._paths.get(token)

    def feed(self, token: str) -> Feed | None:
        """The feed of a token; None if the token was never given out."""
        path = self._paths.get(token)
        if path is None:
            return None
        if token not in self._feeds:
            self._feeds[token] = Feed(lambda: self._opened(path), _changes)
        return self._feeds[token]

    def token_of(self, path: Path) -> str:
        """The token of a run or an ablation in the folder: always the same."""
        token = self._tokens.setdefault(path, secrets.token_urlsafe(9))
        self._paths[token] = path
        return token

    async def last_look(self, seconds: float) -> None:
        """Tell all clients what there is now, and wait until they have got it, but no longer than so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(feed.last_look() for feed in self._feeds.values())), seconds)

    def close(self) -> None:
        """End all streams."""
        for feed in self._feeds.values():
            feed.close()

    def _opened(self, path: Path) -> Callable[[], Mapping[str, Any]]:
        """The reader of a folder. It is imported here, in the feed's thread: it takes seconds, pages need not."""
        if is_run(path):
            from coordinator.documents.document import RunDocument

            return RunDocument(path).read
        from coordinator.documents.listing import RunList

        return RunList(path, self.token_of).read


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def is_watchable(folder: Path) -> bool:
    """Whether a folder is a run's, an ablation's, or has any of these in it."""
    if is_run(folder) or (folder / ABLATION).is_file():
        return True
    try:
        return any(is_run(path) or (path / ABLATION).is_file() for path in folder.iterdir() if path.is_dir())
    except OSError:
        return False


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    from coordinator.documents.changes import changes

    return changes(old, new)
