"""The server of the pages: uvicorn with these settings, and without its own handling of signals."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from coordinator.watching.app import application
from coordinator.watching.sources import Sources

MOST_CONNECTIONS = 256


def server_of(sources: Sources, hosts: set[str], grace: int) -> uvicorn.Server:
    """A server that answers to these names only. grace: seconds that connections have when it is to end."""
    return _Server(
        uvicorn.Config(
            application(sources, hosts),
            log_level="error",  # what a client does wrong is told to the client
            proxy_headers=False,
            access_log=False,
            lifespan="off",
            server_header=False,
            http="h11",
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=grace,
        )
    )


class _Server(uvicorn.Server):
    """uvicorn's server without its own handling of signals, which ends the process by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
