"""Opens further pools for control runs that go on beside the run."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from coordinator.experiment.config import ConfigError
from coordinator.experiment.plan import Plan, settings_of
from coordinator.pools.base import Pool, Tell
from coordinator.pools.side_room import count_side_runs
from peers.base import memory


@contextmanager
def side_pools(pool: Pool, plan: Plan, tell: Tell) -> Iterator[list[Pool]]:
    """Pools of the same peers as `pool`, at most one for each control run; none if all is in one process.

    They share its copy of the data, and have no evaluators. By default there are as many as its Ray and this machine's
    memory have room for; one that cannot be started is done without, and `tell` is called with the reason.
    """
    hosting, wanted = plan.config.hosting, len(plan.config.evaluation.controls)
    if hosting.pool == "in-process" or not wanted:
        yield []
        return
    import ray

    from coordinator.pools.ray_pool import RayPool

    assert isinstance(pool, RayPool), "the pool is the one that the config specifies"
    is_auto, own = hosting.side_runs == "auto", hosting.model_copy(update={"evaluators": 0})
    count = count_side_runs(ray, hosting, pool.reservations, len(pool.evaluators), wanted)
    if is_auto and not hosting.address:
        count = min(count, memory.available() // plan.side_bytes)
    settings = settings_of(plan) if count else []
    pools: list[Pool] = []
    with ExitStack() as stack:
        while len(pools) < count:
            try:
                other = RayPool(len(settings), own, lambda: (settings, plan.dataset), tell, pool.data)
            except ConfigError as error:
                if not is_auto:
                    raise
                tell(f"control runs go on after the run, not beside it: {error}")
                break
            pools.append(stack.enter_context(closing(other)))
        yield pools
