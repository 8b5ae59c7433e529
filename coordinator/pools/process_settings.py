"""Settings of which a process has only one, such as the threads of its linear algebra, where runs share a process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from coordinator.experiment.config import ConfigError


@dataclass
class _Held:
    value: Any
    holders: int
    restore: Callable[[], object]


_LOCKS: dict[str, Lock] = {}  # one a setting: applying one, such as starting Ray, may take a while
_HELD: dict[str, _Held] = {}


@contextmanager
def hold_setting(name: str, value: Any, apply: Callable[[], Callable[[], object]]) -> Iterator[None]:
    """Hold a setting for the length of a `with` block: the first holder applies it, the last one restores it.

    apply: sets it, and returns a function that restores it. Raises: ConfigError, when a run in another thread holds
    another value.
    """
    lock = _LOCKS.setdefault(name, Lock())
    with lock:
        held = _HELD.get(name)
        if held is None:
            held = _HELD[name] = _Held(value, 0, apply())
        elif held.value != value:
            raise ConfigError(
                f"{name}: must be {held.value} while another run of this process has it, got {value}: use the same, or "
                "another process"
            )
        held.holders += 1
    try:
        yield
    finally:
        with lock:
            held.holders -= 1
            if not held.holders:
                del _HELD[name]
                held.restore()


def torch_threads(count: int) -> Callable[[], object]:
    """Have torch use this many threads; returns a function that restores the previous number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return lambda: torch.set_num_threads(before)


def one_blas_thread() -> Callable[[], object]:
    """Have NumPy's linear algebra use one thread; returns a function that restores the previous number."""
    from threadpoolctl import threadpool_limits

    restore: Callable[[], object] = threadpool_limits(1, user_api="blas").restore_original_limits
    return restore
