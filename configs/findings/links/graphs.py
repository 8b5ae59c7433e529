"""Links that change during a run, for `topology = { kind = "import", ... }`."""

from coordinator import Schedule
from topologies.round import Edge, Round


def head_start(num_peers: int, rounds: int) -> Schedule:
    """For so many rounds peer 0 learns from itself alone, and the others wait; then they learn from it, and it stops.

    An edge from a peer to itself says that it learns from its own outputs.
    """
    first, waiting = Edge(0, 1.0), (1.0,) * (num_peers - 1)
    before = Round(((first,), *((),) * (num_peers - 1)), (0.0, *waiting))
    after = Round(((), *((first,),) * (num_peers - 1)), (1.0, *(0.0,) * (num_peers - 1)))
    return Schedule(num_peers, None, lambda round_index: before if round_index < rounds else after)
