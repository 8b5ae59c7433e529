"""Probes of several peers side by side on the cores of one process."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import torch

from peers.base import memory
from peers.learning.peer import Peer
from peers.probing.memory import probing_bytes

T = TypeVar("T")
_FLOAT = 4


def cores_of_process(threads: int) -> int:
    """On how many cores this process may work at once, with so many torch threads for each piece of work.

    OMP_NUM_THREADS is the most, as Ray sets it where several runs share a machine.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(ValueError):
        cores = min(cores, int(os.environ.get("OMP_NUM_THREADS", cores)))
    return max(1, cores // threads)


def probed_at_once(peers: Sequence[Peer], cores: int) -> int:
    """How many of these peers are probed at once: as many as half of the memory that is left holds, at most `cores`.

    One, on a GPU, and where code of the user's runs that may not expect it.
    """
    if len(peers) < 2 or cores < 2 or any(peer.network.origin or peer.device.type != "cpu" for peer in peers):
        return 1
    first, dim = peers[0], max(peer.network.feature_dim for peer in peers)
    probes, data = first.settings.probes, first.dataset
    sizes = len(data.train_labels), len(data.test_labels)
    images: int = min(probes.probe_train, sizes[0]) + min(probes.probe_test, sizes[1])
    each = probing_bytes(probes, *sizes, dim, data.num_classes) + 2 * _FLOAT * images * dim
    held: int = memory.available() // 2 // each
    return max(1, min(cores, len(peers), held))


def side_by_side(calls: Mapping[int, Callable[[], T]], at_once: int) -> dict[int, T]:
    """The answers of these calls, so many at once, each computed by as many torch threads as in this thread.

    An error of a call is raised, the first one's if there are several; calls that have not begun are given up then.
    """
    if at_once == 1:
        return {key: call() for key, call in calls.items()}
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(at_once, initializer=lambda: torch.set_num_threads(threads)) as executor:
        futures = {key: executor.submit(call) for key, call in calls.items()}
        try:
            return {key: future.result() for key, future in futures.items()}
        finally:
            executor.shutdown(cancel_futures=True)
