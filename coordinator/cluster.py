"""Ray: joined, or started on this machine and ended again."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordinator.config import ConfigError

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what Ray sets for the command of a job


@contextmanager
def open_ray(address: str) -> Iterator[Any]:
    """Ray, for the length of a `with` block; one that runs in this process already is used, and left as it is."""
    import ray

    started = not ray.is_initialized()
    if started:
        start_ray(address)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def start_ray(address: str) -> None:
    """Join the cluster at `address`; without one start it on this machine, to end with this process.

    Inside a Ray job no address means the job's own cluster.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # calls in flight when a run stops are no news
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers use this environment as it is
    address = address or ("auto" if JOB in os.environ else "")
    _check_reachable(address)
    try:
        ray.init(address=address or "local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"no Ray cluster at '{address}'" if address else "Ray did not start on this machine"
        raise ConfigError(f"hosting.address: {where}: {first_line(error)}") from None


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes. Raises: ConfigError when nothing listens at HOST:PORT."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"hosting.address: no Ray cluster at '{address}': {error}") from None


def first_line(error: object) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), "no reason given")
