"""Joins a Ray cluster, or starts Ray on this machine and ends it again."""

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from threading import current_thread, main_thread
from typing import Any

from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.planning.workers import JOB
from coordinator.pools.early import guard_with_forks
from coordinator.pools.guard import Guard
from coordinator.pools.process_settings import hold_setting
from coordinator.pools.session_files import keep_token, session_folder
from coordinator.pools.watcher import MARK

_GUARDS: list[Guard] = []  # the guard of the Ray that this process has started, if any
LOCAL = {  # of a Ray that we start
    "RAY_worker_niceness": "0",  # its workers are all there is to do; Ray's own is 15
    # the start waits for the first workers, for ever if Ray has given them up: after 60 s, if the machine is busy
    "RAY_worker_register_timeout_seconds": "180",
}


@contextmanager
def open_ray(address: str, advice: str = "", modules: Sequence[str] = ()) -> Iterator[Any]:
    """The `ray` module, connected for the duration of a `with` block; an existing connection is reused and kept.

    advice: printed if this process is killed. modules: see `shared_ray`.
    """
    import ray

    with shared_ray(address, modules) as guard:
        if guard:
            guard.advise("ablation", advice)
        yield ray


@contextmanager
def shared_ray(address: str, modules: Sequence[str] = ()) -> Iterator[Guard | None]:
    """This process's Ray in a `with` block: the first of several concurrent runs starts it, the last one ends it.

    A Ray that was already running is reused and not ended; in that case there is no guard.
    modules: what a process imports from which a Ray on this machine forks its workers; none: there is no such process.
    """
    with hold_setting("hosting.address", address, lambda: _ensure_started(address, modules)):
        yield _GUARDS[-1] if _GUARDS else None


def _ensure_started(address: str, modules: Sequence[str]) -> Callable[[], object]:
    """Start Ray unless it is running; returns a function that ends it if it was started here."""
    import ray

    if ray.is_initialized():
        return lambda: None
    _GUARDS.append(start_ray(address, modules))
    return lambda: end_ray(_GUARDS.pop())


def start_ray(address: str, modules: Sequence[str] = ()) -> Guard:
    """Join the cluster at `address`; with an empty address start Ray on this machine, to end with this process.

    Inside a Ray job, an empty address means the job's own cluster. Returns the guard, which `end_ray` takes.
    modules: see `shared_ray`.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # such as calls in flight when a run stops
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers use this environment unchanged
    address = address or ("auto" if JOB in os.environ else "")
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address  # as Ray itself resolves it
    address = "" if address == "local" else address
    found = _resolved(address)
    keep_token(local=not address)
    guard = _guard(local=not address, modules=modules)
    options = {"address": found or "local", "include_dashboard": False, "log_to_driver": False}
    own = {MARK: guard.folder}
    if not address:
        options["_temp_dir"] = f"{guard.folder}/r"  # Ray makes this folder world-readable, but not its parent
        own |= {name: os.environ.get(name, value) for name, value in LOCAL.items()}
    try:
        with _signals(), _environment(own), guard.forks.used() if guard.forks else nullcontext():
            ray.init(**options, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        end_ray(guard)
        where = f"no Ray cluster at '{address}'" if address else "Ray did not start on this machine"
        raise ConfigError(f"hosting.address: {where}: {first_line(error)}") from None
    except BaseException:
        end_ray(guard)
        raise
    keep_token(local=not address)  # Ray may have created the token just now
    guard.ready()
    return guard


@contextmanager
def _signals() -> Iterator[None]:
    """Raise KeyboardInterrupt for signals that arrive while Ray starts, and restore their handlers afterwards.

    This is needed because Ray forks, and exceptions raised by a signal handler inside fork callbacks are lost. Ray
    also turns SIGTERM into SystemExit.
    """
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    received = False

    def remember(number: int, frame: Any) -> None:
        nonlocal received
        received = True
        handler = before[signal.Signals(number)]
        assert callable(handler), "others are left alone"
        handler(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, remember)
    try:
        yield
    except SystemExit:
        handler = before[signal.SIGTERM]
        if callable(handler):
            handler(signal.SIGTERM, None)
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if received:
        raise KeyboardInterrupt


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started inside the `with` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _guard(local: bool, modules: Sequence[str]) -> Guard:
    try:
        return guard_with_forks(modules) if local and modules else Guard(session_folder() if local else "")
    except OSError as error:
        raise ConfigError(f"hosting.pool: no process can be started here ({error.strerror}): end others") from None


def end_ray(guard: Guard) -> None:
    """Disconnect from Ray; if it was started here, stop it and remove its processes and files on this machine."""
    import ray

    guard.leaving()
    ray.shutdown()
    if guard.forks:
        guard.forks.close()
    guard.done()


def _resolved(address: str) -> str:
    """HOST:PORT with the host name resolved to an IP address, since Ray's own resolver may not know the name.

    Raises: ConfigError if nothing listens there, which Ray itself would detect only after minutes.
    """
    scheme = "ray://" if address.startswith("ray://") else ""
    host, colon, port = address.removeprefix(scheme).rpartition(":")
    if not colon or not port.isdigit():
        return address
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
            number = connection.getpeername()[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"hosting.address: no Ray cluster at '{address}': {error}") from None
    return f"{scheme}[{number}]:{port}" if ":" in number else f"{scheme}{number}:{port}"
