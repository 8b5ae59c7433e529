"""Process-wide settings, such as the number of BLAS threads, shared by concurrent runs in one process."""

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


_LOCKS: dict[str, Lock] = {}  # one lock per setting, because applying one may take long (such as starting Ray)
_HELD: dict[str, _Held] = {}


@contextmanager
def hold_setting(name: str, value: Any, apply: Callable[[], Callable[[], object]]) -> Iterator[None]:
    """Hold a process-wide setting in a `with` block: the first holder applies it, the last one restores it.

    apply: applies the setting and returns a function that restores it. Raises: ConfigError, if a run in another thread
    holds a different value.
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
    """Set the number of torch threads; returns a function that restores the previous number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return lambda: torch.set_num_threads(before)


def one_blas_thread() -> Callable[[], object]:
    """Limit NumPy's linear algebra to one thread; returns a function that restores the previous number."""
    from threadpoolctl import threadpool_limits

    restore: Callable[[], object] = threadpool_limits(1, user_api="blas").restore_original_limits
    return restore
