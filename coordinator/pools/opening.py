"""Opens the pool that the config specifies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from coordinator.experiment.config import HostingConfig
from coordinator.pools.base import Load, Pool, Tell
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.process_settings import hold_setting, one_blas_thread
from peers.data.datasets import Dataset
from peers.hosting.ways import CHOICES, memory
from peers.learning.settings import PeerSettings


@contextmanager
def open_pool(settings: Sequence[PeerSettings], dataset: Dataset, hosting: HostingConfig) -> Iterator[Pool]:
    """The pool that `hosting` specifies, open for the duration of a `with` block."""
    with loading_pool(len(settings), hosting, lambda: (settings, dataset)) as pool:
        yield pool


@contextmanager
def loading_pool(num_peers: int, hosting: HostingConfig, load: Load, tell: Tell = lambda text: None) -> Iterator[Pool]:
    """Like `open_pool`, but processes start while `load` loads the settings and data.

    tell: called with a line about what the pool waits for, and about what was chosen. Inside the block, NumPy's linear
    algebra uses one thread, as in Ray's workers: with more threads the last bit may differ.
    """
    pool: Pool = _ray_pool(num_peers, hosting, load, tell) if hosting.pool == "ray" else InProcessPool(*load(), hosting)
    try:
        for key in (key for key in CHOICES if getattr(hosting, key) == "auto"):
            tell(f"hosting.{key} = 'auto': {getattr(pool.hosting, key)}, the fastest here, as remembered in {memory()}")
        with hold_setting("threads of NumPy's linear algebra", 1, one_blas_thread):
            yield pool
    finally:
        pool.close()


def _ray_pool(num_peers: int, hosting: HostingConfig, load: Load, tell: Tell) -> Pool:
    from coordinator.pools.ray_pool import RayPool

    return RayPool(num_peers, hosting, load, tell)
