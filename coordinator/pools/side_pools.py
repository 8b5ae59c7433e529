"""Further pools for control runs that go on beside the run: how many there is room for, and opening them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from coordinator.experiment.config import ConfigError, HostingConfig
from coordinator.planning.plan import Plan, settings_of
from coordinator.pools.base import Pool, Tell
from coordinator.pools.resources import (
    SLACK,
    Reservations,
    Resources,
    count_fitting,
    format_resources,
    node_resources,
)
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


# ---- room ----


def check_on_machine(
    hosting: HostingConfig, reservations: Reservations, num_controls: int, cpus: int, gpus: int
) -> None:
    """Raises: ConfigError, if a single idle machine has too little room for the control runs beside the run."""
    evaluators = 0 if hosting.evaluators == "auto" else hosting.evaluators
    _check_side_runs(hosting, reservations, evaluators, num_controls, [{"CPU": float(cpus), "GPU": float(gpus)}])


def count_side_runs(
    ray: Any, hosting: HostingConfig, reservations: Reservations, num_evaluators: int, wanted: int
) -> int:
    """The number of control runs, at most `wanted`, that go on beside a run whose processes have started.

    "auto": as many as fit beside its hosts and evaluators; zero in a placement group, whose resources are the run's.
    Raises: ConfigError if there is too little room for the number asked for.
    """
    from ray.util import get_current_placement_group

    nodes = node_resources(ray)
    if hosting.side_runs != "auto":
        _check_side_runs(hosting, reservations, num_evaluators, wanted, nodes)
        return min(hosting.side_runs, wanted)
    if get_current_placement_group() is not None:
        return 0
    idle = ray.available_resources()  # other jobs may be using the cluster
    needs = {name: sum(reserved[name] for reserved in reservations) for name in ("CPU", "GPU")}
    free = [int((idle.get(name, 0.0) + SLACK) // amount) for name, amount in needs.items() if amount]
    return min(wanted, _side_runs_fitting(reservations, num_evaluators, wanted, nodes), *free)


def _side_runs_fitting(reservations: Reservations, num_evaluators: int, wanted: int, nodes: Sequence[Resources]) -> int:
    evaluators: Reservations = [{"CPU": 1.0}] * num_evaluators
    return max(0, count_fitting([[*reservations, *evaluators], *[reservations] * wanted], nodes) - 1)


def _check_side_runs(
    hosting: HostingConfig, reservations: Reservations, num_evaluators: int, wanted: int, nodes: Sequence[Resources]
) -> None:
    """Raises: ConfigError, if `hosting.side_runs` exceeds what an otherwise idle cluster holds beside the run."""
    if hosting.side_runs == "auto":
        return
    asked = min(hosting.side_runs, wanted)
    fitting = _side_runs_fitting(reservations, num_evaluators, asked, nodes)
    if fitting < asked:
        raise ConfigError(
            f"hosting.side_runs: {asked} control runs ask for {len(reservations)} x "
            f"({format_resources(reservations[0])}) each, and beside the run there is room for {fitting}: lower it"
        )
