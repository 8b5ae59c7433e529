"""Opens further pools for control runs that go on beside the run."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from coordinator.experiment.config import HostingConfig
from coordinator.pools.base import Pool, Tell
from coordinator.pools.resources import count_side_runs
from peers.data.datasets import Dataset
from peers.learning.settings import PeerSettings


@contextmanager
def side_pools(
    pool: Pool, settings: Sequence[PeerSettings], dataset: Dataset, hosting: HostingConfig, wanted: int, tell: Tell
) -> Iterator[list[Pool]]:
    """Pools of the same peers as `pool`, at most `wanted`: as many as its Ray has room for; none in one process.

    They share its copy of the data, and have no evaluators.
    """
    if hosting.pool == "in-process" or not wanted:
        yield []
        return
    import ray

    from coordinator.pools.ray_pool import RayPool

    assert isinstance(pool, RayPool), "the pool is the one that the config specifies"
    count = count_side_runs(ray, hosting, pool.reservations, len(pool.evaluators), wanted)
    own = hosting.model_copy(update={"evaluators": 0})
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(RayPool(len(settings), own, lambda: (settings, dataset), tell, pool.data)))
            for _ in range(count)
        ]
